"""Colours of maps that say where an image was altered: equal steps look equal, and lightness rises with the value."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import binary_dilation, binary_erosion

from forge.faces.imaging.luma import LUMA

Maps = NDArray[np.float32]
Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Region = NDArray[np.bool_]

STEPS = 256
OPACITY = 0.65  # of the colours over a face: the face stays recognisable, and the colours comparable with the legend
_DENSE = 2048  # points of the path on which its length is measured
# OKLCh (lightness, chroma, hue in degrees): dark violet, magenta, orange, light yellow
_STOPS = np.array([(0.22, 0.09, 285), (0.40, 0.17, 305), (0.58, 0.20, 355), (0.74, 0.155, 405), (0.94, 0.13, 462)])
# from OKLab to the cube roots of cone responses, and from these responses to linear sRGB
_TO_CONES = np.array(
    [(1, 0.3963377774, 0.2158037573), (1, -0.1055613458, -0.0638541728), (1, -0.0894841775, -1.2914855480)]
)
_TO_RGB = np.array(
    [
        (4.0767416621, -3.3077115913, 0.2309699292),
        (-1.2684380046, 2.6097574011, -0.3413193965),
        (-0.0041960863, -0.7034186147, 1.7076147010),
    ]
)


@cache
def palette() -> tuple[Floats, Pixels]:
    """Return the colours of the scale from low to high: OKLab [256, 3], and sRGB uint8 [256, 3].

    A smooth path through OKLab (Ottosson, A perceptual color space for image processing, 2020), whose steps all have
    the same length there.
    """
    at = np.linspace(0, len(_STOPS) - 1, _DENSE)
    lightness, chroma, hue = PchipInterpolator(np.arange(len(_STOPS)), _STOPS)(at).T
    lab = np.stack([lightness, chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))], axis=1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    even = np.linspace(0, length[-1], STEPS)
    lab = np.stack([np.interp(even, length, lab[:, channel]) for channel in range(3)], axis=1)
    linear = np.clip((lab @ _TO_CONES.T) ** 3 @ _TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return lab, (255 * encoded).round().astype(np.uint8)


def heat(values: Maps, low: float, high: float) -> Pixels:
    """Return the colours of a map, uint8 [..., 3].

    Args:
        values: of any shape.
        low: the value of the first colour; lower ones get it too.
        high: the value of the last colour.
    """
    share = (values.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.asarray(palette()[1][(np.clip(share, 0, 1) * (STEPS - 1)).round().astype(int)])


def laid_over(face: Pixels, colours: Pixels) -> Pixels:
    """Return the colours of a map over a face in grey, both uint8 [H, W, 3]."""
    grey = (face @ np.array(LUMA))[..., None]
    return np.asarray(((1 - OPACITY) * grey + OPACITY * colours).round(), np.uint8)


def contour(region: Region, times: int) -> tuple[Region, Region]:
    """Return the two lines of a region's contour in an enlarged picture: on its side, and around it.

    Two lines, a light one and a dark one, are seen on every colour.

    Args:
        region: [H, W].
        times: whole factor of the enlargement.

    Returns:
        [H * times, W * times] each; the rim of the picture is no contour.
    """
    large = region.repeat(times, axis=0).repeat(times, axis=1)
    square = np.ones((3, 3), bool)
    return large & ~binary_erosion(large, square, border_value=1), binary_dilation(large, square) & ~large


def enlarged(image: Pixels, times: int) -> Pixels:
    """Return an image enlarged by a whole factor: its pixels stay square and sharp."""
    return image.repeat(times, axis=0).repeat(times, axis=1)


def map_picture(
    face: Pixels,
    values: Maps,
    limits: tuple[float, float],
    *,
    region: Region | None,
    threshold: float | None,
    caption: str,
    side: int,
) -> Image.Image:
    """Draw a face, beside it its map over the face in grey, and the scale of the colours.

    Args:
        face: uint8 [H, W, 3].
        values: its map, [H, W].
        limits: values of the first and of the last colour.
        region: pixels above the threshold, whose contour is drawn; None: there is no threshold.
        threshold: its value, marked on the scale; None, or outside of the limits: no mark.
        caption: lines below.
        side: least height of each half in pixels; small faces are enlarged by a whole factor.
    """
    times = max(1, -(-side // face.shape[0]))  # rounded up
    over = enlarged(laid_over(face, heat(values, *limits)), times)
    if region is not None:
        inner, outer = contour(region, times)
        over[outer], over[inner] = 0, 255
    halves = np.concatenate([enlarged(face, times), np.full((len(over), 4, 3), 255, np.uint8), over], axis=1)
    size = max(14, len(over) // 20)
    font, space = ImageFont.load_default(size), size // 2
    bar = enlarged(heat(np.linspace(limits[1], limits[0], len(over), dtype=np.float32)[:, None], *limits), 1)
    ticks = [(limits[1], space), (limits[0], len(over) - space)]
    if threshold is not None and limits[0] <= threshold <= limits[1]:
        ticks.append((threshold, round(len(over) * (limits[1] - threshold) / max(limits[1] - limits[0], 1e-30))))
    words = [f"{value:.3g}" for value, _ in ticks]
    words[2:] = [f"{word} threshold" for word in words[2:]]
    left = halves.shape[1] + space
    width = max(left + 3 * size + max(int(font.getbbox(text)[2]) for text in words), halves.shape[1])
    lines = _wrapped(caption, font, width - 2)
    picture = Image.new("RGB", (width, len(over) + (size * 3 // 2) * len(lines) + (space if lines else 0)), "white")
    picture.paste(Image.fromarray(halves), (0, 0))
    picture.paste(Image.fromarray(bar.repeat(3 * size // 2, axis=1)), (left, 0))
    pen, at = ImageDraw.Draw(picture), left + 2 * size + 2
    for number, ((_, y), text) in enumerate(zip(ticks, words, strict=True)):
        if number == 2:
            # a threshold near an end of the scale is written beside its mark, clear of the end's number
            pen.line((left, y, left + 2 * size - space // 2, y), "black", 2)
            y = min(max(y, space + 3 * size // 2), len(over) - space - 3 * size // 2)
        pen.text((at, y), text, "black", font, anchor="lm")
    for number, line in enumerate(lines):
        pen.text((2, len(over) + space + number * (size * 3 // 2)), line, "black", font)
    return picture


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a text into lines of at most a width in pixels.

    Pillow's font has neither a minus sign nor a no-break space: a hyphen and a space are drawn.
    """
    lines: list[str] = []
    room, space = 0.0, font.getlength(" ")
    for word in text.replace("−", "-").replace(" %", "\u00a0%").split(" "):  # no-break spaces stay
        length = font.getlength(word)
        if lines and length + space <= room:
            lines[-1], room = f"{lines[-1]} {word}", room - length - space
        else:
            lines, room = [*lines, word], width - length
    return [line.replace("\u00a0", " ") for line in lines]
