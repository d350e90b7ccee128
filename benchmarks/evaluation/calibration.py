"""Calibration of probabilities: pure functions of (label, probability), with the conventions of `roc`.

Every measure is at the prevalence of the set it is given, or with `balanced` at a prevalence of one half: each class
then weighs the same whatever its size, so that sets of different balance compare.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.evaluation.roc import Bools, Floats, Ints, check_scores
from forge.core.errors import InputError


class Reliability(NamedTuple):
    """The calibration picture: one entry a bin that holds any image, by rising probability, each shape [k <= bins].

    Attributes:
        probability: mean probability in the bin.
        forged: share of forged images in the bin.
        images: how many images the bin holds.
    """

    probability: Floats
    forged: Floats
    images: Ints


def _weights(forged: Bools, *, balanced: bool) -> Ints:
    """Return integer weights of images, shape [n]; both classes have equal sums where `balanced`."""
    # m forged images weigh n each and n real ones m each: equal sums m n, in integers, so that bins are exact
    m = int(np.count_nonzero(forged))
    return np.where(forged, forged.size - m, m) if balanced else np.ones(forged.size, np.intp)


def brier(label: ArrayLike, probability: ArrayLike, *, balanced: bool = False) -> float:
    """Compute the mean squared error of the probability, in [0, 1]; lower is better (Brier 1950).

    Args:
        label: 0 or 1, shape [n].
        probability: that an image is forged, shape [n].
        balanced: at a prevalence of one half, each class weighing the same; otherwise at that of this set.
    """
    forged, p = check_scores(label, probability, name="probability")
    # bool minus float: the squared distance to 0 or 1
    return float(np.average((p - forged) ** 2, weights=_weights(forged, balanced=balanced)))


def log_loss(label: ArrayLike, probability: ArrayLike, *, balanced: bool = False) -> float:
    """Compute the mean of -log P(true class), in nats; probabilities are clipped to [1e-15, 1 - 1e-15]: at most 34.5.

    Args:
        label: 0 or 1, shape [n].
        probability: that an image is forged, shape [n].
        balanced: as in `brier`.
    """
    forged, p = check_scores(label, probability, name="probability")
    # P(true class): p of a forgery, 1 - p of a real image; the clip bounds the loss of one certain error to 34.5 nats
    losses = -np.log(np.clip(np.where(forged, p, 1 - p), 1e-15, 1 - 1e-15))
    return float(np.average(losses, weights=_weights(forged, balanced=balanced)))


def reliability(label: ArrayLike, probability: ArrayLike, *, bins: int = 15, balanced: bool = False) -> Reliability:
    """Compute mean probability and share of forged images in bins of equal mass.

    Equal probabilities always share a bin: that of their midrank, floor(bins (midrank - 1/2) / n), so the result does
    not depend on the order of rows. Bins therefore differ in size where there are ties, and empty ones are left out.

    Args:
        label: 0 or 1, shape [n].
        probability: that an image is forged, shape [n].
        bins: number of bins.
        balanced: as in `brier`; mass, midranks and shares are then those of the weighted images.
    """
    binned = _binned(label, probability, bins, balanced=balanced)
    # number of images of each bin, unweighted even where `balanced`
    images = np.bincount(binned.bin_of, weights=binned.images).astype(np.intp)
    used = images > 0
    mass = np.bincount(binned.bin_of, weights=binned.mass)[used]
    # sum of weight times probability in each bin; divided by the mass it is the mean probability
    claimed = np.bincount(binned.bin_of, weights=binned.probability * binned.mass)[used]
    hits = np.bincount(binned.bin_of, weights=binned.forged)[used]
    return Reliability(claimed / mass, hits / mass, images[used])


def ece(label: ArrayLike, probability: ArrayLike, *, bins: int = 15, balanced: bool = False) -> float:
    """Compute the ECE, sum over bins of (mass / total) |share of forged - mean probability|, in [0, 1].

    Bins are those of `reliability` (equal mass, ties together); biased upwards at small n, as every binned ECE.
    """
    binned = _binned(label, probability, bins, balanced=balanced)
    # (share of forged - mean probability) times mass, bin by bin: the division by the mass cancels against the weight
    excess = np.bincount(binned.bin_of, weights=binned.forged - binned.probability * binned.mass)
    return float(np.abs(excess).sum() / binned.mass.sum())


class _Binned(NamedTuple):
    """Distinct probabilities, rising, each shape [k].

    Attributes:
        bin_of: the bin of each.
        probability: its value.
        mass: sum of the weights of its images; `forged`: of its forged images.
        images: how many images have it.
    """

    bin_of: Ints
    probability: Floats
    mass: Ints
    forged: Ints
    images: Ints


def _binned(label: ArrayLike, probability: ArrayLike, bins: int, *, balanced: bool) -> _Binned:
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}")
    labels, p = check_scores(label, probability, name="probability")
    m = int(np.count_nonzero(labels))
    # integer weight of an image of each class, as in `_weights`
    of_forged, of_real = (labels.size - m, m) if balanced else (1, 1)
    # images of one probability are one entry, hence in one bin
    values, group, images = np.unique(p, return_inverse=True, return_counts=True)
    forged = np.bincount(group, weights=labels, minlength=values.size).astype(np.intp)
    mass = of_forged * forged + of_real * (images - forged)
    # cumulative mass up to and including each value: exact integers, so that bins do not depend on rounding
    end = np.cumsum(mass)
    bin_of = (bins * (2 * end - mass)) // (2 * end[-1])  # 2 end - mass is twice (midrank - 1/2)
    return _Binned(bin_of, values, mass, of_forged * forged, images)
