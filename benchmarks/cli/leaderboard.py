"""`bench leaderboard`: the detectors of a finished run or suite, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.cli import options

if TYPE_CHECKING:
    from benchmarks.tables.formats import Cost, Sheet
    from benchmarks.tables.leaderboard import Standing

EXAMPLES = """\b
Examples:
  bench leaderboard faces64-quick
  bench leaderboard faces64-quick --format md
  bench leaderboard faces64-quick --by robust
"""


def leaderboard(
    suite: Annotated[str, typer.Argument(help="Name of a finished run or suite, or its report folder.")],
    format: Annotated[str, typer.Option("--format", help="table, md, html, csv or json.")] = "table",  # noqa: A002
    by: Annotated[
        str | None, typer.Option("--by", help="Column that ranks. [default: leave-one-out, else cross, else same]")
    ] = None,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Rank detectors from the stored scores of every image: means, intervals, ties, what is missing."""
    from benchmarks.tables import formats
    from forge.errors import UnknownNameError

    if format not in formats.FORMATS:
        raise UnknownNameError("format", format, formats.FORMATS)
    sheet = sheet_of(suite, reports, by)
    if format != "table":
        texts = {"md": formats.markdown, "html": formats.html, "csv": formats.to_csv, "json": formats.to_json}
        print(texts[format](sheet), end="")
        return
    _print(sheet)


def sheet_of(suite: str, reports: Path, by: str | None = None) -> Sheet:
    """The leaderboard of a report folder, from its scores."""
    from benchmarks.pipeline.run import find_report
    from benchmarks.tables.formats import Sheet
    from benchmarks.tables.leaderboard import leaderboard as rank
    from detect.scoring import read_scores
    from forge.files import read_json

    folder = find_report(suite, reports)
    results = read_json(folder / "results.json")
    board = rank(read_scores(folder / "scores.parquet"), primary=by)
    return Sheet(board, results["name"], results["protocol_version"], _costs(results))


def _costs(results: dict[str, Any]) -> dict[str, Cost]:
    """What each detector costs: the median over its fits."""
    from statistics import median

    from benchmarks.tables.formats import Cost

    found = {}
    for name in dict.fromkeys(one["name"] for one in results["detectors"]):
        fits = [one for one in results["detectors"] if one["name"] == name]
        speeds = [one["images_per_second"] for one in fits if one["images_per_second"] is not None]
        speed = median(speeds) if speeds else None
        found[name] = Cost(speed, fits[0]["parameters"], median(one["seconds"] for one in fits))
    return found


def _print(sheet: Sheet) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from benchmarks.tables.formats import rank as rank_of
    from benchmarks.tables.formats import standing

    console = Console()
    for verdict in sheet.verdicts:
        console.print(f"[bold red]{escape(verdict)}[/]")
    table = Table(title=escape(sheet.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("rank", "detector", sheet.board.primary):
        left = heading == "detector"
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    others = [name for name in sheet.board.columns if name != sheet.board.primary]
    wide = console.width >= _WIDE
    for name in (*others, "images/s") if wide else others:
        table.add_column(_HEADINGS.get(name, name.replace(" ", "\n")), justify="right", no_wrap=True)
    for line in sheet.board.lines:
        cost = sheet.costs.get(line.detector)
        speed = f"{cost.images_per_second:,.0f}" if cost and cost.images_per_second else "–"
        values = [_short(line.columns[name]) for name in others]
        row = [rank_of(line), line.detector, standing(line.columns[sheet.board.primary]), *values, speed]
        table.add_row(*map(escape, row if wide else row[:-1]), style="bold" if line.rank == 1 else None)
    console.print(table)
    for note in (*sheet.notes, "–: cells are missing. Intervals of every column: --format md or csv."):
        console.print(f"[dim]{escape(note)}[/]", highlight=False)


_WIDE = 100  # characters from which there is room for the speed
_HEADINGS = {"equalised": "equal-\nised", "images/s": "images\n/s"}  # a column is six characters wide


def _short(found: Standing) -> str:
    return "–" if found.value is None else f"{found.value:.3f}"
