"""Leaderboards of finished runs, from their scores and from those submitted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks.evaluation.audits import failed
from benchmarks.evaluation.by_generator import Cells, columns_by_generator, generators_in, standings_by_generator
from benchmarks.evaluation.cells import cells_of, joined
from benchmarks.evaluation.contamination import with_marks
from benchmarks.evaluation.detector_formats import DetectorSheet
from benchmarks.evaluation.formats import Cost, Sheet
from benchmarks.evaluation.leaderboard import Standing, ranked
from benchmarks.evaluation.localisation import read_rows
from benchmarks.evaluation.map_formats import MapSheet
from benchmarks.evaluation.map_leaderboard import map_board
from benchmarks.evaluation.run_facts import DetectorFacts
from benchmarks.evaluation.thresholds import with_thresholds
from benchmarks.protocol import Protocol, order_of_columns
from benchmarks.report.run_report import RunReport
from detect.score_rows import read_compact, stacked
from forge.core.errors import InputError, UnknownNameError

MASKS = "masks.parquet"  # file of the rows of localisers in a report


def sheet_of(*reports: RunReport, by: str | None = None, by_generator: bool = False) -> Sheet:
    """Rank the detectors of a report, or of several over all of them.

    Args:
        reports: of finished runs.
        by: the column that ranks (default: the first of unseen, matrix, seen that there is).
        by_generator: show what the column that ranks is a mean of, a column for each tested generator, in place of
            other columns.

    Raises:
        InputError: two reports of one name, or reports of different versions of the protocol.
    """
    protocols = _protocols(reports)
    cells = _cells_of(reports, protocols)
    board, title = ranked(cells, primary=by), _title(reports)
    if by_generator:
        title += f", {board.primary} by generator"
        tested = _in_order(generators_in(cells, board.primary), reports)
        meanings = {board.primary: board.columns[board.primary]}
        meanings |= {name: f"{board.primary}, tested on {name}" for name in tested}
        parts = columns_by_generator(cells, board.primary)
        board = ranked(parts, primary=board.primary, meanings=meanings, order=list(meanings))
    board = with_thresholds(board, {report.name: report.results.cells for report in reports})
    fits = [fit for report in reports for fit in report.results.detectors]
    board = with_marks(board, fits)
    version = protocols[reports[0].name].version
    return Sheet(board, title, version, _costs(fits), _shortcuts(reports))


def detector_sheets_of(*reports: RunReport, columns: Sequence[str] = ()) -> list[DetectorSheet]:
    """Return what each detector of a report, or of several together, does on each generator, by condition.

    Args:
        reports: of finished runs.
        columns: to show; empty: all.

    Raises:
        InputError: as `sheet_of`, or no such column.
    """
    protocols = _protocols(reports)
    cells = _cells_of(reports, protocols)
    if not cells:
        raise InputError("the scores have no test rows of real and forged images; there is nothing to show")
    known = [str(name) for name in order_of_columns({name for of in cells.values() for name in of})]
    for name in columns:
        if name not in known:
            raise UnknownNameError("column", name, known)
    shown = [name for name in known if not columns or name in columns]
    order = _in_order(generators_in(cells), reports)
    every = [cell for of in cells.values() for some in of.values() for cell in some]
    seeds = sorted({cell.where.seed for cell in every})
    # in the columns whose mean is over families; of several reports a test is called "generator, report"
    known_families = {name: family for report in reports for name, family in report.results.families.items()}
    families = {name: known_families.get(name.partition(", ")[0], "") for name in order}
    families |= {cell.where.tested_on: cell.family for cell in every if cell.family}
    sheets = [
        DetectorSheet(
            title=f"{_title(reports)}, {detector} by generator",
            detector=detector,
            families=families,
            standings={name: chosen for name in order if (chosen := _chosen(of.get(name, {}), shown))},
            columns=[name for name in shown if any(name in tests for tests in of.values())],
            seeds=seeds,
            protocol=protocols[reports[0].name].version,
            verdicts=_shortcuts(reports),
        )
        for detector, of in standings_by_generator(cells).items()
    ]
    return [sheet for sheet in sheets if sheet.standings]  # none of these columns: of scores from elsewhere


def _chosen(standings: Mapping[str, Standing], columns: Sequence[str]) -> dict[str, Standing]:
    return {name: standings[name] for name in columns if name in standings}


def _cells_of(reports: Sequence[RunReport], protocols: Mapping[str, Protocol]) -> Cells:
    """Return detector -> column -> cells; detectors of several reports are joined by name."""
    cells = {report.name: cells_of(scores_of(report), protocols[report.name]) for report in reports}
    return joined(cells) if len(cells) > 1 else next(iter(cells.values()))


def _in_order(tested: Sequence[str], reports: Sequence[RunReport]) -> list[str]:
    """Return tested generators in the order of the runs; others, such as external sets, behind them."""
    names = [fact.name for report in reports for fact in report.results.generators]
    order = {name: place for place, name in reversed([*enumerate(names)])}
    return sorted(tested, key=lambda name: (order.get(name.partition(", ")[0], len(names)), name))


def map_sheet_of(*reports: RunReport) -> MapSheet:
    """Rank the localisers of a report, or of several over all of them, by F1 of pixels.

    Args:
        reports: of finished runs.

    Raises:
        InputError: a run without masks, two reports of one name, or reports of different versions of the protocol.
    """
    protocols = _protocols(reports)
    for report in reports:
        if not (report.folder / MASKS).is_file():
            raise InputError(
                f"{report.name} has no masks: it does not measure where images were altered; run it with a generator "
                "that has masks and a detector that has maps, e.g. bench run -g splice,inpaint -d unet,noise-map"
            )
        report.check(MASKS, note=False)  # noted once, when results.json was read
    runs = {report.name: (read_rows(report.folder / MASKS), report.results.localisation) for report in reports}
    return MapSheet(map_board(runs), _title(reports), protocols[reports[0].name].version, _shortcuts(reports))


def _protocols(reports: Sequence[RunReport]) -> dict[str, Protocol]:
    """Return the protocol of each report.

    Raises:
        InputError: two reports of one name, or different versions of the protocol.
    """
    if len({report.name for report in reports}) < len(reports):
        raise InputError("a name stands twice among the reports to rank together; each needs one of its own")
    protocols = {report.name: Protocol(report.results.protocol_version, report.results.families) for report in reports}
    first, *others = protocols.items()
    for name, protocol in others:
        # Means over tests of two protocols mean different things.
        first[1].refuse_other(protocol, (first[0], name))
    return protocols


def _title(reports: Sequence[RunReport]) -> str:
    return " and ".join(report.results.name for report in reports)


def _shortcuts(reports: Sequence[RunReport]) -> tuple[str, ...]:
    """Return a sentence for each failed audit."""
    sentences = []
    for report in reports:
        of = f" ({report.name})" if len(reports) > 1 else ""
        sentences += [f"SHORTCUT{of}, {audit.audit}: {audit.sentence}" for audit in failed(report.results.audits)]
    return tuple(sentences)


def scores_of(report: RunReport) -> pd.DataFrame:
    """Return the score rows of a report, and those submitted to it."""
    # Submitted rows are read with each ranking: a removed file takes its detector out again.
    others = [read_compact([file]) for file in sorted(submitted(report.folder).glob("*.parquet"))]
    return stacked([report.compact_scores(), *others])


def submitted(folder: Path) -> Path:
    """Return where submitted scores lie: beside a report folder, which a run replaces whole."""
    return folder.with_name(f"{folder.name}-submitted")  # not inside: a run that is made again exchanges the folder


def _costs(fits: Sequence[DetectorFacts]) -> dict[str, Cost]:
    """Return the cost of each detector: the median over its fits."""
    costs = {}
    for name in dict.fromkeys(fit.name for fit in fits):
        of_name = [fit for fit in fits if fit.name == name]
        speeds = [fit.images_per_second for fit in of_name if fit.images_per_second is not None]
        speed = median(speeds) if speeds else None
        # the parameters of all fits are equal, their times are not
        costs[name] = Cost(speed, of_name[0].parameters, median(fit.seconds for fit in of_name))
    return costs
