"""Masks of altered pixels in image files: read them, refuse what is no mask, and resample them as their photos are."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forge.faces.imaging.decode import FORMATS, Square, Unusable, centre_square, decode

_DARK, _LIGHT = 31, 224  # values up to which a pixel is surely black, and from which on it is surely white
# JPEG leaves up to 1.3 % of the pixels of a 64 px mask between them at quality 50, 3.3 % at 30; one value up to 0.1 %
_MIXED = 0.04  # share of the pixels that may lie between
_ONE_VALUE, _ONE_VALUE_PIXELS = 0.001, 16  # share of the pixels, and pixels, that may have one value in between
_COLOUR = 32  # difference of two channels from which on a pixel has a colour

Altered = NDArray[np.bool_]


def read_mask(data: bytes, size: tuple[int, int]) -> Altered:
    """Read a mask: black (0) is untouched, white (255) altered.

    Values near black and white count as such, as in masks that were stored as JPEG; they are divided at 128.

    Args:
        data: the whole file.
        size: width and height of the upright photo in pixels.

    Returns:
        bool [H, W].

    Raises:
        Unusable: as `decode`; "another size", "16 bits", "transparent", "in colour" or "grey".
    """
    decoded = decode(data)
    if decoded.image.size != size:
        (width, height), (photo_width, photo_height) = decoded.image.size, size
        raise Unusable("another size", f"it has {width} x {height} pixels, its photo {photo_width} x {photo_height}")
    if decoded.mode.startswith("I;16"):
        raise Unusable("16 bits", "it has 16 bits a pixel; store it with 8, black (0) and white (255)")
    _refuse_transparent(data)
    pixels = np.asarray(decoded.image).astype(np.int16)
    if (spread := pixels.max(2) - pixels.min(2)).max() >= _COLOUR:
        red, green, blue = pixels.reshape(-1, 3)[int(spread.argmax())]
        raise Unusable(
            "in colour", f"it has colours, e.g. ({red}, {green}, {blue}); a mask is black (0) and white (255)"
        )
    grey = pixels[..., 1]
    counts = np.bincount(grey.ravel(), minlength=256)
    between = counts[_DARK + 1 : _LIGHT]
    limit = max(_ONE_VALUE_PIXELS, _ONE_VALUE * grey.size)
    # a mask without white is black altogether: classes 0 and 1 would else look untouched
    dark = counts[_LIGHT:].sum() == 0 and counts[1:].any()
    if dark or between.sum() > _MIXED * grey.size or between.max() > limit:
        values = np.argsort(-counts, kind="stable")[:4]
        named = ", ".join(str(value) for value in sorted(values[counts[values] > 0]))
        raise Unusable("grey", f"its values are {named}{_more(counts)}; a mask is black (0) and white (255)")
    return np.asarray(grey >= 128)


def _more(counts: NDArray[np.int64]) -> str:
    others = int((counts > 0).sum()) - 4
    return f" and {others} more" if others > 0 else ""


def _refuse_transparent(data: bytes) -> None:
    with Image.open(BytesIO(data), formats=FORMATS) as opened:
        if (
            opened.has_transparency_data
            and opened.convert("RGBA").getchannel("A").histogram()[255] < opened.width * opened.height
        ):
            raise Unusable("transparent", "it has transparent pixels; store it opaque, black (0) and white (255)")


def resize_mask(mask: Altered, resolution: int, *, part: Square | None = None) -> NDArray[np.uint8]:
    """Resample a square part of a mask as `decode.resize` does a photo: 255 where half is altered.

    Args:
        mask: bool [H, W].
        resolution: height and width of the result in pixels.
        part: what to take; by default the largest square in the middle.

    Returns:
        uint8 [resolution, resolution], 0 and 255.
    """
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    left, top, side = part or centre_square(image)
    box = (left, top, left + side, top + side)
    return halved(np.asarray(image.resize((resolution, resolution), Image.Resampling.BOX, box=box)))


def halved(shares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 255 where at least half of a pixel is altered, else 0."""
    return np.where(shares >= 128, 255, 0).astype(np.uint8)
