"""The results table: every metric of every test as text, and the score rows that each was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.evaluation import roc
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.metrics import metrics_of
from benchmarks.evaluation.numbers import estimate, percent_range, share
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.report.ranking import Key, Rank, key, ranks_of
from benchmarks.report.text.summary import Errors, Finding, finding
from forge.core.errors import InputError


@dataclass(frozen=True)
class Row:
    """One line of the table, as text.

    Attributes:
        cell: the result.
        rank: its rank.
        auc: AUC.
        interval: its 95 % interval.
        values: of `shown_metrics`, in their order; None: undefined on this test set.
        finding: the class of the AUC: perfect, reliable, often, weak, chance or reversed.
    """

    cell: TestResult
    rank: Rank
    auc: str
    interval: str
    values: list[str | None]
    finding: Finding


class ScoreIndex:
    """Score rows by test: the clean test images of each fit, grouped once."""

    def __init__(self, scores: pd.DataFrame) -> None:
        # Clean test rows alone: perturbed ones are other images of the same ids.
        clean = scores[(scores["perturbation"] == "none") & (scores["split"] == "test")]
        # by id, so that curves and galleries do not depend on the order in which images were scored
        clean = clean.sort_values("sample_id", kind="stable")
        self._fits = dict(iter(clean.groupby(["detector", "trained_on", "seed"], sort=True)))

    def __call__(self, cell: TestResult) -> pd.DataFrame:
        """Return the real rows, and the forged rows of the cell's generator.

        Raises:
            InputError: the scores do not belong to the results.
        """
        fit = self._fits.get((cell.detector, cell.trained_on, cell.seed))
        # Reals have no generator: all of the fit belong to each of its tests.
        rows = fit[(fit["label"] == 0) | (fit["generator"] == cell.tested_on)] if fit is not None else None
        # Scores of another run beside these results would give plausible curves: counts are compared, and refused.
        if rows is None or (int((rows["label"] == 0).sum()), int((rows["label"] == 1).sum())) != (
            cell.n_real,
            cell.n_forged,
        ):
            raise InputError(
                f"the scores hold other test images than the result of {cell.detector} (trained on {cell.trained_on}, "
                f"tested on {cell.tested_on}) names: {cell.n_real} real and {cell.n_forged} forged; evaluate them again"
            )
        return rows


def errors_of(cells: Sequence[TestResult], rows: ScoreIndex) -> dict[Key, Errors]:
    """Count the mistakes of every cell at its threshold."""
    errors = {}
    for cell in cells:
        part = rows(cell)
        seen = roc.confusion(part["label"], part["score"], cell.threshold)
        errors[key(cell)] = Errors(seen.fp, cell.n_real, seen.fn, cell.n_forged)
    return errors


def table(results: Results) -> list[Row]:
    """Return the rows of the table: pairing after pairing, the best detector first."""
    ranks = ranks_of(results.cells, results.comparisons)
    # First appearance decides the order of pairings, which is that of the plan.
    order = {name: i for i, name in enumerate(dict.fromkeys((c.trained_on, c.tested_on) for c in results.cells))}
    ordered = sorted(
        results.cells, key=lambda c: (order[c.trained_on, c.tested_on], c.seed, ranks[key(c)].rank, -c.auc)
    )
    measured = shown_metrics(results)
    return [_row(cell, ranks[key(cell)], measured) for cell in ordered]


def shown_metrics(results: Results) -> list[MetricFacts]:
    """Return the metrics that tables show, in the order of their columns."""
    return [metric for metric in metrics_of(results) if metric.shown]  # the others are in CSV and JSON


def _row(cell: TestResult, rank: Rank, measured: Sequence[MetricFacts]) -> Row:
    shown = estimate(cell.auc, cell.auc_low, cell.auc_high)
    return Row(
        cell=cell,
        rank=rank,
        auc=shown.value,
        interval=f"[{shown.low}, {shown.high}]",
        values=[shown_value(cell, metric) for metric in measured],
        finding=finding(cell),
    )


def shown_value(cell: TestResult, metric: MetricFacts) -> str | None:
    """Format a metric of a cell, with its interval; None where it is undefined.

    A metric that depends on the prevalence is stated at equal prevalence, and where the classes differ in size at the
    set's own too, named.
    """
    value = cell.value(metric.id)
    if value is None:
        return None
    # With classes of one size both prevalences are the same, and one number is enough.
    if metric.equal_prevalence and cell.n_real != cell.n_forged:
        of_set = f"{_text(value, cell, metric)} at the set's prevalence"
        equal = cell.value(metric.equal_prevalence)
        return of_set if equal is None else f"{_text(equal, cell, metric, balanced=True)} ({of_set})"
    # results of that schema counted all images, not each class alike
    of_all = metric.id == "accuracy" and not cell.accuracy_is_balanced  # schema 4
    return _text(value, cell, metric) + (" of all images" if of_all else "")


def _text(value: float, cell: TestResult, metric: MetricFacts, *, balanced: bool = False) -> str:
    fewest = min(cell.n_real, cell.n_forged)
    # how many images a value is a share of decides its digits
    images = {"all": cell.n_real + cell.n_forged, "fewest": fewest, "forged": cell.n_forged}[metric.counted]
    if metric.unit == "share":
        # balanced: each class counts as much as the smaller one has images
        return share(value, 2 * fewest if balanced else images)
    low, high = cell.value(f"{metric.id}_low"), cell.value(f"{metric.id}_high")
    if metric.unit == "percent":
        return percent_range(value, low, high, images)
    return f"{value:.4g}" + ("" if low is None or high is None else f" [{low:.4g}, {high:.4g}]")
