"""Point metrics of one detector on one test set: pure functions of (label, score).

Conventions of the protocol, everywhere in this file: `label` is 1 for forged and 0 for real, shape [n]; `score` is any
finite number, higher for forged, shape [n]; `probability` is a score in [0, 1] that claims to be P(forged); an image
is called forged iff its score >= threshold. Inputs that break these raise `InputError` with one sentence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forge.core.errors import InputError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


class RocCurve(NamedTuple):
    """Operating points, one a distinct score, from (0, 0) to (1, 1).

    Attributes:
        thresholds: descending, shape [k + 1]; the first is +inf (nothing is called forged).
        fpr: share of real images with score >= threshold, rising, shape [k + 1].
        tpr: share of forged images with score >= threshold, rising, shape [k + 1].
    """

    thresholds: Floats
    fpr: Floats
    tpr: Floats


class Confusion(NamedTuple):
    """Counts at one threshold; forged is the positive class."""

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def tpr(self) -> float | None:
        """Share of the forged images that are called forged; None without forged images."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def fpr(self) -> float | None:
        """Share of the real images that are called forged; None without real images."""
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else None


def check_scores(
    label: ArrayLike, score: ArrayLike, *, name: str = "score", both_classes: bool = True
) -> tuple[Bools, Floats]:
    """Validate labels and scores, and convert them to arrays that all functions of this module accept.

    Args:
        label: 0 or 1, shape [n].
        score: finite numbers, shape [n].
        name: what the second array is called in messages; "probability" also asks for values in [0, 1].
        both_classes: whether one class alone is refused.

    Raises:
        InputError: wrong shape or length, empty, label not 0/1, NaN or infinite, out of [0, 1], a class is missing.
    """
    labels, scores = _numbers(label, "label"), _numbers(score, name)
    if labels.size != scores.size:
        raise InputError(
            f"label has {labels.size} rows and {name} has {scores.size}; both must list the same images in one order"
        )
    if labels.size == 0:
        raise InputError(f"label and {name} are empty; a metric needs real and forged images")
    # NaN is neither 0 nor 1 and is found here too
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if wrong.size:
        raise InputError(f"label must be 0 (real) or 1 (forged), found {labels[wrong[0]]:g} in row {wrong[0]}")
    # NaN compares false with everything and would silently take an arbitrary rank
    finite = np.isfinite(scores)
    if not finite.all():
        row = int(np.argmin(finite))
        description = "NaN" if np.isnan(scores[row]) else "infinite"
        count = np.count_nonzero(~finite)
        raise InputError(
            f"{name} is {description} in row {row} ({count} of {scores.size} rows are not finite); score these images "
            "again"
        )
    if name == "probability":
        outside = np.flatnonzero((scores < 0) | (scores > 1))
        if outside.size:
            raise InputError(
                f"probability must lie in [0, 1], found {scores[outside[0]]:g} in row {outside[0]}; "
                "pass the calibrated probability, not the raw score"
            )
    forged = labels == 1
    if both_classes and (forged.all() or not forged.any()):
        missing = "real images (label 0)" if forged.all() else "forged images (label 1)"
        raise InputError(f"no {missing} among {labels.size} rows; this metric needs both classes")
    return forged, scores


def _numbers(values: ArrayLike, name: str) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a list of numbers: {error}") from None
    if array.ndim != 1:
        raise InputError(f"{name} must be one-dimensional, got shape {array.shape}")
    return array


def _check_share(value: float, name: str, *, closed: bool) -> None:
    if not (0 < value < 1 or (closed and value == 1)):
        raise InputError(f"{name} must lie in (0, 1{']' if closed else ')'}, got {value:g}")


def _counts(forged: Bools, score: Floats) -> tuple[Floats, Ints, Ints]:
    """Return the distinct scores, descending, and the counts of real and forged images that score at least that."""
    if not (score[:-1] >= score[1:]).all():  # a bootstrap hands over sorted rows thousands of times: sort them once
        # rising order reversed: falling scores; the order among ties does not matter, since they count as one threshold
        order = np.argsort(score)[::-1]
        forged, score = forged[order], score[order]
    # position of the last row of each run of equal scores: a threshold lets in all rows that score as much, or none
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    tp = np.cumsum(forged, dtype=np.intp)[last]
    # at position p the rows 0..p score at least the threshold, p + 1 in all, of which tp are forged
    return score[last], last + 1 - tp, tp


def placements(forged: Bools, score: Floats) -> tuple[Ints, Ints]:
    """Count twice the opposite-class images on the correct side of each image, a tie counting one: exact integers.

    Divided by twice the size of the other class these are DeLong's structural components V10 and V01 (differences of
    midranks in Sun and Xu 2014); their sums are twice the Mann-Whitney U.

    Returns:
        Per forged image the reals below it, shape [m]; per real image the forgeries above it, shape [n]; input order.
    """
    above, below = score[forged], score[~forged]  # [m] and [n]
    # of a real image the forgeries above it: all, less those below it, ties counting one half on both sides
    return twice_below(above, np.sort(below)), 2 * above.size - twice_below(below, np.sort(above))


def twice_below(queries: Floats, ordered: Floats) -> Ints:
    """Count twice the values below each query, a tie counting one: the midrank of the Mann-Whitney statistic.

    Args:
        queries: shape [m].
        ordered: rising, shape [n].
    """
    order = np.argsort(queries)  # binary search is several times faster where neighbouring queries are close
    rising = queries[order]
    twice = np.empty(queries.size, np.intp)
    # left: values strictly below; right: those at most equal; the sum counts a tie once, that is one half of twice
    twice[order] = np.searchsorted(ordered, rising, "left") + np.searchsorted(ordered, rising, "right")
    return twice


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """Compute the area under the ROC curve, P(forged above real) + P(tie) / 2, in [0, 1] (Mann-Whitney; O(n log n)).

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.9])
    0.875
    """
    forged, scores = check_scores(label, score)
    m = int(np.count_nonzero(forged))
    # twice the Mann-Whitney U as an exact integer: one rounding, in the division
    twice = twice_below(scores[forged], np.sort(scores[~forged])).sum()
    return float(twice / (2 * m * (forged.size - m)))


def roc_curve(label: ArrayLike, score: ArrayLike) -> RocCurve:
    """Return all operating points, one per distinct score; a DET curve is (fpr, 1 - tpr) of the same arrays."""
    forged, scores = check_scores(label, score)
    threshold, fp, tp = _counts(forged, scores)
    # the point (0, 0) has the threshold +inf; the lowest score gives (1, 1), so that the curve spans the unit square
    return RocCurve(
        np.concatenate([[np.inf], threshold]), np.concatenate([[0], fp / fp[-1]]), np.concatenate([[0], tp / tp[-1]])
    )


def average_precision(label: ArrayLike, score: ArrayLike, *, prevalence: float | None = None) -> float:
    """Compute average precision, the sum over thresholds of (TPR_k - TPR_{k-1}) precision_k, in (0, 1].

    The step-wise sum of scikit-learn, without interpolation. With a prevalence pi the classes are reweighted:
    precision_k = pi TPR_k / (pi TPR_k + (1 - pi) FPR_k), so that sets of different balance compare; chance is pi.

    Args:
        label: 0 or 1, shape [n].
        score: higher for forged, shape [n].
        prevalence: share of forged images to assume, in (0, 1); None is the share in this set.
    """
    forged, scores = check_scores(label, score)
    _, fp, tp = _counts(forged, scores)
    # shares of each class, independent of the balance of the set
    tpr, fpr = tp / tp[-1], fp / fp[-1]
    if prevalence is None:
        precision = tp / (tp + fp)
    else:
        _check_share(prevalence, "prevalence", closed=False)
        # Bayes: P(forged | called forged) at prevalence pi
        precision = prevalence * tpr / (prevalence * tpr + (1 - prevalence) * fpr)
    # recall steps times precision at their right end: no interpolation, which would be optimistic
    return float(np.sum(np.diff(tpr, prepend=0.0) * precision))


def eer(label: ArrayLike, score: ArrayLike) -> float:
    """Compute the equal error rate, the FPR where the interpolated ROC crosses FPR = 1 - TPR, in [0, 1]; chance is 0.5.

    >>> eer([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
    0.5
    """
    roc = roc_curve(label, score)
    excess = roc.fpr + roc.tpr - 1  # rises strictly from -1 to 1, so there is one crossing
    # first point at or past the crossing; k >= 1, since excess starts at -1
    k = int(np.argmax(excess >= 0))
    # linear interpolation between neighbours; the denominator is positive, since each threshold adds at least one image
    t = -excess[k - 1] / (excess[k] - excess[k - 1])
    return float(roc.fpr[k - 1] + t * (roc.fpr[k] - roc.fpr[k - 1]))


def tpr_at_fpr(label: ArrayLike, score: ArrayLike, bound: float) -> float | None:
    """Return the largest TPR of a threshold whose FPR does not exceed the bound; without interpolation.

    Returns:
        A share in [0, 1], or None ("n too small") where a single false positive already exceeds the bound.
    """
    _check_share(bound, "FPR bound", closed=True)
    forged, _ = check_scores(label, score)
    # the smallest positive FPR is 1 / n: a bound below it is met by no false positive at all and would say nothing
    if 1 / np.count_nonzero(~forged) > bound:
        return None
    roc = roc_curve(label, score)
    # fpr rises with repetitions: the last point within the bound has the largest TPR there
    return float(roc.tpr[np.searchsorted(roc.fpr, bound, "right") - 1])


def partial_auc(label: ArrayLike, score: ArrayLike, *, max_fpr: float = 0.1) -> float:
    """Compute the area under the ROC for FPR <= max_fpr, standardised: chance is 0.5, perfect is 1 (McClish 1989).

    With area A and b = max_fpr: (1 + (A - b^2 / 2) / (b - b^2 / 2)) / 2, as roc_auc_score(max_fpr=b) in scikit-learn.
    """
    _check_share(max_fpr, "max_fpr", closed=True)
    roc = roc_curve(label, score)
    # first point beyond the bound; the curve is cut there on the straight line to it
    stop = int(np.searchsorted(roc.fpr, max_fpr, "right"))
    # where max_fpr is 1 there is no such point, and interp returns the last TPR
    edge = np.interp(max_fpr, roc.fpr[stop - 1 : stop + 1], roc.tpr[stop - 1 : stop + 1])
    area = np.trapezoid(np.append(roc.tpr[:stop], edge), np.append(roc.fpr[:stop], max_fpr))
    # area under the diagonal up to max_fpr; max_fpr itself is the area of a perfect curve
    chance = max_fpr**2 / 2
    return float((1 + (area - chance) / (max_fpr - chance)) / 2)


def confusion(label: ArrayLike, score: ArrayLike, threshold: float) -> Confusion:
    """Count decisions at a threshold; a single class is accepted too (a group of reals still has an FPR)."""
    forged, scores = check_scores(label, score, both_classes=False)
    called = scores >= threshold
    tp, fp = int(np.count_nonzero(called & forged)), int(np.count_nonzero(called & ~forged))
    m = int(np.count_nonzero(forged))
    return Confusion(tp=tp, fp=fp, tn=forged.size - m - fp, fn=m - tp)


def accuracy(label: ArrayLike, score: ArrayLike, threshold: float) -> float:
    """Compute the share of correct decisions at the threshold, in [0, 1]; depends on the balance of the set."""
    forged, scores = check_scores(label, score)
    # `called` and `forged` agree: true positives and true negatives
    return float(np.mean((scores >= threshold) == forged))


def balanced_accuracy(label: ArrayLike, score: ArrayLike, threshold: float) -> float:
    """Compute (TPR + 1 - FPR) / 2 at the threshold, in [0, 1]; chance is 0.5 whatever the balance of the set."""
    forged, scores = check_scores(label, score)
    called = scores >= threshold
    return float((called[forged].mean() + 1 - called[~forged].mean()) / 2)


def best_threshold(label: ArrayLike, score: ArrayLike) -> float:
    """Return the threshold of greatest balanced accuracy, for validation data only: on test data it is optimistic.

    Candidates lie midway between adjacent distinct scores, and at the lowest score (everything is called forged), which
    wins only where nothing beats chance. Of equally good ones the widest gap wins, then the lowest threshold.
    """
    forged, scores = check_scores(label, score)
    # high: each distinct score as threshold, falling; fp, tp: counts at and above it, shape [k]
    high, fp, tp = _counts(forged, scores)
    # next lower score: any threshold in (low, high] calls the same images forged; below the lowest there is none
    low = np.append(high[1:], high[-1])
    # TPR - FPR = tp / m - fp / n, times m n
    gain = tp * fp[-1] - fp * tp[-1]  # balanced accuracy as an exact integer, so that ties are ties
    gap = high / 2 - low / 2  # halves first: the difference of two large scores could overflow
    # the last key sorts first: greatest gain, then widest gap, then lowest threshold
    best = np.lexsort((high, -gap, -gain))[0]
    middle = high[best] / 2 + low[best] / 2
    # Between two neighbouring floats the midpoint can round onto the lower one, which would be on the wrong side.
    return float(middle if low[best] < middle <= high[best] else high[best])


def threshold_at_fpr(label: ArrayLike, score: ArrayLike, bound: float) -> float | None:
    """Return the lowest threshold whose FPR does not exceed the bound. For validation data only.

    Lowest of the scores themselves and of the midpoint to the next lower one that would exceed the bound, so that a new
    image is called forged where it lies nearer to those that are. Infinite where equal scores allow no other.

    Returns:
        The threshold, or None ("n too small") where a single false positive already exceeds the bound.
    """
    _check_share(bound, "FPR bound", closed=True)
    forged, scores = check_scores(label, score)
    high, fp, _ = _counts(forged, scores)
    # fp[-1] is the number of reals; 1e-9 lets a bound of 0.01 pass with 100 reals despite rounding of the product
    if fp[-1] * bound < 1 - 1e-9:
        return None
    kept = int(np.count_nonzero(fp <= fp[-1] * bound + 1e-9))  # fp rises
    if kept == 0:
        # even the highest score is that of too many reals: nothing may be called forged
        return float(np.inf)
    if kept == len(high):
        # every real image may be called forged (bound 1): the lowest score is the threshold
        return float(high[-1])
    middle = high[kept - 1] / 2 + high[kept] / 2
    return float(middle if high[kept] < middle <= high[kept - 1] else high[kept - 1])
