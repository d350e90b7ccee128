"""Metrics at the stored thresholds of detectors, beside the AUC by which they are ranked.

AUC needs no threshold, so that a detector can lead by AUC while the threshold that it fixed on validation images calls
nothing forged on generators that it has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.evaluation.column import weights_of
from benchmarks.evaluation.leaderboard import Leaderboard
from benchmarks.evaluation.results import ColumnMean, TestResult

FINDS_NOTHING = 0.55  # balanced accuracy up to which a threshold is said to find next to nothing; guessing has 0.5
MEASURES = ("balanced_accuracy", "tpr_at_fpr_1pct")


def with_thresholds(board: Leaderboard, cells: Mapping[str, Sequence[TestResult]]) -> Leaderboard:
    """Return the leaderboard with balanced accuracy and TPR at 1 % FPR, means as the primary column's.

    Args:
        board: the leaderboard.
        cells: name of a suite -> its cells; of one suite the name does not matter.
    """
    # cells of joined suites are called as `cells.joined` calls them
    joined = len(cells) > 1
    by_detector: dict[str, list[tuple[str, TestResult]]] = {}
    for name, of_suite in cells.items():
        for cell in of_suite:
            tested_on = f"{cell.tested_on}, {name}" if joined else cell.tested_on
            # tests that are not in the primary column have no family there, not even the empty one
            family = board.tests.get((cell.trained_on, tested_on, cell.perturbation))
            if family is not None:
                by_detector.setdefault(cell.detector, []).append((family, cell))
    lines = [
        line.model_copy(update={measure: _mean(by_detector.get(line.detector, []), measure) for measure in MEASURES})
        if line.columns[board.primary].value is not None
        else line
        for line in board.lines
    ]
    return board.model_copy(update={"lines": lines})


def _mean(tests: Sequence[tuple[str, TestResult]], measure: str) -> float | None:
    """Return the mean over families and seeds; None where one test has no value."""
    values = [cell.value(measure) for _, cell in tests]
    known = [value for value in values if value is not None]
    # a mean over the tests that happen to have a value would differ from detector to detector
    if not known or len(known) < len(values):
        return None
    weights = weights_of([family for family, _ in tests])  # equally many tests per seed: the mean over seeds too
    return sum(weight * value for weight, value in zip(weights, known, strict=True))


def means_of(board: Leaderboard) -> list[ColumnMean]:
    """Return the means of a leaderboard as records of results.json; a detector that lacks tests has none."""
    means = []
    for line in board.lines:
        for column, standing in line.columns.items():
            if standing.value is None or standing.low is None or standing.high is None:
                continue
            primary = column == board.primary
            means.append(
                ColumnMean(
                    detector=line.detector,
                    column=column,
                    auc=standing.value,
                    low=standing.low,
                    high=standing.high,
                    family_low=standing.family_low,
                    family_high=standing.family_high,
                    balanced_accuracy=line.balanced_accuracy if primary else None,
                    tpr_at_fpr_1pct=line.tpr_at_fpr_1pct if primary else None,
                )
            )
    return means
