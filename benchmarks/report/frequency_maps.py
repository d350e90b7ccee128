"""Describe maps over frequencies in words: spectra of forged minus real images, weights of DCT coefficients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.report.colour import Maps

_SHARP = 1.0  # decibels above its surroundings from which a frequency is a peak
_RARE = 6.0  # times the usual spread of such differences
_COARSE = 0.05  # cycles per pixel, below which faces differ by chance of pose and light
_FINE = 0.35  # cycles per pixel, above which is the finest detail


class Peak(NamedTuple):
    """A frequency that stands out from those around it: cycles per pixel across and down, and by how much in dB."""

    across: float
    down: float
    height: float


def in_words(difference: Maps) -> str:
    """Describe a difference of spectra: its sharpest peak, and the power of the finest detail."""
    sharpest = peak(difference)
    if sharpest is None:
        first = "No single frequency stands out from those around it."
    else:
        steps = [(sharpest.across, "across"), (sharpest.down, "down")]
        # a frequency of 0.25 cycles per pixel repeats every 4 pixels
        every = " and ".join(f"every {1 / f:.3g} pixels {way}" for f, way in steps if f > 0)
        first = (
            f"The sharpest peak lies at {sharpest.across:.2f} cycles per pixel across and {sharpest.down:.2f} down, "
            f"{sharpest.height:.1f} dB above its surroundings: a pattern that repeats {every}."
        )
    fine = float(difference[_radii(*difference.shape) >= _FINE].mean())
    if abs(fine) < 0.5:
        return f"{first} The finest detail has about the power it has in real images."
    word = "more" if fine > 0 else "less"
    return f"{first} The finest detail has {abs(fine):.1f} dB {word} power than in real images."


def peak(difference: Maps) -> Peak | None:
    """Return the frequency at which forgeries exceed the frequencies around it most; None: none does.

    A peak is higher than everything two or three steps away, which the edge of a plateau and a ridge are not.

    Args:
        difference: float [H, W] in dB, frequency zero at [H // 2, W // 2].
    """
    from scipy.ndimage import maximum_filter, median_filter

    height, width = difference.shape
    # A ring of 7 x 7 without its inner 3 x 3: a peak spreads to its neighbours, which must not count as surroundings.
    ring = np.ones((7, 7), dtype=bool)
    ring[2:5, 2:5] = False
    around = median_filter(difference, footprint=ring, mode="wrap")  # a spectrum repeats beyond its edges
    excess = difference - around
    # above zero where no point of the ring is higher: a single point, not a ridge
    alone = difference - maximum_filter(difference, footprint=ring, mode="wrap")
    # Coarse frequencies count as no peak.
    alone = np.where(_radii(height, width) < _COARSE, 0.0, alone)
    row, column = np.unravel_index(int(alone.argmax()), alone.shape)
    # 1.4826 times the median deviation estimates the standard deviation, whatever the few peaks are
    spread = 1.4826 * float(np.median(np.abs(excess)))
    if alone[row, column] <= 0 or excess[row, column] < max(_SHARP, _RARE * spread):
        return None
    # Spectra of real images are symmetric about zero: the sign of a frequency says nothing.
    across, down = abs(int(column) - width // 2) / width, abs(int(row) - height // 2) / height
    return Peak(across, down, float(excess[row, column]))


def _radii(height: int, width: int) -> Maps:
    """Return the distance of each point from frequency zero in cycles per pixel, [H, W]."""
    down, across = (np.arange(side) - side // 2 for side in (height, width))
    return np.hypot(down[:, None] / height, across[None, :] / width).astype(np.float32)


def strongest(values: Maps, side: int) -> Maps:
    """Shrink a map to at most `side` pixels; each keeps the strongest of the values it stands for, peaks included."""
    factor = -(-max(values.shape) // side)  # rounded up, so that the result has at most `side` pixels
    height, width = (length // factor for length in values.shape)
    # [h, f, w, f] to [h, w, f * f]: the values that each pixel stands for, side by side.
    blocks = values[: height * factor, : width * factor].reshape(height, factor, width, factor)
    flat = blocks.transpose(0, 2, 1, 3).reshape(height, width, factor * factor)
    # by magnitude, keeping the sign: a mean would cancel a peak against its surroundings
    chosen = np.abs(flat).argmax(axis=-1)[..., None]
    return np.asarray(np.take_along_axis(flat, chosen, axis=-1)[..., 0], dtype=np.float32)


def usual(values: Maps) -> float:
    """Return the 99.5 % quantile of the magnitudes."""
    return float(np.quantile(np.abs(values), 0.995))  # not the maximum, which one pixel decides


def round_up(value: float) -> float:
    """Return the next larger of … 0.5, 1, 2, 3, 5, 10, 20 …; 1 for zero."""
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    # the tolerance keeps 0.3, which is not exact in binary, at its own step
    return float(next(step * power for step in (1, 2, 3, 5, 10) if step * power >= value * (1 - 1e-6)))


def balance(weights: Maps) -> str:
    """Compare the weights of coarse and fine DCT coefficients in a sentence.

    Args:
        weights: [H, W], the mean of the image at the upper left.
    """
    down, across = (np.linspace(0, 1, side) for side in weights.shape)
    frequency = np.maximum(down[:, None], across[None, :])  # of a coefficient the higher of its two frequencies, 0..1
    parts = {"coarsest": weights[frequency < 1 / 3], "finest": weights[frequency >= 2 / 3]}
    strength = {name: float(np.abs(part).mean()) for name, part in parts.items()}
    less, more = sorted(strength, key=lambda name: strength[name])
    if strength[more] < 1.15 * strength[less] or not strength[more] > 0:
        return "Coarse and fine coefficients weigh about the same."
    ratio = strength[more] / strength[less] if strength[less] > 0 else np.inf
    # a ratio to nearly nothing is no number worth reading
    times = f"{ratio:.1f} times" if ratio < 100 else "more than 100 times"
    return f"A coefficient of the {more} third weighs {times} as much as one of the {less}, on average."
