"""Learners of the handling audit: functions from the values and labels of a cue to a scorer, higher for forged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Learn = Callable[[NDArray[Any], Labels], Callable[[NDArray[Any]], Floats]]  # features, forged -> score of features

NEAR = 16  # levels from 0 or 255 that count as a limit of the values
STOP_SHARE, BEYOND = 0.2, 0.02  # of a class's images: those that stop at the level, those that go beyond it
SAME = 4.0  # grey levels: mean distance from the class's median below which a pixel is the same in every image
VARIES = 12.0  # grey levels: mean distance from which it is not, in the other class
MARK_SHARE = 0.5  # of the pixels, at most: a larger part is a background
MARK_PIXELS = 4  # at least: fewer agree by chance
BESIDE = 0.5  # of the other class's spread, which a class must have beside its mark: it ends at once


def learn_shares(values: NDArray[Any], forged: Labels) -> Callable[[NDArray[Any]], Floats]:
    """Learn the log ratio of each value's share among forged and real images, smoothed; 0 for values never seen."""
    # counts of each value among forged (0) and real (1) images
    counts = [Counter(values[forged == of].tolist()) for of in (True, False)]
    # Laplace smoothing: one image of each distinct value is added to both classes, so that no share is 0
    distinct = len(counts[0] | counts[1])
    weight = {
        value: float(
            np.log((counts[0][value] + 1) / (forged.sum() + distinct))
            - np.log((counts[1][value] + 1) / ((~forged).sum() + distinct))
        )
        for value in counts[0] | counts[1]
    }
    # a value never seen says nothing: ratio 1, logarithm 0
    return lambda fresh: np.array([weight.get(value, 0.0) for value in fresh.tolist()])


def learn_floor(values: NDArray[Any], forged: Labels) -> Callable[[NDArray[Any]], Floats]:
    """Score of a level at which one class's values stop: 1 at it, -1 below, 0 above; negative where it is the reals'.

    Photos usually reach 0; clipping and a shift of brightness move their darkest level inwards. A floor is the darkest
    level of at least a fifth of a class's images and of twice as many as the next level, with at most 2 % of the class
    below it, but more of the other class. Scattered darkest levels are content, not handling.

    Args:
        values: darkest levels as texts, [n].
        forged: bool [n].
    """
    # levels come as texts, as the values of every cue in `handling.handling`
    darkest = values.astype(np.int64)
    for of in (True, False):
        # [levels]: share of the class's images with each darkest level
        share = np.bincount(darkest[forged == of], minlength=NEAR + 2) / max(1, (forged == of).sum())
        # level 0 is left out: that photos reach 0 is usual and no sign of handling
        level = 1 + int(share[1 : NEAR + 1].argmax())
        stops = share[level] >= max(STOP_SHARE, 2 * share[level + 1]) and share[:level].sum() <= BEYOND
        if stops and (darkest[forged != of] < level).mean() > BEYOND:
            sign = 1.0 if of else -1.0
            return lambda fresh: sign * _at_floor(fresh.astype(np.int64), level)
    return lambda fresh: np.zeros(len(fresh))


def _at_floor(darkest: NDArray[np.int64], level: int) -> Floats:
    return np.asarray((darkest == level).astype(np.float64) - (darkest < level), np.float64)


def learn_ceiling(values: NDArray[Any], forged: Labels) -> Callable[[NDArray[Any]], Floats]:
    """Apply `learn_floor` to inverted brightest levels."""
    learned = learn_floor((255 - values.astype(np.int64)).astype(str), forged)
    return lambda fresh: learned((255 - fresh.astype(np.int64)).astype(str))


def learn_mark(pixels: NDArray[Any], forged: Labels) -> Callable[[NDArray[Any]], Floats]:
    """Learn the share of the pixels that show the mark of forged images, less that of real ones.

    Args:
        pixels: uint8 [n, corners, height, width, 3].
        forged: bool [n].
    """
    marks = {of: find_mark(pixels, forged, of=of) for of in (False, True)}
    medians = {of: np.median(pixels[forged == of], axis=0) for of in (False, True)}

    def score(fresh: NDArray[Any]) -> Floats:
        total = np.zeros(len(fresh))
        for of, mark in marks.items():
            if mark.any():
                # all channels within twice the tolerance of the class's median: [images, pixels of the mark]
                near = np.abs(fresh[:, mark] - medians[of][mark]).max(axis=2) <= 2 * SAME
                total += (1 if of else -1) * near.mean(axis=1)
        return total

    return score


def find_mark(pixels: NDArray[Any], forged: Labels, *, of: bool) -> NDArray[np.bool_]:
    """Find the mark of a class: at most half of the pixels, the same in each of its images and varying in the other's.

    A mark lies over pictures that go on beside it: there the class varies at least half as much as the other one does.
    The corners of a generator whose faces are all alike become the same little by little, and are no mark.

    Args:
        pixels: uint8 [n, corners, height, width, 3].
        forged: bool [n].
        of: whether the class is that of the forgeries.

    Returns:
        bool [corners, height, width], nothing of it where there is no mark.
    """
    class_, other = (_spread(pixels[forged == side]) for side in (of, not of))
    mark = (class_ <= SAME) & (other >= VARIES)
    if not MARK_PIXELS <= mark.sum() <= MARK_SHARE * mark.size:
        return np.zeros_like(mark)
    # neighbours of the mark in its corner; where it fills corners, all pixels that are not of it
    wide = np.pad(mark, ((0, 0), (1, 1), (1, 1)))
    near = wide[:, 2:, 1:-1] | wide[:, :-2, 1:-1] | wide[:, 1:-1, 2:] | wide[:, 1:-1, :-2]
    beside = near & ~mark if (near & ~mark).any() else ~mark
    ends = np.median(class_[beside] / np.maximum(other[beside], VARIES)) >= BESIDE
    return mark if ends else np.zeros_like(mark)


def _spread(pixels: NDArray[Any]) -> Floats:
    """Mean distance of each pixel from the median image, over images and channels: [corners, height, width]."""
    return np.asarray(np.abs(pixels - np.median(pixels, axis=0)).mean((0, -1)), np.float64)


def learn_linear(features: NDArray[Any], forged: Labels) -> Callable[[NDArray[Any]], Floats]:
    """Learn the logit of a logistic regression on standardised features (scikit-learn, C = 0.1)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # C = 0.1: a stronger penalty than scikit-learn's default of 1, for up to 64 features
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(features, forged)
    return lambda fresh: np.asarray(model.decision_function(fresh), np.float64)
