"""Tests on photos from elsewhere: columns and means of public test sets, rates where a test has one class alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.column import Column
from benchmarks.evaluation.evaluate import fits_of, identities, threshold_of
from benchmarks.evaluation.proportions import proportion_interval
from benchmarks.evaluation.results import ColumnMean, OneClassRate
from benchmarks.protocol import CLEAN, EXTERNAL_PREFIX, Condition, TrainSet


def set_of(tested_on: str) -> str:
    """Return the test set that a column belongs to: "external:genimage" of "external:genimage/biggan"; "" of a pair."""
    name, slash, _ = tested_on.partition("/")
    return name if slash else ""


def set_means(cells: Mapping[str, Mapping[str, Sequence[Scored]]]) -> list[ColumnMean]:
    """Return the mean AUC of each detector on every test from elsewhere, and over the columns of each test set.

    Nothing where there is one such test, whose mean is the leaderboard's column. The means are over columns and seeds;
    the interval knows of images and people that several columns share. A detector that lacks a column of a set has no
    mean over it.

    Args:
        cells: detector -> leaderboard's column -> its cells, as of `cells_of`.
    """
    columns: dict[str, dict[str, list[Scored]]] = defaultdict(lambda: defaultdict(list))
    for detector, of in cells.items():
        for cell in of.get(Condition.EXTERNAL, ()):
            columns[cell.where.tested_on][detector].append(cell)
            if name := set_of(cell.where.tested_on):
                columns[name][detector].append(cell)
    means: list[ColumnMean] = []
    if len(columns) < 2:
        return means
    for name, by_detector in sorted(columns.items()):
        # every detector is compared on the same columns and seeds
        expected = {cell.where for of_detector in by_detector.values() for cell in of_detector}
        column = Column({d: part for d, part in by_detector.items() if len(part) == len(expected)})
        for detector in column.names:
            mean = column.mean(detector)
            low, high = max(0.0, mean.low), min(1.0, mean.high)
            means.append(ColumnMean(detector=detector, column=name, auc=mean.value, low=low, high=high))
    return means


def one_class_rates(scores: pd.DataFrame) -> list[OneClassRate]:
    """Return the share of images called forged, of tests from elsewhere that have one class alone.

    Args:
        scores: rows of scores.parquet, val and test.
    """
    foreign = (scores["split"] == "test") & scores["source"].str.startswith(EXTERNAL_PREFIX)
    classes = scores[foreign].groupby("source")["label"].nunique()
    alone = set(classes.index[classes == 1])
    if not alone:
        return []
    rates = []
    for (detector, trained_on, seed), positions in fits_of(scores):
        fit, training = scores.iloc[positions], TrainSet.parse(trained_on)
        of_fit = fit[(fit["split"] == "test") & (fit["perturbation"] == CLEAN) & fit["source"].isin(alone)]
        if training.variant or of_fit.empty:
            continue
        val = fit[(fit["split"] == "val") & (fit["perturbation"] == training.perturbation)]
        threshold = threshold_of(val, detector, training)
        for source, rows in of_fit.groupby("source", sort=True):
            called = (rows["score"] >= threshold).to_numpy()
            ends = proportion_interval(called, groups=identities(rows))
            rates.append(
                OneClassRate(
                    detector=detector,
                    trained_on=trained_on,
                    tested_on=str(source),
                    seed=seed,
                    kind="forged" if rows["label"].iloc[0] == 1 else "real",
                    n=len(rows),
                    rate=float(called.mean()),
                    low=ends.low,
                    high=ends.high,
                    method=ends.method,
                )
            )
    return rates
