"""Bootstrap over identities of one detector's metrics on one test set.

`label`, `score` and their checks are those of `metrics`. `groups` names the identity of every row, shape [n]; None,
NaN or "" is a row on its own, as is every row where `groups` is None. Everything is deterministic given `seed`.

The unit is the identity with all its rows. Units with real rows only, with forged rows only, and with both (a forgery
that keeps its source's identity) are three strata, each resampled with replacement to its own number of units. So an
identity in both classes is drawn jointly, and no resample ever lacks a class.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.measures.interval import Interval, two_sided, wilson
from benchmarks.measures.metrics import Bools, Floats, Ints, check_scores, eer
from benchmarks.protocol import FEW_UNITS
from forge.errors import InputError

_THREADS = 8
Draws = list[NDArray[np.int32]]  # of each stratum the units drawn in each resample, by their place in it, [chunk, size]
_CHUNK = 2**20  # cells of a weight matrix held at once: bounds memory to some tens of MB whatever n is


class Units(NamedTuple):
    """What is resampled.

    Attributes:
        of_row: unit of each row, shape [n]; numbers 0..k-1, ordered by stratum.
        strata: units with real rows only, with both, with forged rows only.
    """

    of_row: Ints
    strata: tuple[int, int, int]

    @property
    def in_real(self) -> int:
        """Units with real rows."""
        return self.strata[0] + self.strata[1]

    @property
    def in_forged(self) -> int:
        """Units with forged rows."""
        return self.strata[1] + self.strata[2]

    @property
    def repeat(self) -> bool:
        """Whether any unit has more than one row."""
        return self.of_row.size > sum(self.strata)


def units_of(forged: Bools, code: Ints) -> Units:
    """Number the units by stratum and then by first row, so that sorted rows meet their units in memory order."""
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    has_forged = np.bincount(code, weights=forged) > 0
    has_real = np.bincount(code, weights=~forged) > 0
    stratum = np.where(has_forged & has_real, 1, np.where(has_forged, 2, 0))
    number = np.empty(first.size, np.intp)
    number[np.lexsort((first, stratum))] = np.arange(first.size)
    sizes = np.bincount(stratum, minlength=3)
    return Units(number[code], (int(sizes[0]), int(sizes[1]), int(sizes[2])))


def codes(groups: ArrayLike | None, rows: int) -> Ints:
    """One integer an identity, for whatever names identities have."""
    if groups is None:
        return np.arange(rows)
    names = np.asarray(groups)
    if names.shape != (rows,):
        raise InputError(f"groups must name one identity a row, shape ({rows},), got shape {names.shape}")
    if names.dtype.kind in "iu":
        return names.astype(np.intp)
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


def _sorted(label: ArrayLike, score: ArrayLike, groups: ArrayLike | None) -> tuple[Bools, Floats, Units]:
    """Checked rows by rising score, and their units."""
    forged, scores = check_scores(label, score)
    order = np.argsort(scores, kind="stable")
    forged, scores = forged[order], scores[order]
    if groups is None:  # as `units_of` numbers rows that all stand for themselves
        reals = forged.size - int(np.count_nonzero(forged))
        own = np.where(forged, reals + np.cumsum(forged), np.cumsum(~forged)) - 1
        return forged, scores, Units(own, (reals, 0, forged.size - reals))
    return forged, scores, units_of(forged, codes(groups, forged.size)[order])


def _resample(values: Callable[[Draws], Floats], units: Units, resamples: int, seed: int, cells: int) -> Floats:
    """`values` of what is drawn in each resample, draws of a chunk of them to numbers [chunk], joined.

    Chunks are drawn from seeds of their own, so that threads share the work and the result does not depend on how many.

    Args:
        values: pure; runs in threads, which pays off where NumPy does the work.
        units: what is resampled.
        resamples: how many.
        seed: of the draws.
        cells: of the largest array a resample makes in `values`.
    """
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}; 2000 is usual")
    chunk = max(1, _CHUNK // cells)

    def run(number: int) -> Floats:
        rng, rows = np.random.default_rng([seed, number]), min(chunk, resamples - number * chunk)
        return values(
            [
                rng.integers(size, size=(rows, size), dtype=np.int32) if size else np.empty((rows, 0), np.int32)
                for size in units.strata
            ]
        )

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _THREADS)) as pool:
        return np.concatenate(list(pool.map(run, range(-(-resamples // chunk)))))


def _weights(draws: Draws) -> Ints:
    """How often each unit was drawn in each resample, [chunk, units]: multinomial counts a stratum."""
    found = []
    for drawn in draws:
        rows, size = drawn.shape
        of_all = drawn + size * np.arange(rows, dtype=np.int32)[:, None]
        found.append(_counts(of_all.ravel(), rows * size).reshape(rows, size))
    return np.concatenate(found, axis=1)


def _counts(draws: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """How often each of 0..size-1 was drawn, as `numpy.bincount`, which is twice as slow and lets no thread beside it.

    The sum of the rows of a matrix with a single one a column, in the row that was drawn.
    """
    from scipy.sparse import csc_array

    ones, starts = np.ones(draws.size, np.int16), np.arange(draws.size + 1, dtype=np.int32)
    return np.asarray(csc_array((ones, draws, starts), shape=(size, draws.size)) @ ones)


def _percentile(values: Floats, level: float, method: str) -> Interval:
    two_sided(level)  # checks the level
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
    real_of, forged_of = _picker(units.of_row[~forged]), _picker(units.of_row[forged])
    lower, upper = (np.searchsorted(scores[~forged], scores[forged], side) for side in ("left", "right"))
    tied = bool((lower != upper).any())

    alone = units.strata[1] == 0 and units.strata[2] == lower.size  # every forged row is a unit, in the order of scores
    kind = np.int32 if forged.size < 2**29 else np.int64  # twice the number of reals has room in it

    def ranks(of_real: Ints) -> tuple[Ints, Ints]:
        """The weight of the reals below each forged row, tied ones half, and of all reals; twice that with ties."""
        below = np.zeros((len(of_real), of_real.shape[1] + 1), kind)
        np.cumsum(of_real, axis=1, out=below[:, 1:])
        reals = below[:, -1].astype(np.int64)
        found = below.take(lower, axis=1)
        return (found + below.take(upper, axis=1), 2 * reals) if tied else (found, reals)

    def values(draws: Draws) -> Floats:
        if alone:  # each forged row that was drawn adds its rank: no row has to be counted
            rank, reals = ranks(real_of(_weights(draws[:1])))
            won = np.array([one.take(drawn).sum(dtype=np.int64) for one, drawn in zip(rank, draws[2], strict=True)])
            return np.asarray(won / (reals * lower.size))
        weight = _weights(draws)
        of_forged = forged_of(weight)
        rank, reals = ranks(real_of(weight))
        won = np.einsum("ij,ij->i", rank, of_forged, dtype=np.int64)
        return np.asarray(won / (reals * of_forged.sum(axis=1, dtype=np.int64)))

    return _resample(values, units, resamples, seed, forged.size)


def _picker(unit: Ints) -> Callable[[Ints], Ints]:
    """A function that gives each row the weight of its unit; without a copy where rows are their own units."""
    if (np.diff(unit) == 1).all():
        return lambda weight: weight[:, unit[0] : unit[-1] + 1]
    return lambda weight: weight.take(unit, axis=1)


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
    two_sided(level)  # checks the level
    forged, scores, units = _sorted(label, score, groups)
    if metric(forged, scores) is None:
        return None
    falling = np.arange(forged.size)[::-1]  # metrics then meet descending scores in every resample and need no sort

    def values(draws: Draws) -> Floats:
        found = []
        for one in _weights(draws):
            rows = np.repeat(falling, one[units.of_row[falling]])
            found.append(metric(forged[rows], scores[rows]))
        return np.array(found, dtype=np.float64)  # None becomes NaN

    known = _resample(values, units, resamples, seed, forged.size)
    return _spread(known[~np.isnan(known)], metric, forged, scores, units, level)


def eer_bootstrap(
    label: ArrayLike,
    score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """`bootstrap_interval` of `metrics.eer`, all resamples of a chunk at once: three times as fast on 2,000 images.

    A threshold that no drawn row has repeats the point before it, which moves no crossing.
    """
    forged, scores, units = _sorted(label, score, groups)
    counts = _roc_counts(forged, scores, units)

    def values(draws: Draws) -> Floats:
        tpr, fpr = (np.pad(side / side[:, -1:], ((0, 0), (1, 0))) for side in counts(draws))
        excess = fpr + tpr - 1
        after = np.argmax(excess >= 0, axis=1)[:, None]
        (x0, x1), (e0, e1) = (
            (np.take_along_axis(curve, after - 1, 1)[:, 0], np.take_along_axis(curve, after, 1)[:, 0])
            for curve in (fpr, excess)
        )
        return np.asarray(x0 - e0 / (e1 - e0) * (x1 - x0))

    known = _resample(values, units, resamples, seed, forged.size)
    return _spread(known, eer, forged, scores, units, level)


def tpr_band(
    label: ArrayLike,
    score: ArrayLike,
    fpr: Floats,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Pointwise percentile interval of the largest TPR whose FPR does not exceed each bound, over identities.

    Args:
        label: 1 forged, 0 real, shape [n].
        score: higher for forged, shape [n].
        fpr: bounds in [0, 1], shape [k].
        groups: identity of each row, shape [n].
        level: nominal coverage at each bound.
        resamples: bootstrap size.
        seed: of the bootstrap.

    Returns:
        Lower and upper ends, each of shape [k].
    """
    two_sided(level)  # checks the level
    forged, scores, units = _sorted(label, score, groups)
    counts = _roc_counts(forged, scores, units)

    def values(draws: Draws) -> Floats:
        tp, fp = counts(draws)
        tpr = np.zeros((len(tp), fpr.size))
        for i in range(len(tp)):  # the step curve: 0 before the first threshold
            reached = np.searchsorted(fp[i], fpr * fp[i, -1] + 1e-9, "right")
            tpr[i] = np.concatenate([[0], tp[i]])[reached] / tp[i, -1]
        return tpr

    known = _resample(values, units, resamples, seed, forged.size)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _roc_counts(forged: Bools, scores: Floats, units: Units) -> Callable[[Draws], tuple[Ints, Ints]]:
    """A function from draws to true and false positives at every threshold, falling, each of shape [chunk, k].

    With the rows by falling score these are running sums of the weights of each class.
    """
    forged_falling, unit_falling = forged[::-1], units.of_row[::-1]
    ends = np.flatnonzero(np.append(np.diff(scores[::-1]) != 0, True))  # the last row of each threshold

    def counts(draws: Draws) -> tuple[Ints, Ints]:
        rows = _weights(draws).take(unit_falling, axis=1)
        tp, fp = (np.cumsum(rows * kind, axis=1)[:, ends] for kind in (forged_falling, ~forged_falling))
        return tp, fp

    return counts


def _spread(
    known: Floats,
    metric: Callable[[Bools, Floats], float | None],
    forged: Bools,
    scores: Floats,
    units: Units,
    level: float,
) -> Interval | None:
    """The percentile interval of resamples, or where they all agree that of sets with a few more units."""
    z = two_sided(level)
    method = "bootstrap over identities" if units.repeat else "bootstrap"
    if known.size and np.ptp(known) > 0:
        return _percentile(known, level, method)
    ends = [value for value in _with_outliers(metric, forged, scores, units, z) if value is not None]
    return Interval(min(ends), max(ends), f"{method}, + z^2 images", level)


def _with_outliers(
    metric: Callable[[Bools, Floats], float | None], forged: Bools, scores: Floats, units: Units, z: float
) -> Iterator[float | None]:
    yield metric(forged, scores)
    for kind, count in ((False, units.in_real), (True, units.in_forged)):
        rows = math.ceil(z * z * np.count_nonzero(forged == kind) / count)
        for score in (scores[0], scores[-1]):
            yield metric(np.append(forged, np.full(rows, kind)), np.append(scores, np.full(rows, score)))


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
    units = units_of(np.zeros(hits.size, dtype=bool), codes(groups, hits.size))  # one class: a single stratum
    share, count = float(hits.mean()), sum(units.strata)
    if not units.repeat:
        return wilson(int(hits.sum()), hits.size, level=level)
    if count < FEW_UNITS or share in (0.0, 1.0):
        found = wilson(share * count, count, level=level)
        return Interval(found.low, found.high, "Wilson over identities", level)
    rows = np.bincount(units.of_row)
    good = np.bincount(units.of_row, weights=hits)

    def values(draws: Draws) -> Floats:
        weight = _weights(draws)
        return np.asarray((weight @ good) / (weight @ rows))

    shares = _resample(values, units, resamples, seed, count)
    return _percentile(shares, level, "bootstrap over identities")


def balanced_interval(
    hit: ArrayLike, label: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Interval of a balanced accuracy, the mean of the shares of hits among real and among forged images.

    Both shares have the interval of `proportion_interval`; their distances to the ends are added in squares (Newcombe
    1998, method 10, for a mean instead of a difference).

    Args:
        hit: whether each image is on its own side of the threshold, shape [n].
        label: 1 forged, 0 real, shape [n]; both classes must be there.
        groups: identity of each row, shape [n].
        level: nominal coverage.
    """
    hits, forged = np.asarray(hit, dtype=bool), np.asarray(label) == 1
    people = None if groups is None else np.asarray(groups)
    shares, ends = [], []
    for of_class in (forged, ~forged):
        shares.append(float(hits[of_class].mean()))
        ends.append(
            proportion_interval(hits[of_class], groups=None if people is None else people[of_class], level=level)
        )
    middle = sum(shares) / 2
    low, high = (
        math.hypot(*(share - getattr(end, name) for share, end in zip(shares, ends, strict=True))) / 2
        for name in ("low", "high")
    )
    return Interval(max(0.0, middle - low), min(1.0, middle + high), ends[0].method, level)
