"""Periodic grids in the pixels of files: blocks of a JPEG that was resized afterwards, and their period.

The second differences of an image are larger across the edges of JPEG blocks than within them. Resizing by a factor s
moves these edges from 8 to 8 s pixels apart, where no comb of DCT coefficients is left, but the period remains (Popescu
and Farid: Exposing Digital Forgeries by Detecting Traces of Resampling. IEEE Transactions on Signal Processing 2005;
Kirchner and Gloe: On Resampling Detection in Re-compressed Images. IEEE WIFS 2009, whose resampling peaks are shifted
by that grid). Networks that enlarge features leave periods too, which the pixels alone do not tell from JPEG.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.audits.learners import Labels
from forge.faces.imaging.luma import LUMA

Floats = NDArray[np.float64]

SIDE = 512  # pixels of the middle of a file that are looked at, at most
FREQUENCIES = np.arange(20, 257) / 512  # cycles a pixel: periods of 25 to 2 pixels
PERIODS = 8 * np.geomspace(0.27, 2.5, 360)  # of blocks, pixels: JPEG that was resized by these factors
_HARMONICS = 4
_SMOOTH = 15  # pixels over which the local mean of second differences is taken away
_BESIDE = (3, 4, 5, 6)  # bins away from a frequency, with which its power is compared
_EQUAL = 0.98  # of the largest evidence for a period, from which on it counts as equal
_NOTHING = 1e-9  # power, below that of any picture


def spectrum(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much the second differences of an image repeat at each frequency.

    Their logarithms are averaged over rows and over columns; a value is the decimal logarithm of the power at a
    frequency as a share of that some bins beside it, the mean of both directions.

    Args:
        pixels: uint8 [H, W, 3], at least 16 x 16.

    Returns:
        float32 [frequencies], as `FREQUENCIES`; 0 where there is no difference at all.
    """
    top, left = (max(0, side - SIDE) // 2 for side in pixels.shape[:2])
    luma = pixels[top : top + SIDE, left : left + SIDE].astype(np.float64) @ np.array(LUMA)
    rows, columns = _contrast(luma), _contrast(luma.T)
    return np.asarray((rows + columns) / 2, np.float32)


def learn_period(features: NDArray[Any], forged: Labels) -> Callable[[NDArray[Any]], Floats]:
    """Score of the period that tells the classes apart best: its strength, negative where it is the reals'.

    Args:
        features: spectra, [n, frequencies].
        forged: bool [n].
    """
    number, sign = _telling(features, forged)
    return lambda fresh: sign * (fresh @ _harmonics()[:, number])


def period_of(features: NDArray[Any], forged: Labels) -> tuple[float, bool]:
    """Return the period that tells the classes apart best, in pixels, and whether it is the forgeries'."""
    number, sign = _telling(features, forged)
    return float(PERIODS[number]), sign > 0


def _telling(features: NDArray[Any], forged: Labels) -> tuple[int, float]:
    """Return the number of a period in `PERIODS`, and 1 where forgeries have it, -1 where real images do."""
    strength = features @ _harmonics()  # [n, periods]
    apart = strength[forged].mean(0) - strength[~forged].mean(0)
    spread = np.sqrt(strength[forged].var(0) / forged.sum() + strength[~forged].var(0) / (~forged).sum())
    evidence = np.abs(apart / (spread + 1e-9))
    # periods whose harmonics are the same waves, as 7 and 7 / 3, are equally good: the longest is that of the blocks
    number = int(np.flatnonzero(evidence >= _EQUAL * evidence.max())[-1])
    return number, float(np.sign(apart[number]) or 1.0)


@functools.cache
def _harmonics() -> Floats:
    """Return the weights that average a spectrum over the harmonics of each period, [frequencies, periods]."""
    weights = np.zeros((len(FREQUENCIES), len(PERIODS)))
    for number, period in enumerate(PERIODS):
        multiples = np.arange(1, _HARMONICS + 1) / period % 1
        folded = np.minimum(multiples, 1 - multiples)  # above half a cycle a pixel a wave looks like a slower one
        for frequency in folded[folded >= FREQUENCIES[0]]:
            weights[np.abs(FREQUENCIES - frequency).argmin(), number] += 1
    return np.asarray(weights / weights.sum(0).clip(1), np.float64)


def _contrast(luma: Floats) -> Floats:
    """Return the contrast of each frequency along the rows, [frequencies]."""
    differences = np.log1p(np.abs(2 * luma[:, 1:-1] - luma[:, :-2] - luma[:, 2:])).mean(0)  # [columns]
    padded = np.pad(differences, _SMOOTH // 2, mode="reflect")
    waves = differences - np.convolve(padded, np.full(_SMOOTH, 1 / _SMOOTH), "valid")
    waves = waves * np.hanning(len(waves) + 2)[1:-1]
    power = np.abs(_basis(len(waves)) @ waves.astype(np.complex64)) ** 2
    power = power.reshape(len(FREQUENCIES), -1) + _NOTHING
    return np.asarray(np.log10(power[:, 0] / power[:, 1:].mean(1)), np.float64)


@functools.lru_cache(maxsize=2)  # rows and columns; photos of one folder are mostly of one size
def _basis(length: int) -> NDArray[np.complex64]:
    """Return waves of each frequency and of those beside it, [frequencies * (1 + 8), length]."""
    beside = [sign * bins / length for bins in _BESIDE for sign in (-1, 1)]
    points = FREQUENCIES[:, None] + np.array([0.0, *beside])
    return np.asarray(np.exp(-2j * np.pi * points.reshape(-1, 1) * np.arange(length)), np.complex64)
