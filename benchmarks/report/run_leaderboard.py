"""Leaderboards of finished runs, from their scores and from those submitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks.evaluation.audits import failed
from benchmarks.evaluation.cells import cells_of, joined
from benchmarks.evaluation.contamination import with_marks
from benchmarks.evaluation.formats import Cost, Sheet
from benchmarks.evaluation.leaderboard import ranked
from benchmarks.evaluation.localisation import read_rows
from benchmarks.evaluation.map_formats import MapSheet
from benchmarks.evaluation.map_leaderboard import map_board
from benchmarks.evaluation.run_facts import DetectorFacts
from benchmarks.evaluation.thresholds import with_thresholds
from benchmarks.protocol import Protocol
from benchmarks.report.run_report import RunReport
from detect.score_rows import read_compact, stacked
from forge.core.errors import InputError

MASKS = "masks.parquet"  # file of the rows of localisers in a report


def sheet_of(*reports: RunReport, by: str | None = None) -> Sheet:
    """Rank the detectors of a report, or of several over all of them.

    Args:
        reports: of finished runs.
        by: the column that ranks (default: the first of unseen, matrix, seen that there is).

    Raises:
        InputError: two reports of one name, or reports of different versions of the protocol.
    """
    protocols = _protocols(reports)
    cells = {report.name: cells_of(scores_of(report), protocols[report.name]) for report in reports}
    # detectors are joined by name over reports
    board = ranked(joined(cells) if len(cells) > 1 else next(iter(cells.values())), primary=by)
    board = with_thresholds(board, {report.name: report.results.cells for report in reports})
    fits = [fit for report in reports for fit in report.results.detectors]
    board = with_marks(board, fits)
    version = protocols[reports[0].name].version
    return Sheet(board, _title(reports), version, _costs(fits), _shortcuts(reports))


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
