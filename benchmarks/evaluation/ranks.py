"""Ranks of many detectors over many test sets: Friedman and Nemenyi tests, critical differences, ties, rank intervals.

`scores` are AUCs, or anything higher is better, shape [N, k]: N test sets (blocks), k detectors. Formulas and names
are those of Demšar 2006 ("Statistical comparisons of classifiers over multiple data sets").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchmarks.evaluation.roc import Bools, Floats
from forge.core.errors import InputError


class Friedman(NamedTuple):
    """Friedman's test of equal mean ranks.

    Attributes:
        chi2: Friedman's statistic, corrected for ties; k - 1 degrees of freedom.
        p: of chi2.
        f: Iman and Davenport's less conservative F; k - 1 and (k - 1)(N - 1) degrees of freedom.
        p_f: of f.
        mean_ranks: of each detector over the test sets, 1 is best, shape [k].
    """

    chi2: float
    p: float
    f: float
    p_f: float
    mean_ranks: Floats


def block_ranks(scores: ArrayLike) -> Floats:
    """Rank within each test set, 1 for the highest score, ties share their mean rank, shape [N, k].

    >>> block_ranks([[0.9, 0.8, 0.9]]).tolist()
    [[1.5, 3.0, 1.5]]
    """
    # the sign makes the highest score rank 1; shape [N, k]
    return np.asarray(stats.rankdata(-_table(scores), axis=1), dtype=np.float64)


def friedman(scores: ArrayLike) -> Friedman:
    """Run Friedman's test of equal ranks.

    chi2 = 12 N / (k (k + 1)) (sum of R_j^2 - k (k + 1)^2 / 4), divided by 1 - ties.

    `ties` is the sum of t^3 - t over groups of t equal scores in a test set, over N k (k^2 - 1). F = (N - 1) chi2 /
    (N (k - 1) - chi2).
    """
    ranks = block_ranks(scores)
    # [N, k]: N blocks (test sets), k detectors
    n, k = ranks.shape
    # [k]; under equal detectors every mean rank is (k + 1) / 2
    mean = ranks.mean(axis=0)
    # sizes of groups of equal ranks, block by block; groups of one add 1^3 - 1 = 0
    sizes = [np.unique(row, return_counts=True)[1] for row in ranks]
    # share of the largest possible correction, N k (k^2 - 1): 1 where each block is one single tie
    ties = sum(float((size**3 - size).sum()) for size in sizes) / (n * k * (k * k - 1))
    if ties >= 1:  # all scores are equal in every test set
        return Friedman(0.0, 1.0, 0.0, 1.0, mean)
    # ties lower the variance of the ranks, and dividing by 1 - ties restores the scale of chi-squared
    chi2 = 12 * n / (k * (k + 1)) * (float((mean**2).sum()) - k * (k + 1) ** 2 / 4) / (1 - ties)
    # Iman and Davenport 1980: chi-squared is bounded by N (k - 1), its value where all blocks agree; then F is infinite
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-9 else math.inf  # one order everywhere
    return Friedman(
        chi2,
        float(stats.chi2.sf(chi2, k - 1)),
        f,
        # with one block the denominator of F has no degree of freedom, so that nothing can be rejected
        float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))) if n > 1 else 1.0,
        mean,
    )


def critical_difference(detectors: int, sets: int, *, alpha: float = 0.05) -> float:
    """Compute Nemenyi's critical difference of mean ranks, q sqrt(k (k + 1) / (6 N)).

    q is the upper quantile of the studentised range for k groups and infinite degrees of freedom, over sqrt 2.
    """
    if detectors < 2 or sets < 1 or not 0 < alpha < 1:
        raise InputError("a critical difference needs two detectors, a test set, and alpha in (0, 1)")
    # q / sqrt 2: the studentised range is in units of one mean's error, a difference of two has sqrt 2 times that
    q = float(stats.studentized_range.ppf(1 - alpha, detectors, np.inf)) / math.sqrt(2)
    # variance of a mean rank under equal detectors is k (k + 1) / (12 N); of a difference of two, twice that
    return q * math.sqrt(detectors * (detectors + 1) / (6 * sets))

    # ranks below start + difference: "left" leaves out one that is exactly the critical difference away
    # a run that ends where an earlier one ended lies within it, so only runs that reach farther are bars of their
    # own


def shared_ranks(values: Sequence[float], differ: ArrayLike) -> list[int]:
    """Rank detectors: those not significantly different from the leader share its rank, and so on for the rest.

    Args:
        values: higher is better, shape [k].
        differ: whether two of them differ significantly, shape [k, k].

    >>> shared_ranks([0.9, 0.7, 0.89], [[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    [1, 3, 1]
    """
    apart = _square(differ, len(values))
    # best first; Python's sort is stable, so equal values keep their order
    rest = sorted(range(len(values)), key=lambda i: -values[i])
    ranks = [0] * len(values)
    while rest:
        # competition ranking: the next tier begins at one more than the number of detectors before it
        leader, rank = rest[0], len(values) - len(rest) + 1
        # compared with the leader of the tier alone: "not significantly different" is not transitive, so that a chain
        # of small differences must not join the first and the last
        tier = [i for i in rest if i == leader or not apart[leader, i]]
        for i in tier:
            ranks[i] = rank
        rest = [i for i in rest if i not in tier]
    return ranks


def rank_intervals(values: Sequence[float], differ: ArrayLike) -> list[tuple[int, int]]:
    """Return the range of ranks of each: 1 + the number significantly better, k - the number significantly worse.

    With tests adjusted over all pairs (Holm), all true ranks lie in their intervals together with that confidence
    (Mogstad, Romano, Shaikh and Wilhelm 2024).
    """
    apart = _square(differ, len(values))
    intervals = []
    for i, value in enumerate(values):
        # ties count neither as better nor as worse
        better = sum(bool(apart[i, j]) for j in range(len(values)) if values[j] > value)
        worse = sum(bool(apart[i, j]) for j in range(len(values)) if values[j] < value)
        intervals.append((1 + better, len(values) - worse))
    return intervals


def _square(differ: ArrayLike, k: int) -> Bools:
    apart = np.asarray(differ, dtype=bool)
    # differ must be symmetric: the test of a against b is that of b against a
    if apart.shape != (k, k) or (apart != apart.T).any():
        raise InputError(f"differ must be a symmetric table of {k} x {k}, got shape {apart.shape}")
    return apart


def _table(scores: ArrayLike) -> Floats:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise InputError("scores must be a full table of test sets x detectors, two detectors or more; none may miss")
    return table
