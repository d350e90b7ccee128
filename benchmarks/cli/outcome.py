"""The results of a finished run in a terminal: every measure where they are few, a leaderboard where they are many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.leaderboard import print_sheet
from benchmarks.cli.streams import console as open_console
from benchmarks.evaluation import numbers
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.results import Results
from benchmarks.protocol import CLEAN, Condition, TrainSet
from benchmarks.report.pairing_table import Column, PairingTable, pairing_table
from benchmarks.report.plot.elements import shorten
from benchmarks.report.ranking import ranks_of
from benchmarks.report.results_table import shown_metrics, shown_value
from benchmarks.report.run_leaderboard import sheet_of
from benchmarks.report.run_report import RunReport
from benchmarks.report.sections.external import external_content
from benchmarks.report.text.run_warnings import warnings

# More rows than this do not fit on a screen together with the lines before them.
MAX_DETAILED = 12  # results that one table shows with every measure
_FIELD = 31  # characters of a leaderboard's column: AUC, interval, rank and the gap
_SET_FIELD = 30  # of a column of a test set: its numbers of images
_NAME = 30  # most characters of a detector's name there


def print_outcomes(reports: Sequence[RunReport], *, quiet: bool, as_json: bool) -> None:
    """Print the cells of a finished run and where its report lies; of several runs, also the table over all of them."""
    if as_json:
        # One object for one run, a list for several: scripts of one run need not unpack.
        outcomes = [_as_json(report) for report in reports]
        print(json.dumps(outcomes[0] if len(outcomes) == 1 else outcomes))
        return
    if quiet:
        return
    for report in reports:
        _print(report)
    if len(reports) > 1:
        # Several sources are one question: how a detector ranks over all of them.
        print_sheet(sheet_of(*reports))
        print(f"next: bench leaderboard {' '.join(report.name for report in reports)} --format md")


def _as_json(report: RunReport) -> dict[str, Any]:
    content = report.results.model_dump(mode="json", include={"cells", "comparisons"})
    return {"report": str(report.folder), **content}


def _print(report: RunReport) -> None:
    results, console = report.results, open_console()
    for warning in warnings(results):
        console.print(f"[bold red]{escape(warning)}[/]", highlight=False)  # markup in names of plug-ins is text
    if results.suite:
        print_sheet(sheet_of(report))
        _print_external(results)
        # `soft_wrap`: a path broken into lines cannot be copied
        console.print(f"report: [bold]{report.page}[/]", highlight=False, soft_wrap=True)
        console.print(f"[dim]next: bench leaderboard {report.name} --format md[/]", highlight=False, soft_wrap=True)
        return
    tables, note = outcome_tables(results, console.width)
    for table in tables:
        console.print(table)
    _print_external(results)
    if note:
        console.print(f"[dim]{note}[/]", highlight=False)
    console.print(f"report: [bold]{report.page}[/]", highlight=False, soft_wrap=True)
    # counts are equal in all other cells of a plain run
    test = next((cell for cell in results.cells if cell.condition is not Condition.PAIRED), results.cells[0])
    console.print(f"[dim]test images: {test.n_real} real, {test.n_forged} forged per generator[/]")
    console.print(f"[dim]next: bench detect {report.name} PHOTO…[/]", highlight=False, soft_wrap=True)


def _print_external(results: Results) -> None:
    """Print the columns of public test sets, and rates on tests of one class."""
    content, console = external_content(results), open_console()
    for test_set in content.sets:
        # as many columns side by side as fit, the mean first
        fitting = max(1, (console.width - _NAME) // _SET_FIELD)
        for start in range(0, len(test_set.columns), fitting):
            title = f"{test_set.name}: AUC, 95 % interval" if start == 0 else ""
            table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
            table.add_column("detector", no_wrap=True)
            for name, images in test_set.columns[start : start + fitting]:
                table.add_column(escape(f"{name}\n{images}"), justify="right")
            for detector, fields in test_set.lines:
                texts = [f"{f.value} {f.interval}" if f else "missing" for f in fields[start : start + fitting]]
                table.add_row(escape(shorten(detector, _NAME)), *map(escape, texts))
            console.print(table)
    if content.rates:
        title = "tests of one class: share called forged at the threshold fixed on val"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for heading in ("detector", "tested on", "images", "rate"):
            table.add_column(heading)
        for line in content.rates:
            table.add_row(*map(escape, (line.detector, line.tested_on, line.images, line.rate)))
        console.print(table)


def outcome_tables(results: Results, width: int) -> tuple[list[Table], str]:
    """The cells of a run as one table of all measures, or where they are many as a leaderboard that fits the width.

    Returns:
        The tables, and a note below them.
    """
    if len(results.cells) <= MAX_DETAILED:
        return [outcome_table(results)], ""
    # Perturbed cells are in results.csv, those beside sources on the page; here they would hide the others.
    cells = [cell for cell in results.cells if cell.perturbation == CLEAN and cell.condition is not Condition.PAIRED]
    known = results.schema_version >= 2  # earlier comparisons do not say what their detectors were trained on
    board = pairing_table(cells, ranks_of(cells, results.comparisons))
    names = [shorten(name, _NAME) for name, _ in board.lines]
    # At least one column, also on a narrow terminal: rich then folds it.
    fitting = max(1, (width - max(map(len, names))) // _FIELD)
    tables, title = [], results.name
    # the heading of a training stands above its first part alone
    for trained_on, chosen in _parts(board.columns, fitting):
        title += f"\ntrained on {trained_on}: AUC, 95 % interval{', rank' if known else ''}"
        tables.append(_leaderboard_table(board, names, chosen, title=title, ranked=known))
        title = ""
    legend = "★ leads its column, = shares its rank. " if known else ""
    return tables, f"{legend}{board.order}. Every measure: results.csv"


def _parts(columns: list[Column], fitting: int) -> Iterator[tuple[str, list[int]]]:
    """The columns of each training, as many at a time as fit."""
    # in the order of the columns, each training once
    for trained_on in dict.fromkeys(column.pairing.trained_on for column in columns):
        chosen = [i for i, column in enumerate(columns) if column.pairing.trained_on == trained_on]
        for start in range(0, len(chosen), fitting):
            yield trained_on, chosen[start : start + fitting]


def _leaderboard_table(board: PairingTable, names: list[str], chosen: list[int], *, title: str, ranked: bool) -> Table:
    table = Table(
        title=escape(title),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        show_edge=False,
    )
    table.add_column("detector", no_wrap=True)
    for i in chosen:
        column = board.columns[i]
        table.add_column(f"on {column.pairing.tested_on}{' (seen)' if column.seen else ''}", justify="right")
    for name, (_, fields) in zip(names, board.lines, strict=True):
        texts = []
        for field in (fields[i] for i in chosen):
            if field is None:
                texts.append("[dim]not run[/]")
                continue
            # Non-breaking spaces pad the rank, so that rich keeps the column's width.
            rank = f"  {'★' if field.leads else ' '}{field.rank:\u00a0<3}" if ranked and field.rank != "–" else ""
            texts.append(f"{escape(f'{field.auc} {field.interval}')}[dim]{rank}[/]")
        table.add_row(escape(name), *texts)
    return table


def _changed(perturbation: str) -> str:
    return "" if perturbation == CLEAN else f" ({perturbation})"


def outcome_table(results: Results) -> Table:
    """The cells of a run as a table with intervals; metrics of plug-ins last."""
    title = escape(results.name)
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("detector", no_wrap=True)
    table.add_column("trained → tested", no_wrap=True)
    measured = [metric for metric in shown_metrics(results) if metric.id not in _ON_THE_PAGE_ALONE]
    for heading in ("AUC [95 %]", *(_HEADINGS.get(metric.id, metric.title) for metric in measured)):
        table.add_column(escape(heading), justify="right", no_wrap=True)
    for cell in results.cells:
        table.add_row(
            cell.detector,
            f"{TrainSet.parse(cell.trained_on).readable} → {cell.tested_on}{_changed(cell.perturbation)}",
            escape(str(numbers.estimate(cell.auc, cell.auc_low, cell.auc_high))),
            *(escape(_short(shown_value(cell, metric), metric)) for metric in measured),
        )
    return table


_ON_THE_PAGE_ALONE = ("accuracy", "brier", "ece")  # a terminal has no room for every metric that the page shows
_HEADINGS = {"eer": "EER", "tpr_at_fpr_1pct": "TPR@1%", "balanced_accuracy": "balanced acc."}  # shorter than the title


def _short(value: str | None, metric: MetricFacts) -> str:
    """A value without its interval."""
    # the column is narrow
    return metric.missing.replace("n too small", "small n") if value is None else value.partition(" [")[0]
