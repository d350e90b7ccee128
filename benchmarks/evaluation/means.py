"""Means of AUCs over test generators and seeds, and differences of such means, with intervals and tests.

A mean over generators cannot treat its AUCs as independent: all of them share their real images, and two detectors
share their forgeries too. But every AUC is a sum over images (the influence of an image is its DeLong component minus
the AUC), so that the covariance of any two AUCs is a sum over the images, or the identities, that both have seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from benchmarks.evaluation.delong import Components, components, normal_p
from benchmarks.evaluation.interval import Interval, two_sided
from benchmarks.evaluation.roc import Floats, Ints
from benchmarks.evaluation.seed_variance import Pool, SeedVariance
from forge.core.errors import InputError


@dataclass(frozen=True)
class Estimates:
    """AUCs that share images.

    Attributes:
        value: of each, shape [k].
        low: lower end of its own interval, shape [k].
        high: upper end, shape [k].
        covariance: of all of them, shape [k, k].
        level: of the intervals.
    """

    value: Floats
    low: Floats
    high: Floats
    covariance: Floats
    level: float = 0.95

    def of(self, chosen: Sequence[int]) -> Estimates:
        """Select AUCs by index."""
        where = list(chosen)
        return Estimates(
            self.value[where], self.low[where], self.high[where], self.covariance[np.ix_(where, where)], self.level
        )


@dataclass(frozen=True)
class Mean:
    """A weighted sum of AUCs.

    Attributes:
        value: the sum.
        low: lower end of its interval.
        high: upper end.
        p: two-sided, of the sum being zero; for a difference of two means.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds.

    Attributes:
        value: the mean.
        low: lower end of an interval over images and seeds; over images alone with one seed.
        high: upper end.
        sd: standard deviation over seeds; None with one seed.
        share: part of the variance that is due to seeds and not to images, in [0, 1]; None with one seed.
        seeds: how many.
        p: two-sided, of the mean being zero; for a difference.
    """

    value: float
    low: float
    high: float
    sd: float | None
    share: float | None
    seeds: int
    p: float


def influence(label: ArrayLike, score: ArrayLike) -> Floats:
    """Return the influence of each image on the AUC, shape [n]; the squares add up to DeLong's variance."""
    return influence_of(label, components(label, score))


def influence_of(label: ArrayLike, parts: Components) -> Floats:
    """Return `influence` from computed components."""
    forged = np.asarray(label) == 1
    values = np.empty(forged.size)
    for rows, of_class in ((forged, parts.forged), (~forged, parts.real)):
        # divided so that the sum of squares is sample variance / size of each class: S10 / m + S01 / n
        values[rows] = (of_class - parts.auc) / math.sqrt(of_class.size * (of_class.size - 1))
    return values


def covariance(units: Sequence[Ints], influences: Sequence[Floats]) -> Floats:
    """Return the covariance of k AUCs from the influences of images, shape [k, k], in time linear in the rows.

    Args:
        units: image or identity of each row; equal numbers in two AUCs are the same image or identity.
        influences: of `influence`, in the same order.
    """
    # equal shapes: an influence is of exactly one row, and rows are matched by their units
    if len(units) != len(influences) or any(u.shape != i.shape for u, i in zip(units, influences, strict=True)):
        raise InputError("units and influences must list the same rows for the same AUCs")
    # sparse table of AUCs x units; entries of one unit (an identity with several images) are summed, and the product
    # with its transpose sums influence_i influence_j over the units that both AUCs share
    row = np.repeat(np.arange(len(units)), [len(unit) for unit in units])
    column = np.concatenate(units)
    if column.size and (column.min() < 0 or column.max() > 8 * column.size):  # far apart: numbered anew
        _, column = np.unique(column, return_inverse=True)
    # [k, units]: far fewer entries than cells, since a test has only its own images
    table = sparse.csr_array((np.concatenate(influences), (row, column)), shape=(len(units), int(column.max()) + 1))
    return np.asarray((table @ table.T).toarray(), dtype=np.float64)


def combine(estimates: Estimates, weights: ArrayLike) -> Mean:
    """Return a weighted sum of AUCs with its interval: square-and-add of the ends (MOVER, Zou 2008) with correlations.

    With d_j = w_j (value_j - low_j), or w_j (high_j - value_j) where w_j < 0, the lower end is sum - sqrt(d' R d), R
    the correlations; the upper end is its mirror image. So the ends are asymmetric where those of the AUCs are, and
    for two AUCs with DeLong's intervals it is the paired DeLong test. The correlation of
    an AUC without variance (perfect separation) is unknown: the one that widens the interval is used, 1 or 0. p follows
    from the end nearer to zero.

    Args:
        estimates: the AUCs.
        weights: of each, shape [k]: 1/k for their mean; negative ones make a difference.
    """
    w = np.asarray(weights, dtype=np.float64)
    # a negative weight exchanges the ends: the lower end of -AUC is minus the upper end of the AUC
    if w.shape != estimates.value.shape:
        raise InputError(f"one weight per AUC: {w.size} weights for {estimates.value.size}")
    below, above = estimates.value - estimates.low, estimates.high - estimates.value
    # w @ value: with weights 1/k the mean, with [1, -1] a difference
    value = float(w @ estimates.value)
    # where w > 0 a lower AUC lowers the sum, where w < 0 a higher one does: each takes the distance in that direction
    low = value - _length(estimates.covariance, w * np.where(w > 0, below, above))
    high = value + _length(estimates.covariance, w * np.where(w > 0, above, below))
    # distance to the end nearer to zero, in units of z: p = 0.05 exactly where that end touches zero
    facing = value - low if value > 0 else high - value
    z = two_sided(estimates.level) * abs(value) / facing if facing > 0 else math.inf if value else 0.0
    return Mean(value, low, high, normal_p(z))


def _length(covariances: Floats, d: Floats) -> float:
    """Return the square root of d' R d, where R are the correlations of `covariances`."""
    # [k] standard deviations over images
    sd = np.sqrt(np.diag(covariances))
    known = np.outer(sd, sd) > 1e-24  # as in `paired`: anything below is rounding
    # perfect separation: sign of d_i d_j decides between correlation 1 and 0, whichever makes d' R d larger
    unknown = (np.outer(d, d) > 0).astype(np.float64)
    correlation = np.where(known, covariances / np.where(known, np.outer(sd, sd), 1.0), unknown)
    np.fill_diagonal(correlation, 1.0)
    # correlations of estimated covariances may be just outside [-1, 1]: a negative square is rounding
    return math.sqrt(max(0.0, float(d @ correlation @ d)))


def seed_variance(estimates: Estimates, weights: ArrayLike) -> SeedVariance:
    """Return the variance of a sum of AUCs between seeds, and the part due to images; arguments as `over_seeds`."""
    w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    # covariance over images of the sums of any two seeds, [S, S]
    seeds, of_images = len(w), w @ estimates.covariance @ w.T
    # images that all seeds share (the reals) shift all sums alike and add nothing to their variance: E[sample variance]
    # is the mean of the variances minus the mean of the covariances
    # mean covariance of two different seeds: the sum of the entries off the diagonal over their number
    shared = (of_images.sum() - np.trace(of_images)) / (seeds * (seeds - 1))
    # a difference of estimates may come out negative; the contribution of images is at least zero
    return SeedVariance(float((w @ estimates.value).var(ddof=1)), max(0.0, float(np.trace(of_images) / seeds - shared)))


def over_seeds(estimates: Estimates, weights: ArrayLike, pool: Pool | None = None) -> SeedMean:
    """Return the mean over seeds of a sum of AUCs, with an interval for other seeds and other images.

    With the sums y of S seeds, their variance B between seeds, and the variance of their mean over images I, the
    variance of the mean is I + s / S, where s = B - (the part of B due to images) is the variance of seeds alone, not
    below zero. B has S - 1 degrees of freedom, I is taken as known, and Satterthwaite's approximation gives those of
    the sum: few seeds give a wide interval. A pool moderates B and adds its degrees of freedom.

    Args:
        estimates: the AUCs of all seeds.
        weights: of each AUC in the sum of each seed, shape [S, k].
        pool: prior of the variance between seeds from all detectors of the table.
    """
    w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    seeds = len(w)
    image = combine(estimates, w.mean(axis=0))
    # with one seed nothing is known of other seeds: the interval is over images alone
    if seeds == 1:
        return SeedMean(image.value, image.low, image.high, None, None, 1, image.p)
    variance_of_seeds = seed_variance(estimates, w)
    between, freedom = (
        pool.moderated(variance_of_seeds, seeds - 1) if pool else (variance_of_seeds.between, float(seeds - 1))
    )
    # method of moments: observed variance less what images explain; negative estimates are cut at zero
    of_seeds = max(0.0, between - variance_of_seeds.images)
    z, halves, ps = two_sided(estimates.level), [], []
    for half in (image.value - image.low, image.high - image.value):
        # each end has its own variance, since intervals of AUCs near 1 are asymmetric
        variance = (half / z) ** 2 + of_seeds / seeds
        # Satterthwaite: only the part `between / seeds` of the variance is estimated, with `freedom` degrees
        of_sum = freedom * (variance * seeds / between) ** 2 if of_seeds > 0 else math.inf
        halves.append(_quantile(0.5 + estimates.level / 2, of_sum) * math.sqrt(variance))
        ps.append(2 * _tail(abs(image.value) / math.sqrt(variance), of_sum) if variance > 0 else float(image.p))
    # variance of the mean over images (mean of the whole covariance matrix), plus that over seeds
    total = float((w @ estimates.covariance @ w.T).mean()) + of_seeds / seeds
    return SeedMean(
        image.value,
        image.value - halves[0],
        image.value + halves[1],
        math.sqrt(variance_of_seeds.between),
        of_seeds / seeds / total if total > 0 else 0.0,
        seeds,
        ps[0] if image.value > 0 else ps[1],  # of the end that faces zero
    )


def _quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's t; of infinite degrees of freedom it is the normal one."""
    # the numbers of scipy.stats, to the bit; making its distributions takes longer than all the rest of a mean
    return float(stdtrit(freedom, probability) if math.isfinite(freedom) else ndtri(probability))


def _tail(value: float, freedom: float) -> float:
    """Return the probability of a larger value."""
    return float(stdtr(freedom, -value) if math.isfinite(freedom) else ndtr(-value))


def estimates_of(values: Sequence[float], intervals: Sequence[Interval], covariances: Floats) -> Estimates:
    """Join AUCs, the intervals that the protocol chose for them (all of one level), and their covariance."""
    levels = {interval.level for interval in intervals}
    if len(levels) != 1 or len(intervals) != len(values) or covariances.shape != (len(values),) * 2:
        raise InputError("estimates need one interval per value, all of one level, and their covariance")
    low, high = (np.array([getattr(interval, end) for interval in intervals]) for end in ("low", "high"))
    # one level: intervals of different coverage cannot be combined
    return Estimates(np.asarray(values, dtype=np.float64), low, high, covariances, levels.pop())


def detectable(errors: ArrayLike, *, level: float = 0.95, power: float = 0.8) -> float:
    """Return the minimum detectable difference of a two-sided test: (z_level + z_power) times its standard error.

    Args:
        errors: standard errors of differences; their median stands for a table, shape [n].
        level: of the test.
        power: probability of a significant result at this difference, in (0, 1).
    """
    known = np.asarray(errors, dtype=np.float64)
    if known.size == 0 or not 0 < power < 1:
        raise InputError("a detectable difference needs standard errors, and a power in (0, 1)")
    # a true difference of (z_level + z_power) errors is significant with probability `power`; the other tail is
    # neglected
    return float((two_sided(level) + NormalDist().inv_cdf(power)) * np.median(known))
