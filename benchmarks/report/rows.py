"""The long table: every measure of every result as text, and the score rows that each was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.measures import metrics
from benchmarks.measures.results import Cell, Results
from benchmarks.report import words
from benchmarks.report.numbers import estimate, percent, percent_range, share
from benchmarks.report.ranking import Key, Place, key, places
from forge.errors import InputError


@dataclass(frozen=True)
class Row:
    """One line of the table, as text."""

    cell: Cell
    place: Place
    auc: str
    interval: str
    eer: str
    tpr: str | None
    balanced: str
    accuracy: str
    brier: str
    ece: str
    finding: words.Finding


class TestRows:
    """The clean test rows of each cell, found once."""

    __test__ = False

    def __init__(self, scores: pd.DataFrame) -> None:
        clean = scores[(scores["perturbation"] == "none") & (scores["split"] == "test")]
        clean = clean.sort_values("sample_id", kind="stable")
        self._fits = dict(iter(clean.groupby(["detector", "trained_on", "seed"], sort=True)))

    def __call__(self, cell: Cell) -> pd.DataFrame:
        """Real rows, and the forged rows of the cell's generator.

        Raises:
            InputError: the scores do not belong to the results.
        """
        fit = self._fits.get((cell.detector, cell.trained_on, cell.seed))
        rows = fit[(fit["label"] == 0) | (fit["generator"] == cell.tested_on)] if fit is not None else None
        if rows is None or (int((rows["label"] == 0).sum()), int((rows["label"] == 1).sum())) != (
            cell.n_real,
            cell.n_forged,
        ):
            raise InputError(
                f"the scores hold other test images than the result of {cell.detector} (trained on {cell.trained_on}, "
                f"tested on {cell.tested_on}) names: {cell.n_real} real and {cell.n_forged} forged; evaluate them again"
            )
        return rows


def errors_of(cells: Sequence[Cell], rows: TestRows) -> dict[Key, words.Errors]:
    """Mistakes of every cell at its threshold."""
    found = {}
    for cell in cells:
        part = rows(cell)
        seen = metrics.confusion(part["label"], part["score"], cell.threshold)
        found[key(cell)] = words.Errors(seen.fp, cell.n_real, seen.fn, cell.n_forged)
    return found


def table(results: Results) -> list[Row]:
    """The rows of the main table: a duel after the other, best first."""
    ranks = places(results.cells, results.comparisons)
    order = {name: i for i, name in enumerate(dict.fromkeys((c.trained_on, c.tested_on) for c in results.cells))}
    ordered = sorted(
        results.cells, key=lambda c: (order[c.trained_on, c.tested_on], c.seed, ranks[key(c)].rank, -c.auc)
    )
    return [_row(cell, ranks[key(cell)]) for cell in ordered]


def _row(cell: Cell, place: Place) -> Row:
    n, least = cell.n_real + cell.n_forged, min(cell.n_real, cell.n_forged)
    shown = estimate(cell.auc, cell.auc_low, cell.auc_high)
    return Row(
        cell=cell,
        place=place,
        auc=shown.value,
        interval=f"[{shown.low}, {shown.high}]",
        eer=percent_range(cell.eer, cell.eer_low, cell.eer_high, least),
        tpr=None if cell.tpr_at_fpr_1pct is None else percent(cell.tpr_at_fpr_1pct, cell.n_forged),
        balanced=percent(cell.balanced_accuracy, least),
        accuracy=percent_range(cell.accuracy, cell.accuracy_low, cell.accuracy_high, n)
        + ("" if cell.accuracy_is_balanced else " of all images"),
        brier=calibrated(cell, "brier"),
        ece=calibrated(cell, "ece"),
        finding=words.finding(cell),
    )


def calibrated(cell: Cell, measure: str) -> str:
    """Brier score or ECE at equal prevalence, and where the classes differ in size at the set's own, named."""
    at_set = share(getattr(cell, measure), cell.n_real + cell.n_forged)
    if cell.n_real == cell.n_forged:
        return at_set
    equal = cell.at_equal_prevalence(measure)
    of_set = f"{at_set} at the set's prevalence"
    return of_set if equal is None else f"{share(equal, 2 * min(cell.n_real, cell.n_forged))} ({of_set})"
