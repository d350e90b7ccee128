"""Pixel measures of maps that say where images were altered: F1, IoU, AUC, average precision, false-alarm area.

A map is kept as counts: of each image, how many altered and how many untouched pixels have each of 256 levels. All
measures follow from them, for 100,000 images as for one, and so do those of resamples. Levels rise with the map.

A measure of altered pixels is undefined where there are none; it is NaN there, and means leave it out. No threshold is
chosen on test images, and no map is ever inverted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Levels = NDArray[np.uint8]
Counts = NDArray[np.int32] | NDArray[np.int64]

LEVELS = 256
_HALF_VALUES = 1 << 16  # of a 16-bit float
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class LevelScale:
    """Levels of the values of a map.

    Values are read with the precision of 16-bit floats. There are fine steps among high values: of the values that the
    scale was made from, a share of (1 - k / 256)^2 is at or above the k-th edge. Up to 256 different values keep a
    level each.

    Attributes:
        edges: float32, rising; a value has as many levels below its own as there are edges at or below it.
    """

    edges: NDArray[np.float32]

    @classmethod
    def of(cls, maps: NDArray[np.float32]) -> LevelScale:
        """Make the scale from maps of validation images.

        Raises:
            InputError: there are none, or a value is not finite.
        """
        counts = np.bincount(_key(_half(maps)).ravel(), minlength=_HALF_VALUES)
        if not counts.sum():
            raise InputError("no maps to make a scale from")
        present = np.flatnonzero(counts)  # different values, in rising order of their keys
        if len(present) > LEVELS:
            # share of values below each present one
            below = np.cumsum(counts[present]) - counts[present]
            wanted = 1 - (1 - np.arange(1, LEVELS) / LEVELS) ** 2
            present = present[np.searchsorted(below, wanted * counts.sum()).clip(max=len(present) - 1)]
            present = np.unique(present)
        else:
            present = present[1:]
        return cls(_value(present))

    def levels(self, maps: NDArray[np.float32]) -> Levels:
        """Return the level of each value, uint8.

        Raises:
            InputError: a value is not finite.
        """
        # a table of all 16-bit values: one look-up a pixel
        keys = _key(self.edges.astype(np.float16))
        table = np.searchsorted(keys, np.arange(_HALF_VALUES), side="right").astype(np.uint8)
        of_bits = table[_key(np.arange(_HALF_VALUES, dtype=np.uint16).view(np.float16))]
        return np.asarray(of_bits[_half(maps).view(np.uint16)])


def _half(maps: NDArray[np.float32]) -> NDArray[np.float16]:
    if not np.isfinite(maps).all():
        raise InputError("a map has values that are no numbers; a localiser returns finite ones")
    return (np.clip(maps, -_LARGEST, _LARGEST) + 0.0).astype(np.float16) + np.float16(0)  # no negative zero


def _key(values: NDArray[np.float16]) -> NDArray[np.uint16]:
    """Return integers that rise as 16-bit floats do."""
    bits = values.view(np.uint16)
    return np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16)


def _value(keys: Ints) -> NDArray[np.float32]:
    bits = keys.astype(np.uint16)
    return np.where(bits & 0x8000, bits & 0x7FFF, ~bits).astype(np.uint16).view(np.float16).astype(np.float32)


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of images by the level of their map.

    Attributes:
        altered: [n, 256], of pixels that were altered.
        untouched: [n, 256], of the others.
    """

    altered: Counts
    untouched: Counts

    def __len__(self) -> int:
        return len(self.altered)

    @classmethod
    def of(cls, levels: Levels, altered: NDArray[np.bool_]) -> PixelCounts:
        """Count the pixels of maps.

        Args:
            levels: uint8 [n, H, W].
            altered: bool [n, H, W], the truth.

        Raises:
            InputError: the shapes differ.
        """
        if levels.shape != altered.shape:
            raise InputError(f"maps {levels.shape} and masks {altered.shape} have different shapes")
        n = len(levels)
        flat, truth = levels.reshape(n, -1), altered.reshape(n, -1)
        counts = np.empty((n, 2 * LEVELS), np.int32)
        # image by image: what is counted then stays in the processor's cache
        for row, (values, mask) in enumerate(zip(flat, truth, strict=True)):
            counts[row] = np.bincount((mask.view(np.uint8).astype(np.intp) << 8) + values, minlength=2 * LEVELS)
        return cls(counts[:, LEVELS:], counts[:, :LEVELS])

    @classmethod
    def joined(cls, parts: Sequence[PixelCounts]) -> PixelCounts:
        """Return the images of several parts, in order."""
        return cls(np.concatenate([part.altered for part in parts]), np.concatenate([part.untouched for part in parts]))

    def __getitem__(self, rows: NDArray[np.bool_] | Ints | slice) -> PixelCounts:
        return PixelCounts(self.altered[rows], self.untouched[rows])

    def weighted(self, weights: Ints) -> PixelCounts:
        """Return the pooled pixels of several weightings of the images [m, n], as m images."""
        # in float64, which BLAS multiplies and which holds these sums exactly
        factors = weights.astype(np.float64)
        return PixelCounts(*(np.rint(factors @ side).astype(np.int64) for side in (self.altered, self.untouched)))

    @property
    def highest(self) -> Ints:
        """Level of the maximum of each map, [n]."""
        both = (self.altered + self.untouched) > 0
        return np.asarray(LEVELS - 1 - both[:, ::-1].argmax(1))


def f1(counts: PixelCounts, level: int) -> Floats:
    """Return F1 of each image where pixels of at least this level are taken for altered, [n]; NaN: none was altered."""
    hit, taken, altered = _at(counts, level)
    return _ratio(2 * hit, taken + altered, altered)


def f1_by_level(counts: PixelCounts) -> Floats:
    """Return F1 of each image at each threshold, [n, 256]."""
    hit, false = _from_above(counts)
    altered = hit[:, :1]
    return _ratio(2 * hit, hit + false + altered, np.broadcast_to(altered, hit.shape))


def iou(counts: PixelCounts, level: int) -> Floats:
    """Return intersection over union of each image where pixels of at least this level are taken for altered, [n]."""
    hit, taken, altered = _at(counts, level)
    return _ratio(hit, taken + altered - hit, altered)


def threshold(counts: PixelCounts) -> int:
    """Return the level with the largest mean F1 over images with altered pixels; of equal ones the highest.

    Args:
        counts: of validation images.

    Raises:
        InputError: no image has altered pixels.
    """
    some = np.asarray(counts.altered.any(axis=1))
    if not some.any():
        raise InputError("a threshold needs validation images with altered pixels")
    mean = f1_by_level(counts[some]).mean(0)
    return int(np.flatnonzero(mean >= mean.max() - 1e-12)[-1])


def pixel_auc(counts: PixelCounts) -> Floats:
    """Return the AUC of each image's pixels, ties half, [n]; NaN where all or none were altered."""
    below = np.cumsum(counts.untouched, axis=1, dtype=np.float64) - counts.untouched / 2  # ties count half
    pairs = counts.altered.sum(1, dtype=np.float64) * counts.untouched.sum(1)
    return _ratio(np.einsum("nl,nl->n", counts.altered, below), pairs, pairs)


def average_precision(counts: PixelCounts) -> Floats:
    """Return the average precision of each image's pixels, [n]: the sum of precision times gain of recall over levels.

    NaN where no pixel was altered.
    """
    hit, false = _from_above(counts)
    precision = hit / np.maximum(hit + false, 1)
    return _ratio(np.einsum("nl,nl->n", counts.altered, precision), hit[:, 0], hit[:, 0])


def false_alarm_area(counts: PixelCounts, level: int) -> Floats:
    """Return the share of each image's untouched pixels that are taken for altered, [n]; NaN where all were altered."""
    total = counts.untouched.sum(1, dtype=np.float64)
    return _ratio(counts.untouched[:, level:].sum(1, dtype=np.float64), total, total)


def _at(counts: PixelCounts, level: int) -> tuple[Floats, Floats, Floats]:
    """Return of each image the altered pixels at or above a level, all pixels there, and all altered pixels, [n]."""
    hit = counts.altered[:, level:].sum(1, dtype=np.float64)
    return hit, hit + counts.untouched[:, level:].sum(1), counts.altered.sum(1, dtype=np.float64)


def _from_above(counts: PixelCounts) -> tuple[Floats, Floats]:
    """Return altered and untouched pixels at or above each level, each [n, 256]."""
    hit, false = (
        np.cumsum(side[:, ::-1], axis=1, dtype=np.float64)[:, ::-1] for side in (counts.altered, counts.untouched)
    )
    return hit, false


def _ratio(value: Floats, total: Floats, defined: Floats) -> Floats:
    """Return value / total where `defined` is above 0, else NaN."""
    return np.asarray(np.divide(value, total, out=np.full(value.shape, np.nan), where=defined > 0))
