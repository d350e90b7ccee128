"""Intervals and paired tests for one detector on one test set, as the protocol (version 1) chooses them.

`label`, `score` and their checks are those of `metrics`. `groups` names the identity of every row, shape [n]; None,
NaN or "" is a row on its own, as is every row where `groups` is None. Everything is deterministic given `seed`.

How identities are resampled: the unit is the identity with all its rows. Units with real rows only, with forged rows
only, and with both (a forgery that keeps its source's identity) are three strata, each resampled with replacement to
its own number of units. So an identity in both classes is drawn jointly, and no resample ever lacks a class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.measures import metrics
from benchmarks.measures.metrics import Bools, Floats, Ints, check_scores, placements
from forge.errors import InputError

SMALL_CLASS = 200  # images a class below which the protocol takes Newcombe's interval
FEW_UNITS = 30  # identities a class below which a percentile bootstrap over them covers too little (see the tests)
_CHUNK = 2**20  # cells of a weight matrix held at once: bounds memory to some tens of MB whatever n is


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval.

    Attributes:
        low: lower end.
        high: upper end.
        method: how it was made, in words a table can show.
        level: nominal coverage, in (0, 1).
    """

    low: float
    high: float
    method: str
    level: float


class PairedDifference(NamedTuple):
    """Two detectors on the same images: AUC of a minus AUC of b, its variance, z, two-sided p and interval."""

    difference: float
    variance: float
    z: float
    p: float
    interval: Interval


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise InputError(f"level must lie in (0, 1), got {level:g}; 0.95 is usual")
    return NormalDist().inv_cdf(0.5 + level / 2)


# --- AUC: DeLong ------------------------------------------------------------------------------------------------------


def _components(label: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """DeLong's V10 (per forged image) and V01 (per real image); the mean of either is the AUC."""
    forged, scores = check_scores(label, score)
    m = int(np.count_nonzero(forged))
    n = forged.size - m
    if min(m, n) < 2:
        raise InputError(f"DeLong's variance needs 2 images of each class, got {m} forged and {n} real")
    of_forged, of_real = placements(forged, scores)
    return of_forged / (2 * n), of_real / (2 * m)


def _variance(v10: Floats, v01: Floats) -> float:
    return float(v10.var(ddof=1) / v10.size + v01.var(ddof=1) / v01.size)


def delong_variance(label: ArrayLike, score: ArrayLike) -> float:
    """Variance of the AUC, S10 / m + S01 / n (DeLong et al. 1988), in O(n log n) as Sun and Xu 2014."""
    return _variance(*_components(label, score))


def auc_delong(label: ArrayLike, score: ArrayLike, *, level: float = 0.95) -> Interval:
    """AUC -+ z sqrt(DeLong's variance), cut to [0, 1]; empty where the classes separate perfectly."""
    v10, v01 = _components(label, score)
    value, half = float(v10.mean()), _z(level) * math.sqrt(_variance(v10, v01))
    return Interval(max(0.0, value - half), min(1.0, value + half), "DeLong", level)


def delong_paired(label: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, *, level: float = 0.95) -> PairedDifference:
    """Paired DeLong test of AUC(a) = AUC(b) on the same images in the same order; rows must be independent.

    Where the variance of the difference vanishes (say, both separate perfectly) an interval of no width would claim
    too much: then the two Newcombe intervals are combined instead (MOVER, Zou and Donner 2008; conservative, since it
    ignores that the detectors saw the same images), and the variance is read off the side that faces zero.
    """
    a10, a01 = _components(label, score_a)
    b10, b01 = _components(label, score_b)
    auc_a, auc_b = float(a10.mean()), float(b10.mean())
    difference, z_level = auc_a - auc_b, _z(level)
    variance = _variance(a10 - b10, a01 - b01)
    if variance > 1e-24:  # components are multiples of 1 / 2n: anything below is rounding
        low, high = (difference + side * z_level * math.sqrt(variance) for side in (-1, 1))
        interval = Interval(max(-1.0, low), min(1.0, high), "paired DeLong", level)
    else:
        a, b = (auc_newcombe(value, a10.size, a01.size, level=level) for value in (auc_a, auc_b))
        low = max(-1.0, difference - math.hypot(auc_a - a.low, b.high - auc_b))
        high = min(1.0, difference + math.hypot(a.high - auc_a, auc_b - b.low))
        interval = Interval(low, high, "Newcombe, combined", level)
        variance = ((difference - low if difference > 0 else high - difference) / z_level) ** 2
    z = difference / math.sqrt(variance)
    return PairedDifference(difference, variance, z, math.erfc(abs(z) / math.sqrt(2)), interval)


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
    z, extra = _z(level), (n_forged + n_real) / 2 - 1

    def excess(t: float) -> float:
        spread = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t)))
        return abs(auc - t) - z * math.sqrt(spread / (n_forged * n_real))

    def end(outside: float) -> float:
        inside = auc  # excess is <= 0 here and, unless auc is that end itself, > 0 at 0 or 1: one crossing between
        while abs(inside - outside) > 1e-15:
            middle = (inside + outside) / 2
            if middle in (inside, outside):
                break
            inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
        return inside

    return Interval(end(0.0), end(1.0), "Newcombe", level)


# --- Resampling -------------------------------------------------------------------------------------------------------


class _Units(NamedTuple):
    of_row: Ints  # unit of each row, shape [n]; numbers 0..k-1, ordered by stratum
    strata: tuple[int, int, int]  # units with real rows only, with both, with forged rows only

    @property
    def in_real(self) -> int:
        return self.strata[0] + self.strata[1]

    @property
    def in_forged(self) -> int:
        return self.strata[1] + self.strata[2]

    @property
    def repeat(self) -> bool:
        return self.of_row.size > sum(self.strata)


def _units(forged: Bools, code: Ints) -> _Units:
    """Number the units by stratum and then by first row, so that sorted rows meet their units in memory order."""
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    has_forged = np.bincount(code, weights=forged) > 0
    has_real = np.bincount(code, weights=~forged) > 0
    stratum = np.where(has_forged & has_real, 1, np.where(has_forged, 2, 0))
    number = np.empty(first.size, np.intp)
    number[np.lexsort((first, stratum))] = np.arange(first.size)
    sizes = np.bincount(stratum, minlength=3)
    return _Units(number[code], (int(sizes[0]), int(sizes[1]), int(sizes[2])))


def _codes(groups: ArrayLike | None, rows: int) -> Ints:
    """One integer an identity, for whatever names identities have."""
    if groups is None:
        return np.arange(rows)
    names = np.asarray(groups)
    if names.shape != (rows,):
        raise InputError(f"groups must name one identity a row, shape ({rows},), got shape {names.shape}")
    known: dict[Any, int] = {}
    unnamed = 0
    codes = np.empty(rows, np.intp)
    for row, name in enumerate(names.tolist()):
        if name is None or name == "" or name != name:  # nobody's (NaN is not itself), so a unit of its own
            unnamed += 1
            codes[row] = -unnamed
        else:
            codes[row] = known.setdefault(name, len(known))
    return codes


def _sorted(label: ArrayLike, score: ArrayLike, groups: ArrayLike | None) -> tuple[Bools, Floats, _Units]:
    """Checked rows by rising score, and their units."""
    forged, scores = check_scores(label, score)
    order = np.argsort(scores, kind="stable")
    forged, scores = forged[order], scores[order]
    return forged, scores, _units(forged, _codes(groups, forged.size)[order])


def _weights(units: _Units, resamples: int, seed: int, cells: int) -> Iterator[Ints]:
    """How often each unit is drawn: multinomial counts a stratum, shape [chunk, units], `resamples` rows in all."""
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}; 2000 is usual")
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // cells)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = []
        for size in units.strata:
            draws = rng.integers(size, size=(rows, size)) if size else np.empty((rows, 0), np.intp)
            draws += size * np.arange(rows)[:, None]
            drawn.append(np.bincount(draws.ravel(), minlength=rows * size).reshape(rows, size))
        yield np.concatenate(drawn, axis=1)


def _percentile(values: Floats, level: float, method: str) -> Interval:
    _z(level)  # checks the level
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), method, level)


def auc_resamples(
    label: ArrayLike, score: ArrayLike, *, groups: ArrayLike | None = None, resamples: int = 2000, seed: int = 0
) -> Floats:
    """AUC of bootstrap resamples over identities, shape [resamples]; sorts once, then O(n) a resample.

    With the rows in order of score, a forged image of weight w contributes w times the weight of the reals below it
    plus half of those tied with it: two look-ups in the running sum of the real weights. All counts are exact integers.
    """
    forged, scores, units = _sorted(label, score, groups)
    real_unit, forged_unit = units.of_row[~forged], units.of_row[forged]
    lower, upper = (np.searchsorted(scores[~forged], scores[forged], side) for side in ("left", "right"))
    tied = bool((lower != upper).any())
    values = []
    for weight in _weights(units, resamples, seed, forged.size):
        of_forged = weight.take(forged_unit, axis=1)
        below = np.zeros((len(weight), real_unit.size + 1), np.intp)
        np.cumsum(weight.take(real_unit, axis=1), axis=1, out=below[:, 1:])
        twice = below.take(lower, axis=1) + below.take(upper, axis=1) if tied else 2 * below.take(lower, axis=1)
        twice *= of_forged
        values.append(twice.sum(axis=1) / (2 * below[:, -1] * of_forged.sum(axis=1)))
    return np.concatenate(values)


def auc_bootstrap(
    label: ArrayLike,
    score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the AUC from a bootstrap over identities (see the head of this file)."""
    values = auc_resamples(label, score, groups=groups, resamples=resamples, seed=seed)
    return _percentile(values, level, "bootstrap over identities")


def auc_interval(
    label: ArrayLike,
    score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The protocol's interval of an AUC; `method` says which one it is.

    Newcombe where a class has fewer than 200 images or the classes separate perfectly, inverted or all tied (there
    resampling and DeLong both give an interval of no width); else a bootstrap over identities where identities repeat;
    else DeLong. Images of one identity are not independent, so where identities repeat Newcombe counts identities,
    which is conservative, and also serves where a class has fewer than 30 of them.
    """
    forged, scores = check_scores(label, score)
    units = _units(forged, _codes(groups, forged.size))
    m = int(np.count_nonzero(forged))
    small = min(m, forged.size - m) < SMALL_CLASS
    few = units.repeat and min(units.in_real, units.in_forged) < FEW_UNITS
    if small or few or delong_variance(forged, scores) == 0:
        found = auc_newcombe(metrics.auc(forged, scores), units.in_forged, units.in_real, level=level)
        return Interval(found.low, found.high, "Newcombe over identities" if units.repeat else "Newcombe", level)
    if units.repeat:
        return auc_bootstrap(forged, scores, groups=groups, level=level, resamples=resamples, seed=seed)
    return auc_delong(forged, scores, level=level)


def bootstrap_interval(
    metric: Callable[[Bools, Floats], float | None],
    label: ArrayLike,
    score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of any metric of (label, score): AP, EER, TPR at FPR, Brier. Stratified, over identities.

    Where every resample gives one and the same value (perfect separation), a percentile interval would have no width.
    There the interval spans the metric on sets to which z^2 (about 4) units were added at either end of the scores, in
    either class: for a share of 0 or 1 that is Wilson's interval, and it reads "+ z^2 images" in `method`.

    Returns:
        The interval, or None where the metric is None on the set itself; resamples where it is None are left out.
    """
    z = _z(level)
    forged, scores, units = _sorted(label, score, groups)
    if metric(forged, scores) is None:
        return None
    falling = np.arange(forged.size)[::-1]  # metrics then meet descending scores in every resample and need no sort
    method = "bootstrap over identities" if units.repeat else "bootstrap"
    values = []
    for weight in _weights(units, resamples, seed, forged.size):
        for one in weight:
            rows = np.repeat(falling, one[units.of_row[falling]])
            values.append(metric(forged[rows], scores[rows]))
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if known.size and np.ptp(known) > 0:
        return _percentile(known, level, method)
    ends = [value for value in _with_outliers(metric, forged, scores, units, z) if value is not None]
    return Interval(min(ends), max(ends), f"{method}, + z^2 images", level)


def _with_outliers(
    metric: Callable[[Bools, Floats], float | None], forged: Bools, scores: Floats, units: _Units, z: float
) -> Iterator[float | None]:
    yield metric(forged, scores)
    for kind, count in ((False, units.in_real), (True, units.in_forged)):
        rows = math.ceil(z * z * np.count_nonzero(forged == kind) / count)
        for score in (scores[0], scores[-1]):
            yield metric(np.append(forged, np.full(rows, kind)), np.append(scores, np.full(rows, score)))


# --- Proportions and families of tests --------------------------------------------------------------------------------


def wilson(successes: float, n: float, *, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927) of independent images: TPR, FPR or accuracy at a fixed threshold."""
    if not (n > 0 and 0 <= successes <= n):
        raise InputError(f"a proportion needs 0 <= successes <= n and n > 0, got {successes:g} of {n:g}")
    share, z2 = successes / n, _z(level) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if successes == n else min(1.0, centre + half), "Wilson", level)


def proportion_interval(
    hit: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Interval of the share of rows that hit: Wilson where rows are independent, else a bootstrap over identities.

    Where identities repeat but are few, or all rows agree, it is Wilson's with identities in place of images.

    Args:
        hit: whether each image counts, shape [n], e.g. (score >= threshold)[label == 1] for the TPR.
        groups: identity of each row, shape [n].
        level: nominal coverage.
        resamples: bootstrap size.
        seed: of the bootstrap.
    """
    hits = np.asarray(hit, dtype=bool)
    if hits.ndim != 1 or hits.size == 0:
        raise InputError(f"hit must be a list with one entry an image, got shape {hits.shape}")
    units = _units(np.zeros(hits.size, dtype=bool), _codes(groups, hits.size))  # one class: a single stratum
    share, count = float(hits.mean()), sum(units.strata)
    if not units.repeat:
        return wilson(int(hits.sum()), hits.size, level=level)
    if count < FEW_UNITS or share in (0.0, 1.0):
        found = wilson(share * count, count, level=level)
        return Interval(found.low, found.high, "Wilson over identities", level)
    rows = np.bincount(units.of_row)
    good = np.bincount(units.of_row, weights=hits)
    values = [(weight @ good) / (weight @ rows) for weight in _weights(units, resamples, seed, count)]
    return _percentile(np.concatenate(values), level, "bootstrap over identities")


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given: reject where the result is at most alpha.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError("p-values must be a list of numbers in [0, 1]; NaN is not one")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted
