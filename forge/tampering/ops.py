"""Colour, detail and geometry operations of self-blended images; pure functions of a batch.

Images are float32 [N, 3, H, W] in 0..255, parameters one value per image, [N]. Shiohara and Yamasaki (CVPR 2022) use
albumentations and OpenCV; these are the same operations for whole batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Floats = NDArray[np.float64]


def shift_rgb(images: Pixels, shift: Floats) -> Pixels:
    """Add `shift` [N, 3], grey levels of red, green and blue."""
    return np.asarray(np.clip(images + _each(shift), 0, 255))


def shift_hsv(images: Pixels, hue: Floats, saturation: Floats, value: Floats) -> Pixels:
    """Turn the hue by degrees, add grey levels (of 255) to saturation and value.

    Images whose three shifts are 0 come back as they were, but for float rounding.
    """
    top = images.max(1)  # V = max(R, G, B), [N, H, W]
    chroma = top - images.min(1)  # C = V - min(R, G, B)
    # grey pixels have no hue: any divisor will do, as their new saturation is set to 0
    safe = np.where(chroma > 0, chroma, 1).astype(np.float32)
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    # hue in sixths of the circle: red 0, green 2, blue 4, and -1..1 around the channel that is largest
    sextant = np.where(
        top == red, (green - blue) / safe, np.where(top == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    old = chroma / np.where(top > 0, top, 1)  # S = C / V
    turned = sextant + _plane(hue) / 60  # 60 degrees a sextant
    new_saturation = np.clip(old + _plane(saturation) / 255, 0, 1) * (chroma > 0)  # grey has no hue to show
    new_value = np.clip(top + _plane(value), 0, 255)
    out = np.empty_like(images)
    # back from (H, S, V): channel = V (1 - S clip(min(k, 4 - k), 0, 1)) with k = (start + H) mod 6, start 5, 3, 1
    for channel, start in enumerate((5.0, 3.0, 1.0)):
        k = (start + turned) % 6
        out[:, channel] = new_value * (1 - new_saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
    return out


def brighten(images: Pixels, brightness: Floats, contrast: Floats) -> Pixels:
    """Return x (1 + contrast) + 255 brightness, clipped."""
    return np.asarray(np.clip(images * (1 + _each(contrast)) + 255 * _each(brightness), 0, 255))


def sharpen(images: Pixels, alpha: Floats, lightness: Floats) -> Pixels:
    """Return (1 - alpha) x + alpha (x * K) with K = -1 around 8 + lightness, edges mirrored, clipped.

    A lightness below 1 darkens as well: the weights sum to 1 - alpha + alpha lightness.
    """
    # mirrored without repeating the edge pixel
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    # sums over 3 x 3 as three rows, then three columns; they include the middle, hence 9 and not 8 below
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    a = _each(alpha)
    return np.asarray(np.clip(images * (1 - a + a * (9 + _each(lightness))) - a * around, 0, 255))


def downscale_upscale(images: Pixels, factor: Floats) -> Pixels:
    """Shrink by `factor` to the nearest pixels, enlarge linearly to the old size."""
    side = images.shape[-1]
    smaller = np.maximum(np.floor(side / factor), 1)[:, None]  # [N, 1], at least one pixel
    ticks = np.arange(side)
    kept = np.minimum(np.floor(ticks * (side / smaller)), side - 1)  # which pixel the small image's i-th one is
    # of the output's pixel centres in the small image
    positions = np.clip((ticks + 0.5) * (smaller / side) - 0.5, 0, smaller - 1)
    # one-hot rows [N, side, side]; rows beyond the small image stay empty, as no position points there
    chosen = (kept[:, :, None] == ticks) & (ticks[:, None] < smaller[:, :, None])
    # both resamplings are linear along each axis, so that their product is one matrix [N, side, side]
    both = (_between(positions, side) @ chosen.astype(np.float64)).astype(np.float32)
    return _apply(images, both, both)


def move(images: Pixels, scale: Floats, shift: Floats) -> Pixels:
    """Resize about the middle and shift, linearly interpolated; what comes in from outside is mirrored.

    Args:
        images: square.
        scale: [N, 2] along y and x; 1.1 enlarges.
        shift: [N, 2] in pixels along y and x, positive down and right.
    """
    side = images.shape[-1]
    ticks, middle = np.arange(side), (side - 1) / 2
    # the inverse map: for each output pixel the place it is read from
    positions = (ticks - middle - shift[:, :, None]) / scale[:, :, None] + middle
    # mirrored at 0 by the inner abs, at side - 1 by the outer; the clip guards places more than a frame away
    positions = np.clip((side - 1) - abs((side - 1) - abs(positions)), 0, side - 1)
    rows, columns = (_between(positions[:, axis], side).astype(np.float32) for axis in (0, 1))
    return _apply(images, rows, columns)


def moved_points(points: Floats, scale: Floats, shift: Floats, side: int) -> Floats:
    """Return where `move` takes points [N, E, 2] (x, y), in pixels counted from the frame's corner."""
    # points count from the frame's corner, pixels of `move` from the first centre: middles side / 2 and (side - 1) / 2
    # are the same place. Parameters are (y, x), points (x, y)
    middle = side / 2
    return (points - middle) * scale[:, None, ::-1] + middle + shift[:, None, ::-1]


def _between(positions: Floats, side: int) -> Floats:
    """Return matrices [N, n, side] that read a row of pixels at places [N, n] in 0..side-1 by linear interpolation."""
    # a triangle of half width 1 around each place
    return np.maximum(0.0, 1 - abs(positions[:, :, None] - np.arange(side)))


def _apply(images: Pixels, rows: Pixels, columns: Pixels) -> Pixels:
    # [N, 1, H, H] @ [N, 3, H, W] @ [N, 1, W, W]
    return np.asarray(rows[:, None] @ images @ columns[:, None].swapaxes(2, 3))


def _each(values: Floats) -> Pixels:
    """[N] or [N, 3] laid over [N, 3, H, W]."""
    return np.atleast_2d(values.T).T[:, :, None, None].astype(np.float32)


def _plane(values: Floats) -> Pixels:
    """[N] laid over [N, H, W]."""
    return values[:, None, None].astype(np.float32)
