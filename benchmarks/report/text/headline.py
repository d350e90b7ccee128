"""The best result of a run in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.leader import published_leader
from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import TestResult
from benchmarks.protocol import PRIMARIES, phrase_of_column
from benchmarks.report.run_report import RunReport


def headline(report: RunReport) -> str:
    """Return the leader of a run's table, or its highest AUC where it has no ranks; empty: it has no test.

    Raises:
        InputError: expected.json is not JSON.
        KeyError, TypeError: it has other contents.
    """
    return _leader(report.folder) or _best(report.results.cells)


def _leader(folder: Path) -> str:
    """Return the first line of the leaderboard that was published with the results, if there are ranks to speak of."""
    leader = published_leader(folder)
    if leader is None or leader.ranked < 2:  # ranks need two detectors
        return ""
    shown = estimate(leader.value, leader.low, leader.high)
    tied = f"; {leader.tied} more cannot be told apart from it" if leader.tied else ""
    return f"{leader.detector}: AUC {shown} {phrase_of_column(leader.column)}{tied}"


def _best(cells: Sequence[TestResult]) -> str:
    """Name the highest AUC where it counts most: on families left out, else on other generators, else on seen ones."""
    # In the order of importance: the first condition that the run has.
    for condition in PRIMARIES:
        tests = [cell for cell in cells if cell.condition == condition and cell.detector not in CONTROLS]
        if tests:
            best = max(tests, key=lambda cell: cell.auc)
            shown = estimate(best.auc, best.auc_low, best.auc_high)
            return f"{best.detector}: AUC {shown} {phrase_of_column(condition)} ({best.tested_on})"
    return ""
