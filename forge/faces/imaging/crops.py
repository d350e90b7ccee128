"""Crops of an image that is larger than a detector's input, by the names of `forge.faces.imaging.views`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError


def crops_of(image: NDArray[np.uint8], side: int, view: str) -> NDArray[np.uint8]:
    """Cut an image into the crops of a view; no pixel is resampled.

    Args:
        image: uint8 [H, W, 3].
        side: height and width of a crop in pixels.
        view: name in `VIEWS` other than "resize".

    Returns:
        uint8 [k, side, side, 3]: one crop, five (upper left, upper right, lower left, lower right, middle), or
        floor(H / side) x floor(W / side) tiles row by row, with what is left over split between opposite edges.

    Raises:
        InputError: the image is smaller than one crop.
    """
    height, width = image.shape[:2]
    if min(height, width) < side:
        raise InputError(f"the image has {width} x {height} pixels, one crop of the view {view} has {side} x {side}")
    bottom, right = height - side, width - side
    middle = (bottom // 2, right // 2)
    if view == "centre-crop":
        corners = [middle]
    elif view == "five-crops":
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), middle]
    else:
        top, left = height % side // 2, width % side // 2
        corners = [(y, x) for y in range(top, bottom + 1, side) for x in range(left, right + 1, side)]
    return np.stack([image[y : y + side, x : x + side] for y, x in corners])


def pooled(scores: NDArray[np.float64], view: str) -> float:
    """Return the score of an image from those of its crops: their mean, of "tiles-max" the highest."""
    return float(scores.max() if view == "tiles-max" else scores.mean())
