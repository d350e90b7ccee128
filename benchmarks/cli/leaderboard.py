"""`bench leaderboard`: the detectors of a finished run or suite, ranked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.evaluation import detector_formats, formats, map_formats
from benchmarks.evaluation.detector_formats import DetectorSheet
from benchmarks.evaluation.formats import Sheet, TextTable, interval, mark, rank, share, standing
from benchmarks.evaluation.latex import latex
from benchmarks.evaluation.leaderboard import Standing
from benchmarks.evaluation.map_formats import MapSheet
from benchmarks.evaluation.map_leaderboard import LOCALISATION
from benchmarks.evaluation.numbers import near_one
from benchmarks.report.run_leaderboard import detector_sheets_of, map_sheet_of, sheet_of
from benchmarks.report.run_report import RunReport
from forge.core.errors import InputError, UnknownNameError

_TEXTS: dict[str, Callable[[TextTable], str]] = {"md": formats.markdown, "html": formats.html, "latex": latex}


def leaderboard(
    suite: list[str], form: str, by: str | None, per: str | None, columns: str | None, reports: Path
) -> None:
    """Rank detectors from the stored scores of every image: means, intervals, ties, what is missing."""
    if form not in formats.FORMATS:
        raise UnknownNameError("format", form, formats.FORMATS)
    if per not in (None, "generator", "detector"):
        raise UnknownNameError("--per", per or "", ("generator", "detector"))
    # Of several suites one table, over all of them.
    opened = [RunReport.open(name, reports) for name in suite]
    if by == LOCALISATION:
        if columns is not None or per is not None:
            raise InputError("--columns and --per are about columns of AUC; with --by localisation leave them out")
        _of_maps(map_sheet_of(*opened), form)
        return
    only = tuple(name.strip() for name in columns.split(",")) if columns is not None else ()
    if per == "detector":
        if by is not None:
            raise InputError("--per detector ranks nothing; leave --by out, or choose columns with --columns")
        _of_detectors(detector_sheets_of(*opened, columns=only), form)
        return
    sheet = sheet_of(*opened, by=by, by_generator=per == "generator")
    if only:
        # After ranking: columns that are not shown still rank, and JSON and CSV hold all.
        for name in only:
            if name not in sheet.board.columns:
                raise UnknownNameError("column", name, sheet.board.columns)
        sheet = replace(sheet, only=only)
    if form != "table":
        texts = {"csv": formats.to_csv, "json": formats.to_json, **_TEXTS}
        print(texts[form](sheet), end="")  # `end`: the texts end with a line feed
        return
    print_sheet(sheet)


def _of_detectors(sheets: list[DetectorSheet], form: str) -> None:
    """Print a table of generators by conditions for each detector."""
    if form in ("csv", "json"):
        print({"csv": detector_formats.to_csv, "json": detector_formats.to_json}[form](sheets), end="")
        return
    if form != "table":
        print("\n".join(_TEXTS[form](sheet) for sheet in sheets), end="")
        return
    console = open_console()
    for verdict in sheets[0].verdicts:
        console.print(f"[bold red]{escape(verdict)}[/]")
    for sheet in sheets:
        table = Table(title=escape(sheet.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in sheet.headings:
            table.add_column(_heading(heading), justify="left" if heading in ("family", "generator") else "right")
        for row in sheet.rows:
            table.add_row(*map(escape, row))
        console.print(table)
    for note in sheets[0].notes:
        console.print(f"[dim]{escape(note)}[/]", highlight=False)


def _of_maps(sheet: MapSheet, form: str) -> None:
    """Print a leaderboard of localisers."""
    if form != "table":
        texts = {"csv": map_formats.to_csv, "json": map_formats.to_json, **_TEXTS}
        print(texts[form](sheet), end="")
        return
    console = open_console()
    for verdict in sheet.verdicts:
        console.print(f"[bold red]{escape(verdict)}[/]")
    table = Table(title=escape(sheet.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in sheet.headings:
        table.add_column(heading.replace(" ", "\n"), justify="left" if heading == "detector" else "right")
    for line, row in zip(sheet.board.lines, sheet.rows, strict=True):
        table.add_row(*map(escape, row), style="bold" if line.rank == 1 else None)
    console.print(table)
    for note in sheet.notes:
        console.print(f"[dim]{escape(note)}[/]", highlight=False)


def print_sheet(sheet: Sheet) -> None:
    """Print a leaderboard to the terminal."""
    console = open_console()
    for verdict in sheet.verdicts:
        console.print(f"[bold red]{escape(verdict)}[/]")
    # Columns are dropped from the right until the table fits; their names are printed below it.
    shown, left_out = _fitting(sheet, console.width)
    table = Table(title=escape(sheet.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, values in shown.items():
        left = heading == "detector"
        # `min_width`: rich would shrink a column that must not wrap
        width = max(len(part) for part in (*values, *_heading(heading).split("\n")))
        table.add_column(_heading(heading), justify="left" if left else "right", no_wrap=True, min_width=width)
    for i, line in enumerate(sheet.board.lines):
        # all that share the first rank are bold
        table.add_row(*(escape(values[i]) for values in shown.values()), style="bold" if line.rank == 1 else None)
    console.print(table)
    more = f" Not shown for want of width: {', '.join(left_out)}." if left_out else ""
    of_auc = ["rank", *sheet.columns]
    dash = "–: cells are missing. " if any("–" in shown.get(name, ()) for name in of_auc) else ""
    for note in (*sheet.notes_of(shown), f"{dash}Intervals of every column: --format md or csv.{more}"):
        console.print(f"[dim]{escape(note)}[/]", highlight=False)


def _fitting(sheet: Sheet, width: int) -> tuple[dict[str, list[str]], list[str]]:
    """The columns that fit a terminal, heading -> values, and those left out; rank, detector and primary always."""
    board = sheet.board
    shown = {
        "rank": [rank(line) for line in board.lines],
        "detector": [line.detector for line in board.lines],
        board.primary: [
            standing(line.columns[board.primary], new_family=board.for_new_family) + mark(line.columns[board.primary])
            for line in board.lines
        ],
    }
    others = [name for name in sheet.columns if name != board.primary]
    more = {}
    if sheet.second:
        ends = [interval(line.columns[board.primary], new_family=not board.for_new_family) for line in board.lines]
        more[sheet.second] = ends
    more |= {
        heading: [share(getattr(line, field)) for line in board.lines] for heading, field in sheet.measures.items()
    }
    more |= {name: [_short(line.columns[name]) + mark(line.columns[name]) for line in board.lines] for name in others}
    more["images/s"] = [_speed(sheet, line.detector) for line in board.lines]
    left_out: list[str] = []
    # Once a column did not fit, narrower ones after it are left out too: the order of columns is that of importance.
    for name, values in more.items():
        if sum(_width(*column) for column in (shown | {name: values}).items()) <= width - 2 and not left_out:
            shown[name] = values
        else:
            left_out.append(name)
    return shown, left_out


def _width(heading: str, values: list[str]) -> int:
    return max(len(part) for part in (*values, *_heading(heading).split("\n"))) + 2  # one space on each side


def _heading(name: str) -> str:
    return _HEADINGS.get(name, name.replace(" ", "\n"))


def _speed(sheet: Sheet, detector: str) -> str:
    cost = sheet.costs.get(detector)
    return f"{cost.images_per_second:,.0f}" if cost and cost.images_per_second else "–"


_HEADINGS = {
    "equalised": "equal-\nised",
    "images/s": "images\n/s",
    "balanced accuracy": "bal.\nacc.",
    "TPR at 1 % FPR": "TPR at\n1 %",
    "95 %, new family": "95 %, new\nfamily",
    "95 %, these families": "95 %, these\nfamilies",
}  # at most six characters wide but for intervals


def _short(standing: Standing) -> str:
    return "–" if standing.value is None else near_one(standing.value)
