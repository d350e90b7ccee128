"""`bench leaderboard`: the detectors of a finished run or suite, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.measures.audit import failed
from benchmarks.measures.results import Finding
from benchmarks.pipeline.reading import read_report_scores, read_results
from benchmarks.pipeline.run import find_report
from benchmarks.protocol import PROTOCOL_VERSION
from benchmarks.report.numbers import near_one
from benchmarks.tables import formats
from benchmarks.tables.cells import cells_of, joined
from benchmarks.tables.formats import Cost, Sheet, rank, standing
from benchmarks.tables.leaderboard import Standing, ranked
from detect.scoring import read_scores
from forge.errors import InputError, UnknownNameError


def leaderboard(suite: list[str], form: str, by: str | None, columns: str | None, reports: Path) -> None:
    """Rank detectors from the stored scores of every image: means, intervals, ties, what is missing."""
    if form not in formats.FORMATS:
        raise UnknownNameError("format", form, formats.FORMATS)
    sheet = sheet_of(*suite, reports=reports, by=by)
    if columns is not None:
        only = tuple(name.strip() for name in columns.split(","))
        for name in only:
            if name not in sheet.board.columns:
                raise UnknownNameError("column", name, sheet.board.columns)
        sheet = replace(sheet, only=only)
    if form != "table":
        texts = {"md": formats.markdown, "html": formats.html, "csv": formats.to_csv, "json": formats.to_json}
        print(texts[form](sheet), end="")
        return
    print_sheet(sheet)


def sheet_of(*names: str, reports: Path, by: str | None = None) -> Sheet:
    """The leaderboard of a report folder, from its scores and those submitted to it; of several, over all of them."""
    folders = [find_report(name, reports) for name in names]
    if len({folder.name for folder in folders}) < len(folders):
        raise InputError("a name stands twice among the reports to rank together; each needs one of its own")
    every = {folder.name: read_results(folder) for folder in folders}
    cells = {folder.name: cells_of(scores_of(folder)) for folder in folders}
    board = ranked(joined(cells) if len(cells) > 1 else next(iter(cells.values())), primary=by)
    verdicts = []
    for name, results in every.items():
        of = f" ({name})" if len(every) > 1 else ""
        findings = [Finding(**finding) for finding in results.get("audits", [])]
        verdicts += [f"SHORTCUT{of}, {finding.audit}: {finding.sentence}" for finding in failed(findings)]
    title = " and ".join(str(results["name"]) for results in every.values())
    fits = [fit for results in every.values() for fit in results["detectors"]]
    return Sheet(board, title, next(iter(every.values()))["protocol_version"], _costs(fits), tuple(verdicts))


def scores_of(folder: Path) -> pd.DataFrame:
    """The score rows of a report folder, and those submitted to it.

    Raises:
        InputError: they were measured by another version of the protocol.
    """
    measured = read_results(folder).get("protocol_version")
    if measured != PROTOCOL_VERSION:
        raise InputError(
            f"{folder} was measured by protocol {measured}, this version ranks by protocol {PROTOCOL_VERSION}; rows of "
            "different protocols are never ranked together: run the suite again"
        )
    others = map(read_scores, sorted(submitted(folder).glob("*.parquet")))
    return pd.concat([read_report_scores(folder), *others], ignore_index=True)


def submitted(folder: Path) -> Path:
    """Where the scores of detectors that cannot be run here lie, beside a report folder, which a run replaces whole."""
    return folder.with_name(f"{folder.name}-submitted")


def _costs(every: Sequence[Mapping[str, Any]]) -> dict[str, Cost]:
    """What each detector costs: the median over its fits."""
    costs = {}
    for name in dict.fromkeys(fit["name"] for fit in every):
        fits = [fit for fit in every if fit["name"] == name]
        speeds = [fit["images_per_second"] for fit in fits if fit["images_per_second"] is not None]
        speed = median(speeds) if speeds else None
        costs[name] = Cost(speed, fits[0]["parameters"], median(fit["seconds"] for fit in fits))
    return costs


def print_sheet(sheet: Sheet) -> None:
    """Print a leaderboard to the terminal."""
    console = open_console()
    for verdict in sheet.verdicts:
        console.print(f"[bold red]{escape(verdict)}[/]")
    shown, left_out = _fitting(sheet, console.width)
    table = Table(title=escape(sheet.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, values in shown.items():
        left = heading == "detector"
        width = max(len(part) for part in (*values, *_heading(heading).split("\n")))
        table.add_column(_heading(heading), justify="left" if left else "right", no_wrap=True, min_width=width)
    for i, line in enumerate(sheet.board.lines):
        table.add_row(*(escape(values[i]) for values in shown.values()), style="bold" if line.rank == 1 else None)
    console.print(table)
    more = f" Not shown for want of width: {', '.join(left_out)}." if left_out else ""
    dash = "–: cells are missing. " if any("–" in values for values in shown.values()) else ""
    for note in (*sheet.notes, f"{dash}Intervals of every column: --format md or csv.{more}"):
        console.print(f"[dim]{escape(note)}[/]", highlight=False)


def _fitting(sheet: Sheet, width: int) -> tuple[dict[str, list[str]], list[str]]:
    """The columns that fit a terminal, heading -> values, and those left out; rank, detector and primary always."""
    board = sheet.board
    shown = {
        "rank": [rank(line) for line in board.lines],
        "detector": [line.detector for line in board.lines],
        board.primary: [standing(line.columns[board.primary]) for line in board.lines],
    }
    others = [name for name in sheet.columns if name != board.primary]
    more = {name: [_short(line.columns[name]) for line in board.lines] for name in others}
    more["images/s"] = [_speed(sheet, line.detector) for line in board.lines]
    left_out: list[str] = []
    for name, values in more.items():
        if sum(_width(*column) for column in (shown | {name: values}).items()) <= width - 2 and not left_out:
            shown[name] = values
        else:
            left_out.append(name)
    return shown, left_out


def _width(heading: str, values: list[str]) -> int:
    return max(len(part) for part in (*values, *_heading(heading).split("\n"))) + 2


def _heading(name: str) -> str:
    return _HEADINGS.get(name, name.replace(" ", "\n"))


def _speed(sheet: Sheet, detector: str) -> str:
    cost = sheet.costs.get(detector)
    return f"{cost.images_per_second:,.0f}" if cost and cost.images_per_second else "–"


_HEADINGS = {"equalised": "equal-\nised", "images/s": "images\n/s"}  # at most six characters wide


def _short(standing: Standing) -> str:
    return "–" if standing.value is None else near_one(standing.value)
