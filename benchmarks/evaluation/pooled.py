"""Mean AUC of test sets that share images, from their score rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.evaluation import delong, means, roc
from benchmarks.evaluation.cells import units_of_images
from benchmarks.evaluation.roc import Floats, Ints


def mean_auc(rows: pd.DataFrame, tests: Sequence[Ints], *, level: float = 0.95) -> means.Mean:
    """Compute the mean AUC of test sets with its interval; images and people in several of them count once.

    Args:
        rows: of scores.
        tests: places of the rows of one test set each.
        level: of the interval.
    """
    # one numbering over all tests: equal numbers are the same person or image, whose influences add up
    together = units_of_images(rows.iloc[np.concatenate(tests)])
    persons = np.split(together, np.cumsum([len(test) for test in tests])[:-1])
    labels, scores = ([rows[name].to_numpy()[test] for test in tests] for name in ("label", "score"))
    return mean_auc_at(labels, scores, persons, [level])[0]


def mean_auc_at(
    labels: Sequence[Ints], scores: Sequence[Floats], persons: Sequence[Ints], levels: Sequence[float]
) -> list[means.Mean]:
    """Compute `mean_auc` at several levels at once, from the columns of each test set."""
    sizes = [len(of_test) for of_test in persons]
    # one numbering over all tests: equal numbers are the same person or image, whose influences add up
    units = np.split(pd.factorize(np.concatenate(persons))[0], np.cumsum(sizes)[:-1])
    pairs = list(zip(labels, scores, strict=True))
    values = [roc.auc(*pair) for pair in pairs]
    placed = [delong.components(*pair) for pair in pairs]
    ends = [
        delong.auc_intervals(*pair, levels, groups=unit, parts=parts)
        for pair, unit, parts in zip(pairs, units, placed, strict=True)
    ]
    shared = means.covariance(units, [means.influence_of(of, parts) for of, parts in zip(labels, placed, strict=True)])
    # plain mean over tests: weights 1 / tests, with the covariance of tests that share images
    weights = [1 / len(pairs)] * len(pairs)
    return [
        means.combine(means.estimates_of(values, of_level, shared), weights) for of_level in zip(*ends, strict=True)
    ]
