"""Colours of difference and saliency maps, distinguishable with any colour vision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from forge.faces.imaging.luma import LUMA

Maps = NDArray[np.float32]
Pixels = NDArray[np.uint8]

LEVELS = 16  # steps of a difference to either side of zero: few colours compress well
# blue, near white, orange: the page's own colours of real and forged; lightness falls to both sides of zero
_STOPS = np.array([(8, 48, 107), (66, 146, 198), (247, 247, 245), (241, 150, 70), (127, 39, 4)], dtype=np.float64)
_LIGHT = np.array([255.0, 92.0, 0.0])  # what a detector looked at
_CONTOUR = 2  # pixels of a drawn contour
_VISIBLE = 0.99  # the quantile of a map that is shown in full colour: single pixels would leave the others dark


def diverging(values: Maps, limit: float) -> Pixels:
    """A map of differences as colours: blue below zero, near white at zero, orange above.

    Args:
        values: [H, W].
        limit: the value of the last colour on either side, above 0; what lies beyond gets it too.

    Returns:
        uint8 [H, W, 3].
    """
    # Equal steps, not a continuous scale: few colours make a small file without visible loss.
    steps = np.round(np.clip(values / limit, -1, 1) * LEVELS) / LEVELS
    positions = (steps.astype(np.float64) + 1) / 2 * (len(_STOPS) - 1)  # -1..1 to 0..4, the positions of the five stops
    # Interpolated per channel, [H, W] each.
    channels = [np.interp(positions, np.arange(len(_STOPS)), _STOPS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def overlay(faces: Pixels, saliency: Maps) -> Pixels:
    """Draw faces in grey, with the pixels that a detector's score depends on in orange.

    Args:
        faces: uint8 [n, H, W, 3].
        saliency: [n, H, W], 0 where nothing matters; each face has its own scale.

    Returns:
        uint8 [n, H, W, 3].
    """
    # Smoothed over a 64th of the side, so that regions are seen and not single pixels.
    smooth = gaussian_filter(saliency.astype(np.float64), sigma=(0, *(side / 64 for side in saliency.shape[1:])))
    full = np.quantile(smooth, _VISIBLE, axis=(1, 2), keepdims=True)
    # `tiny` keeps a map of zeros from dividing by zero. The exponent keeps small values dark; .95 leaves the face
    # visible.
    share = np.clip(smooth / np.maximum(full, np.finfo(np.float64).tiny), 0, 1)[..., None] ** 1.5 * 0.95
    grey = 50 + 0.75 * (faces @ np.array(LUMA))[..., None]  # orange over black would look brown
    mixed = (1 - share) * grey + share * _LIGHT
    return np.asarray(mixed.round(), dtype=np.uint8)


def contoured(levels: Pixels, threshold: int, *, side: int = 192) -> Pixels:
    """Draw a map in grey, and an orange contour within the pixels that are taken for altered.

    Args:
        levels: uint8 [H, W], light is high.
        threshold: level from which on a pixel is taken for altered.
        side: the map is enlarged by a whole number to at most so many pixels.

    Returns:
        uint8 [h, w, 3].
    """
    factor = max(1, side // max(levels.shape))
    large = levels.repeat(factor, 0).repeat(factor, 1)
    taken = large >= threshold
    # the border of the image is no contour: what is outside counts as taken
    inner = binary_erosion(taken, iterations=_CONTOUR, border_value=1)
    colours = np.repeat(large[..., None], 3, axis=2)
    colours[taken & ~inner] = _LIGHT
    return colours
