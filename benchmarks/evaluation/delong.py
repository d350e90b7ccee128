"""Intervals and paired tests for one detector on one test set, and the choice between them by the protocol.

`label`, `score` and their checks are those of `roc`; `groups` and units are those of `resampling`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.evaluation import roc
from benchmarks.evaluation.bootstrap import auc_resamples
from benchmarks.evaluation.interval import Interval, two_sided
from benchmarks.evaluation.resampling import codes, percentile, units_of
from benchmarks.evaluation.roc import Floats, check_scores, placements
from benchmarks.protocol import choose_interval
from forge.core.errors import InputError


class PairedDifference(NamedTuple):
    """Two detectors on the same images: AUC of a minus AUC of b, its variance, z, two-sided p and interval."""

    difference: float
    variance: float
    z: float
    p: float
    interval: Interval


# --- AUC: DeLong ------------------------------------------------------------------------------------------------------


class Components(NamedTuple):
    """DeLong's structural components of one detector on one test set.

    Attributes:
        forged: V10, share of the reals below each forged image, shape [m]; the mean is the AUC.
        real: V01, share of the forgeries above each real image, shape [n]; the mean is the AUC.
    """

    forged: Floats
    real: Floats

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return float(self.forged.mean())

    @property
    def variance(self) -> float:
        """S10 / m + S01 / n."""
        # sample variances (ddof 1) of the components: S10 over forgeries, S01 over reals (DeLong et al. 1988)
        return float(self.forged.var(ddof=1) / self.forged.size + self.real.var(ddof=1) / self.real.size)


def components(label: ArrayLike, score: ArrayLike) -> Components:
    """Compute DeLong's structural components (1988) in O(n log n), as Sun and Xu 2014; rows in input order."""
    forged, scores = check_scores(label, score)
    # scores are compared and never subtracted, so that any monotone change of them leaves components and AUC as they
    # are
    m = int(np.count_nonzero(forged))
    n = forged.size - m
    # with one image of a class the sample variance of its components is 0 / 0
    if min(m, n) < 2:
        raise InputError(f"DeLong's variance needs 2 images of each class, got {m} forged and {n} real")
    # placements are twice the counts, so that ties stay integers; dividing by twice the other class's size gives shares
    of_forged, of_real = placements(forged, scores)
    return Components(of_forged / (2 * n), of_real / (2 * m))


def delong_variance(label: ArrayLike, score: ArrayLike) -> float:
    """Compute the variance of the AUC, S10 / m + S01 / n."""
    return components(label, score).variance


def auc_delong(label: ArrayLike, score: ArrayLike, *, level: float = 0.95) -> Interval:
    """Compute AUC -+ z sqrt(DeLong's variance), cut to [0, 1]; empty where the classes separate perfectly."""
    return delong_interval(components(label, score), level=level)


def delong_interval(parts: Components, *, level: float = 0.95) -> Interval:
    """Return `auc_delong` from computed components."""
    value, half = parts.auc, two_sided(level) * math.sqrt(parts.variance)
    # the normal approximation is symmetric and may leave [0, 1] near a perfect AUC
    return Interval(max(0.0, value - half), min(1.0, value + half), "DeLong", level)


def delong_paired(label: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, *, level: float = 0.95) -> PairedDifference:
    """Test AUC(a) = AUC(b) on the same images in the same order (paired DeLong); rows must be independent."""
    return paired(components(label, score_a), components(label, score_b), level=level)


def paired(a: Components, b: Components, *, level: float = 0.95) -> PairedDifference:
    """Compute the paired DeLong test of two detectors whose components list the same images in the same order.

    Where the variance of the difference is zero (say, both separate perfectly) an interval of no width would be
    overconfident: then the two Newcombe intervals are combined instead (MOVER, Zou and Donner 2008; conservative, since
    it ignores that the detectors saw the same images), and the variance is read off the side that faces zero.
    """
    # paired: images that are hard for both detectors move both AUCs alike and cancel in the difference
    difference, z_level = a.auc - b.auc, two_sided(level)
    # components of the difference: their variance contains the covariance of both AUCs
    variance = Components(a.forged - b.forged, a.real - b.real).variance
    if variance > 1e-24:  # components are multiples of 1 / 2n: anything below is rounding
        low, high = (difference + side * z_level * math.sqrt(variance) for side in (-1, 1))
        interval = Interval(max(-1.0, low), min(1.0, high), "paired DeLong", level)
    else:
        # MOVER: each end combines the distances of a and b to the ends that move the difference in that direction, as
        # if independent; paired detectors are positively correlated as a rule, hence conservative
        of_a, of_b = (auc_newcombe(parts.auc, parts.forged.size, parts.real.size, level=level) for parts in (a, b))
        low = max(-1.0, difference - math.hypot(a.auc - of_a.low, of_b.high - b.auc))
        high = min(1.0, difference + math.hypot(of_a.high - a.auc, b.auc - of_b.low))
        interval = Interval(low, high, "Newcombe, combined", level)
        # variance for which a symmetric interval would have this end, so that z and p agree with the interval
        variance = ((difference - low if difference > 0 else high - difference) / z_level) ** 2
    # never 0 / 0: in the second branch the Newcombe intervals have a width, so that the side that faces zero is not
    # empty
    z = difference / math.sqrt(variance)
    return PairedDifference(difference, variance, z, normal_p(z), interval)


def normal_p(z: float) -> float:
    """Return the two-sided p of a standard normal z: 0.05 at 1.96."""
    # erfc keeps full precision in the tail, where 1 - cdf would round to 0
    return math.erfc(abs(z) / math.sqrt(2))


# --- AUC: Newcombe ----------------------------------------------------------------------------------------------------


def auc_newcombe(auc: float, n_forged: int, n_real: int, *, level: float = 0.95) -> Interval:
    """Score interval of an AUC (Newcombe 2006, method 5): never empty, never outside [0, 1], good at small n.

    Its ends solve |auc - t| = z sqrt(V(t)), with V(t) = t(1 - t)(1 + N(1 - t)/(2 - t) + N t/(1 + t)) / (m n) and
    N = (m + n)/2 - 1.
    """
    if not 0 <= auc <= 1:
        raise InputError(f"auc must lie in [0, 1], got {auc:g}")
    if min(n_forged, n_real) < 1:
        raise InputError(f"an AUC needs images of both classes, got {n_forged} forged and {n_real} real")
    # N = (m + n) / 2 - 1 of the formula
    z, extra = two_sided(level), (n_forged + n_real) / 2 - 1

    from scipy.optimize import brentq  # imports scipy, which most commands do without

    def excess(t: float) -> float:
        # V(t) m n: Hanley and McNeil's variance (1982), with m - 1 and n - 1 replaced by their mean N
        spread = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t)))
        # the score interval takes the variance at t and not at the estimate: at an AUC of 1 it has a width
        return abs(auc - t) - z * math.sqrt(spread / (n_forged * n_real))

    def end(outside: float) -> float:
        # excess is 0 at an auc of 0 or 1 and below 0 next to it, > 0 at the other end of [0, 1]: one crossing between
        # brentq needs a change of sign between its ends, and at exactly 0 or 1 excess is 0: start just inside
        inside = min(max(auc, 1e-300), np.nextafter(1, 0))
        return auc if auc == outside else float(brentq(excess, inside, outside, xtol=1e-15))

    # the lower end is sought towards 0, the upper one towards 1; an end that the AUC has reached stays there
    return Interval(end(0.0), end(1.0), "Newcombe", level)


# --- The protocol's choice --------------------------------------------------------------------------------------------


def auc_interval(
    label: ArrayLike,
    score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Compute the protocol's interval of an AUC, named in `method`.

    Newcombe where a class has fewer than 200 images or the classes separate perfectly, inverted or all tied (there
    resampling and DeLong both give an interval of no width); else a bootstrap over identities where identities repeat;
    else DeLong. Images of one identity are not independent, so where identities repeat Newcombe counts identities,
    which is conservative, and also serves where a class has fewer than 30 of them.
    """
    return auc_intervals(label, score, [level], groups=groups, resamples=resamples, seed=seed)[0]


def auc_intervals(
    label: ArrayLike,
    score: ArrayLike,
    levels: Sequence[float],
    *,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    parts: Components | None = None,
) -> list[Interval]:
    """Compute `auc_interval` at several levels at once; with `parts`, where its components are computed already."""
    forged, scores = check_scores(label, score)
    # identities as integers, and rows of both classes that share one as one unit
    units = units_of(forged, codes(groups, forged.size))
    m = int(np.count_nonzero(forged))
    if parts is None and min(m, forged.size - m) > 1:
        parts = components(forged, scores)
    method = choose_interval(
        forged.size - m,
        m,
        # below two images of a class DeLong's variance does not exist; 0 makes the choice fall on Newcombe
        variance=parts.variance if parts else 0.0,
        repeated=units.repeat,
        people=min(units.in_real, units.in_forged),
    )
    if method == "bootstrap over identities":
        values = auc_resamples(forged, scores, groups=groups, resamples=resamples, seed=seed)
        return [percentile(values, level, method) for level in levels]
    if method == "DeLong" and parts:
        return [delong_interval(parts, level=level) for level in levels]
    value = roc.auc(forged, scores)
    # counts of units: of rows where nobody repeats, else of people, as if the images of one person were a single image
    ends = [auc_newcombe(value, units.in_forged, units.in_real, level=level) for level in levels]
    return [Interval(interval.low, interval.high, method, interval.level) for interval in ends]


# --- Families of tests ------------------------------------------------------------------------------------------------


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values by Holm's step-down method (1979), in the order given: reject where the result is at most alpha.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError("p-values must be a list of numbers in [0, 1]; NaN is not one")
    # the i-th smallest of n is multiplied by n - i; the running maximum keeps the order of the p-values
    order = np.argsort(p)
    # step-down: the j-th smallest p is compared with alpha / (n - j + 1), since j - 1 hypotheses are rejected by then
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted
