"""Intervals of shares of images: accuracy, TPR or FPR at a fixed threshold."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.evaluation.interval import Interval, wilson
from benchmarks.evaluation.resampling import Draws, codes, percentile, resample, units_of
from benchmarks.evaluation.roc import Floats
from benchmarks.protocol import FEW_UNITS
from forge.core.errors import InputError


def proportion_interval(
    hit: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Compute the interval of the share of hits: Wilson where rows are independent, else a bootstrap over identities.

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
        # each unit is one row: independent Bernoulli trials
        return wilson(int(hits.sum()), hits.size, level=level)
    # a percentile bootstrap over few people covers too little, and over rows that all agree it has no width; a share of
    # people in place of images is conservative
    if count < FEW_UNITS or share in (0.0, 1.0):
        interval = wilson(share * count, count, level=level)
        return Interval(interval.low, interval.high, "Wilson over identities", level)
    # rows and hits of each unit: [units]
    rows = np.bincount(units.of_row)
    good = np.bincount(units.of_row, weights=hits)

    def values(draws: Draws) -> Floats:
        # [chunk, units]; a ratio, since the number of rows of a resample varies with the people drawn
        weight = draws.weights
        return np.asarray((weight @ good) / (weight @ rows))

    shares = resample(values, units, resamples, seed, count)
    return percentile(shares, level, "bootstrap over identities")


def balanced_interval(
    hit: ArrayLike, label: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Compute the interval of a balanced accuracy, the mean of the shares of hits in both classes.

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
    # class by class, each in its own interval: TPR and TNR are shares of different images
    for of_class in (forged, ~forged):
        shares.append(float(hits[of_class].mean()))
        ends.append(
            proportion_interval(hits[of_class], groups=None if people is None else people[of_class], level=level)
        )
    middle = sum(shares) / 2
    # distance from the value to each end; halved, since the balanced accuracy is half the sum of both shares
    low, high = (
        math.hypot(*(share - getattr(end, name) for share, end in zip(shares, ends, strict=True))) / 2
        for name in ("low", "high")
    )
    return Interval(max(0.0, middle - low), min(1.0, middle + high), ends[0].method, level)
