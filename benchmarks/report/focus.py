"""Choose which tests get figures of their own: the hardest of a run, of a suite those of the leading detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.leaderboard import Leaderboard
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.results import TestResult
from benchmarks.report.ranking import Key, Pairing, by_pairing, key

# All of them bound the page's length and size.
_CELLS = 6  # panels of one cell each
_PAIRINGS = 5  # panels of one pairing each
_GALLERIES = 16
_HISTOGRAMS = 2  # panels of a suite
_LEADERS = 2  # detectors of a suite whose mistakes are shown
_ALL = "scores.parquet has them all."


@dataclass(frozen=True)
class Focus:
    """The cells that get panels of their own.

    Attributes:
        single: for histograms and calibration.
        paired: for ROC.
        errors: for DET.
        wrong: for the images that were misjudged.
        notes: for single, paired and wrong a sentence on the choice; empty where all cells are shown.
    """

    single: list[TestResult]
    paired: list[TestResult]
    errors: list[TestResult]
    wrong: list[TestResult]
    notes: dict[str, str]


def focus(cells: Sequence[TestResult], board: Leaderboard | None) -> Focus:
    """Choose the hardest cells of a run; of a suite those of its primary column and of the leading detectors."""
    # A suite without ranks (only controls, or no primary cell) is shown like a run.
    ranked = primary(board, cells) if board else []
    if board is None or not ranked:
        parts = {
            "single": hardest(cells, _CELLS),
            "paired": hardest_pairings(cells, _PAIRINGS),
            "wrong": hardest(cells, _GALLERIES),
        }
        nouns = {"single": "results", "paired": "pairings", "wrong": "results"}
        notes = {
            # The choice is named wherever one was made.
            name: ""
            if len(part) == len(cells)
            else f"The {nouns[name]} with the lowest AUC, {len(part)} of {len(cells)} results; {_ALL}"
            for name, part in parts.items()
        }
        return Focus(parts["single"], parts["paired"], parts["paired"], parts["wrong"], notes)
    # controls are ranked too, but not shown in panels
    leaders = [line.detector for line in board.lines if line.rank is not None and line.detector not in CONTROLS]
    tests = {name: [cell for cell in ranked if cell.detector == name] for name in leaders}
    # The leader's histogram, the leaders' galleries, the curves of all.
    best, first = leaders[:_LEADERS], leaders[:1]
    where = f"The {board.primary} tests"
    return Focus(
        single=hardest([cell for name in first for cell in tests[name]], _HISTOGRAMS),
        paired=hardest_pairings(ranked, _PAIRINGS),
        errors=hardest_pairings(ranked, _HISTOGRAMS),
        wrong=[cell for name in best for cell in tests[name]][:_GALLERIES],
        notes={
            "single": f"{where} that are hardest for {', '.join(first)}, which leads; {_ALL}",
            "paired": f"{where}; {_ALL}",
            "wrong": f"{where} of {' and '.join(best)}, which lead; {_ALL}",
        },
    )


@dataclass(frozen=True)
class Measures:
    """Metrics beside the AUC, one line per detector: the mean over its cells, with the lowest and the highest."""

    names: list[str]
    lines: list[tuple[str, list[tuple[str, str]]]]
    cells: int


def primary(board: Leaderboard, cells: Sequence[TestResult]) -> list[TestResult]:
    """Return the cells of the primary column of the leaderboard."""
    # By identity of the tests, not by condition: the board says itself which cells its primary mean is over.
    return [cell for cell in cells if (cell.trained_on, cell.tested_on, cell.perturbation) in board.tests]


def measures(board: Leaderboard, cells: Sequence[TestResult], measured: Sequence[MetricFacts]) -> Measures | None:
    """Average the metrics over the cells of the primary column and all seeds; None where there are no such cells.

    Args:
        board: the leaderboard.
        cells: of all seeds.
        measured: the metrics that are shown.
    """
    ranked = primary(board, cells)
    lines = []
    for line in board.lines:
        tests = [cell for cell in ranked if cell.detector == line.detector]
        if tests:
            lines.append((line.detector, [_ranged(tests, metric) for metric in measured]))
    # detectors have equally many unless some failed; the heading names the highest number
    count = max((sum(cell.detector == name for cell in ranked) for name, _ in lines), default=0)
    return Measures([metric.title for metric in measured], lines, count) if lines else None


def _ranged(cells: Sequence[TestResult], metric: MetricFacts) -> tuple[str, str]:
    known = [
        cell.at_equal_prevalence(metric.id) if metric.equal_prevalence else cell.value(metric.id) for cell in cells
    ]
    values = [value for value in known if value is not None]
    # A mean over the cells that happen to have a value could not be compared between detectors.
    if len(values) < len(cells):
        return metric.missing, ""
    return f"{fmean(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"


def with_slider(cells: Sequence[TestResult], board: Leaderboard | None) -> list[TestResult]:
    """Choose the tests of the threshold slider: of a suite those that rank it, the leader first, without controls."""
    if board is None:
        return list(cells)
    order = {line.detector: i for i, line in enumerate(board.lines) if line.detector not in CONTROLS}
    ranked = [cell for cell in primary(board, cells) if cell.detector in order]
    # without ranked cells the slider has all of them
    return sorted(ranked, key=lambda cell: (order[cell.detector], -cell.auc)) or list(cells)


def hardest(cells: Sequence[TestResult], limit: int) -> list[TestResult]:
    """Choose at most `limit` cells, those of the lowest AUC, in their given order."""
    # the order of the page stays; only the choice is by AUC
    chosen: set[Key] = {key(cell) for cell in sorted(cells, key=lambda c: c.auc)[:limit]}
    return [cell for cell in cells if key(cell) in chosen]


def hardest_pairings(cells: Sequence[TestResult], limit: int) -> list[TestResult]:
    """Choose the cells of at most `limit` pairings, those whose best detector has the lowest AUC, in given order."""
    groups = by_pairing(cells)
    # groups are sorted best first: the first cell is the pairing's best detector
    chosen = sorted(groups, key=lambda pairing: groups[pairing][0].auc)[:limit]
    return [cell for cell in cells if Pairing(cell.trained_on, cell.tested_on, cell.seed) in chosen]
