"""Bootstrap intervals of one detector's metrics on one test set, over identities.

The resampling scheme is in `resampling`. A metric of ranks needs no sorting of each resample: with the rows in order
of score, a resample is a weight for each row, and counts of true and false positives are running sums of weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.evaluation.interval import Interval, two_sided
from benchmarks.evaluation.resampling import Draws, Units, percentile, resample, sorted_rows
from benchmarks.evaluation.roc import Bools, Floats, Ints, eer

_BITS = 32  # of a packed pair of counts, for each of them
_LOWER = (1 << _BITS) - 1


def auc_resamples(
    label: ArrayLike, score: ArrayLike, *, groups: ArrayLike | None = None, resamples: int = 2000, seed: int = 0
) -> Floats:
    """Compute the AUC of bootstrap resamples over identities, shape [resamples]; sorts once, then O(n) per resample.

    With the rows in order of score, a forged image of weight w contributes w times the weight of the reals below it
    plus half of those tied with it: two look-ups in the running sum of the real weights. All counts are exact integers.
    """
    forged, scores, units = sorted_rows(label, score, groups)
    # rows rise by score, so that the rows of each class do too; a unit's weight is looked up once per row
    real_of, forged_of = _picker(units.of_row[~forged]), _picker(units.of_row[forged])
    # [m]: reals strictly below, and reals at most equal to, each forged row; they differ where scores tie
    lower, upper = (np.searchsorted(scores[~forged], scores[forged], side) for side in ("left", "right"))
    tied = bool((lower != upper).any())

    alone = units.strata[1] == 0 and units.strata[2] == lower.size  # every forged row is a unit, in the order of scores
    integer = np.int32 if forged.size < 2**29 else np.int64  # holds twice the number of reals

    def ranks(of_real: Ints) -> tuple[Ints, Ints]:
        """Return the weight of the reals below each forged row, tied ones half, and of all reals; doubled with ties."""
        # below[:, i] is the weight of the i lowest reals: a look-up of `lower` counts the reals strictly below a
        # forged row, one of `upper` those tied with it too; their sum is twice the midrank, so no half is lost
        below = np.zeros((len(of_real), of_real.shape[1] + 1), integer)
        np.cumsum(of_real, axis=1, out=below[:, 1:])
        reals = below[:, -1].astype(np.int64)
        ranked = below.take(lower, axis=1)
        return (ranked + below.take(upper, axis=1), 2 * reals) if tied else (ranked, reals)

    def values(draws: Draws) -> Floats:
        if alone:  # each forged row that was drawn adds its rank: no row has to be counted
            rank, reals = ranks(real_of(draws.weights_in(0)))
            drawn = draws.of_stratum[2]
            wins = np.array([of.take(rows).sum(dtype=np.int64) for of, rows in zip(rank, drawn, strict=True)])
            return np.asarray(wins / (reals * lower.size))
        weight = draws.weights
        of_forged = forged_of(weight)
        # Mann-Whitney U of the resample is the sum over forged rows of weight times rank; int64 keeps it exact
        rank, reals = ranks(real_of(weight))
        wins = np.einsum("ij,ij->i", rank, of_forged, dtype=np.int64)
        # U over (weight of reals) (weight of forgeries); with ties both U and the weight of reals are doubled
        return np.asarray(wins / (reals * of_forged.sum(axis=1, dtype=np.int64)))

    return resample(values, units, resamples, seed, forged.size)


def _picker(unit: Ints) -> Callable[[Ints], Ints]:
    """Return a function that gives each row the weight of its unit; without a copy where rows are their own units."""
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
    """Compute the percentile interval of the AUC from a bootstrap over identities (see the head of this file)."""
    values = auc_resamples(label, score, groups=groups, resamples=resamples, seed=seed)
    return percentile(values, level, "bootstrap over identities")


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
    """Compute the percentile interval of any metric of (label, score), stratified, over identities.

    Where every resample gives one and the same value (perfect separation), a percentile interval would have no width.
    There the interval spans the metric on sets to which z^2 (about 4) units were added at either end of the scores, in
    either class: for a share of 0 or 1 that is Wilson's interval; `method` then ends in "+ z^2 images".

    Returns:
        The interval, or None where the metric is None on the set itself; resamples where it is None are left out.
    """
    two_sided(level)  # checks the level
    # order and ties do not change when rows are repeated, so that rows are sorted once for all resamples
    forged, scores, units = sorted_rows(label, score, groups)
    if metric(forged, scores) is None:
        return None
    falling = np.arange(forged.size)[::-1]  # metrics then meet descending scores in every resample and need no sort

    def values(draws: Draws) -> Floats:
        metrics = []
        for weights in draws.weights:
            # each row as often as its unit was drawn, in falling order of scores
            rows = np.repeat(falling, weights[units.of_row[falling]])
            metrics.append(metric(forged[rows], scores[rows]))
        return np.array(metrics, dtype=np.float64)  # None becomes NaN

    known = resample(values, units, resamples, seed, forged.size)
    # percentiles of what is defined: a TPR at a bound, for instance, is None in resamples with too few reals
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
    """Compute `bootstrap_interval` of `roc.eer` for a chunk of resamples at once: three times as fast on 2,000 images.

    A threshold that no drawn row has repeats the point before it, which moves no crossing.
    """
    forged, scores, units = sorted_rows(label, score, groups)
    ends = np.flatnonzero(np.append(np.diff(scores[::-1]) != 0, True))  # the last row of each threshold, falling
    counts = _looked_up(forged, ends, units) if not units.repeat else _summed(forged, ends, units)

    def values(draws: Draws) -> Floats:
        at = counts(draws)
        # FPR + TPR - 1 rises along a curve, from -1 to 1: bisection finds the two points around its zero, and the EER
        # lies between them by linear interpolation
        before, after = np.zeros(draws.resamples, np.intp), np.full(draws.resamples, ends.size)
        # all curves are bisected together: log2(k) look-ups each instead of whole curves in floating point
        while (after - before > 1).any():
            middle = (before + after) // 2
            reached = np.add(*at(middle)) - 1 >= 0
            before, after = np.where(reached, before, middle), np.where(reached, middle, after)
        (x0, y0), (x1, y1) = at(before), at(after)
        e0, e1 = x0 + y0 - 1, x1 + y1 - 1
        # zero of the excess between both points; e1 - e0 is positive, for a curve crosses from below 0 to 0 or above
        return np.asarray(x0 - e0 / (e1 - e0) * (x1 - x0))

    known = resample(values, units, resamples, seed, forged.size)
    return _spread(known, eer, forged, scores, units, level)


_At = Callable[[Ints], tuple[Floats, Floats]]  # point of each curve, 0 before the first threshold -> its FPR and TPR


def _summed(forged: Bools, ends: Ints, units: Units) -> Callable[[Draws], _At]:
    """Return a function from draws to the FPR and TPR at a point of each resample's curve, for any units."""
    unit_falling = units.of_row[::-1]
    # a forged row adds 2^32 and a real one 1, each times its weight: one cumulative sum in place of two
    step = np.where(forged[::-1], 1 << _BITS, 1)

    def of(draws: Draws) -> _At:
        # one running sum counts both classes: true positives in the upper bits, false positives in the lower ones
        both = np.cumsum(draws.weights.take(unit_falling, axis=1) * step, axis=1)
        # totals of each resample: [chunk]; never zero, since each stratum is drawn to its own size
        positives, negatives = both[:, -1] >> _BITS, both[:, -1] & _LOWER

        def at(point: Ints) -> tuple[Floats, Floats]:
            # point p is the state after the p-th threshold; 0 has called nothing forged
            count = np.where(point > 0, np.take_along_axis(both, ends[point - 1][:, None], axis=1)[:, 0], 0)
            return (count & _LOWER) / negatives, (count >> _BITS) / positives

        return at

    return of


def _looked_up(forged: Bools, ends: Ints, units: Units) -> Callable[[Draws], _At]:
    """Return `_summed` for units of one row each: they are numbered by rising score within their class.

    So their running sums are those of the units, whatever the scores: all metrics and detectors share them.
    """
    reals, forgeries = units.strata[0], units.strata[2]
    # rows of each class below the threshold of each point of the curve, [k + 1]; all rows lie below that of point 0
    above = np.cumsum(forged[::-1])[ends]  # forged rows from each threshold on
    forged_below = np.append(forgeries, forgeries - above)
    reals_below = np.append(reals, reals - (ends + 1 - above))

    def of(draws: Draws) -> _At:
        of_reals, _, of_forged = draws.running
        every = np.arange(draws.resamples)

        def at(point: Ints) -> tuple[Floats, Floats]:
            # a resample has as many rows of a class as the set: all of them less those below are called forged
            fp, tp = reals - of_reals[every, reals_below[point]], forgeries - of_forged[every, forged_below[point]]
            return fp / reals, tp / forgeries

        return at

    return of


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
    """Compute the pointwise percentile interval of the largest TPR with an FPR within each bound, over identities.

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
    forged, scores, units = sorted_rows(label, score, groups)
    counts = _roc_counts(forged, scores, units)

    def values(draws: Draws) -> Floats:
        tp, fp = counts(draws)
        tpr = np.zeros((len(tp), fpr.size))
        for i in range(len(tp)):  # the step curve: 0 before the first threshold
            # number of thresholds whose false positives do not exceed the bound; 1e-9 absorbs rounding of the product
            reached = np.searchsorted(fp[i], fpr * fp[i, -1] + 1e-9, "right")
            tpr[i] = np.concatenate([[0], tp[i]])[reached] / tp[i, -1]
        return tpr

    known = resample(values, units, resamples, seed, forged.size)
    # percentiles bound by bound, shape [k]: pointwise, so that a whole curve leaves the band more often than 1 - level
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _roc_counts(forged: Bools, scores: Floats, units: Units) -> Callable[[Draws], tuple[Ints, Ints]]:
    """Return a function from draws to true and false positives at each threshold, falling, each of shape [chunk, k].

    With the rows by falling score these are running sums of the weights of each class.
    """
    forged_falling, unit_falling = forged[::-1], units.of_row[::-1]
    ends = np.flatnonzero(np.append(np.diff(scores[::-1]) != 0, True))  # the last row of each threshold

    def counts(draws: Draws) -> tuple[Ints, Ints]:
        # a row's weight is that of its unit: an identity is drawn with all of its rows or not at all
        rows = draws.weights.take(unit_falling, axis=1)
        tp, fp = (np.cumsum(rows * of_class, axis=1)[:, ends] for of_class in (forged_falling, ~forged_falling))
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
    """Return the percentile interval of resamples; where all are equal, that of sets with z^2 more units."""
    z = two_sided(level)
    method = "bootstrap over identities" if units.repeat else "bootstrap"
    # np.ptp: maximum minus minimum; 0 where no resample differs from another
    if known.size and np.ptp(known) > 0:
        return percentile(known, level, method)
    ends = [value for value in _with_outliers(metric, forged, scores, units, z) if value is not None]
    # the value of the set itself is among them, so that the interval always holds it
    return Interval(min(ends), max(ends), f"{method}, + z^2 images", level)


def _with_outliers(
    metric: Callable[[Bools, Floats], float | None], forged: Bools, scores: Floats, units: Units, z: float
) -> Iterator[float | None]:
    yield metric(forged, scores)
    # z^2 units, expressed in rows at the class's mean number of rows per unit, at the lowest and the highest score
    for target, count in ((False, units.in_real), (True, units.in_forged)):
        # Wilson's interval of k of n is centred at (k + z^2 / 2) / (n + z^2): as if z^2 images had been added
        rows = math.ceil(z * z * np.count_nonzero(forged == target) / count)
        # at the lowest and the highest score of the set: an added row there ties with the outermost one
        for score in (scores[0], scores[-1]):
            yield metric(np.append(forged, np.full(rows, target)), np.append(scores, np.full(rows, score)))
