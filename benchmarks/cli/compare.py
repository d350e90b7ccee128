"""`bench compare`: two detectors of a suite on the same images, with a picture."""

from __future__ import annotations

import json
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.comparison import Difference, columns, single
from benchmarks.evaluation.numbers import p_value, signed
from benchmarks.experiment.names import safe_name
from benchmarks.protocol import Protocol
from benchmarks.report.plot.elements import standalone
from benchmarks.report.plot.plot import nice_axis
from benchmarks.report.plot.row_plot import Mark, RowPlot
from benchmarks.report.render import styles
from benchmarks.report.run_leaderboard import scores_of
from benchmarks.report.run_report import RunReport
from forge.core.errors import InputError, UnknownNameError
from forge.core.files import write_text


def compare(a: str, b: str, suite: str, column: str | None, out: Path | None, reports: Path, as_json: bool) -> None:
    """Test two detectors against each other: paired on the same images, over generators and seeds, Holm-adjusted."""
    # A paired test of equal scores has no variance.
    if a == b:
        raise InputError(f"{a} would be compared with itself; name two detectors")
    report = RunReport.open(suite, reports)
    results = report.results
    # From the score rows, not from results.json: a test needs every image of both detectors.
    cells = cells_of(scores_of(report), Protocol(results.protocol_version, results.families))
    differences = columns(cells, a, b)
    if column is not None:  # both must have it; one that only one has cannot be paired
        if column not in cells[a] or column not in cells[b]:
            both = [name for name in cells[a] if name in cells[b]]
            raise UnknownNameError("column of both", column, both)
        differences = single(cells[a][column], cells[b][column])
    if not differences:
        raise InputError(f"{a} and {b} share no column of {report.name}: they were tested in different cells")
    if as_json:
        # the adjusted p depends on the rows that are shown: JSON holds the same rows
        print(json.dumps([row.model_dump(mode="json") for row in differences], indent=1))
        return
    # names of plug-ins may hold what a file system does not take
    target = out or Path("pictures") / safe_name(report.name) / f"{safe_name(a)}-vs-{safe_name(b)}.svg"
    _print(differences, a, b, report.name)
    _draw(differences, a, b, target)
    print(f"picture: {target}")


def _print(differences: list[Difference], a: str, b: str, suite: str) -> None:
    table = Table(title=escape(f"{a} against {b}, {suite}: mean AUC"), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for heading in (a, b, "difference, 95 %", "p, Holm"):
        table.add_column(heading, justify="right", overflow="fold")
    for difference in differences:
        shown = str(signed(difference.difference, difference.low, difference.high))
        row = (difference.what, f"{difference.a:.3f}", f"{difference.b:.3f}", shown, p_value(difference.p_holm))
        # 5 % is ALPHA of the protocol
        table.add_row(*map(escape, row), style="bold" if difference.p_holm < 0.05 else None)
    open_console().print(table)
    print("Bold: significant at 5 %, adjusted for the rows of this table.")


def _draw(differences: list[Difference], a: str, b: str, target: Path) -> None:
    """A forest of the differences as one SVG file."""
    # 0, "no difference", is always on the axis
    ends = [end for difference in differences for end in (difference.low, difference.high)]
    axis = nice_axis(min(0.0, *ends), max(0.0, *ends), f"AUC of {a} minus that of {b}, 95 % interval", pad=0.06)
    plot, shown = RowPlot(axis, reference=0.0, reference_label="no difference"), []
    for row in differences:
        text = str(signed(row.difference, row.low, row.high))
        # Colour says who is better, and only where the difference is significant.
        style = "plain" if row.p_holm >= 0.05 else "s4" if row.difference > 0 else "s5"
        plot.row(row.what, text, [Mark(row.difference, style, (row.low, row.high), caps=True)])
        shown.append(f"{row.what} {text}")
    picture = plot.svg(f"Difference of mean AUC, {a} minus {b}: {'; '.join(shown)}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, standalone(picture, f"{a} against {b}", styles()))  # a file of its own: the styles go into it
