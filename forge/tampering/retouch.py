"""Retouching: a thinner face, larger eyes, another smile or nose, smooth skin, other colours."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.ndimage import uniform_filter

from forge.tampering.base import Counts, Edited, EditSettings, LocalEdit, Photo, chosen, mixed
from forge.tampering.landmarks import OUTLINES, TEMPLATE, Floats, PlacedFace
from forge.tampering.ops import shift_hsv
from forge.tampering.regions import Region, RegionName, draw_region
from forge.tampering.warp import pixel_middles, read_at

Change = Literal["face", "eyes", "nose", "smile", "skin", "colour"]

_WARPS = ("face", "eyes", "nose", "smile")
# a pixel that moves by this has the weight 1 in the mask, by half of it it counts as altered: pixels, share of the side
_MOVED = (0.5, 0.01)
_COLOURED: tuple[RegionName, ...] = ("mouth", "eyes", "face")
_SMALLEST = 1 / 255
_MOUTH = float(TEMPLATE[3:, 1].mean())  # of the corners of the mouth below the eyes, eye distances
_JAW = np.array([[0.95, 0.75], [0.8, 1.3]])  # middles of the pull at the right jaw, eye distances
_EPSILON = 12.0**2  # of the guided filter: details of this many grey levels and fewer go


class RetouchSettings(EditSettings):
    """Settings of retouching; strengths are drawn between a half and the whole of the largest, either way."""

    changes: tuple[Change, ...] = Field(
        ("face", "eyes", "nose", "smile", "skin", "colour"), min_length=1, description="what may be changed"
    )
    at_once: Counts = Field((1, 2), description="range of the number of changes of a photo")
    face: float = Field(0.14, gt=0, le=0.5, description="jaw thinner or wider by up to this, eye distances")
    eyes: float = Field(0.3, gt=0, le=0.6, description="eyes larger by up to this share")
    nose: float = Field(0.25, gt=0, le=0.6, description="nose narrower or wider by up to this share")
    smile: float = Field(0.13, gt=0, le=0.5, description="corners of the mouth up or down by up to this, eye distances")
    skin: float = Field(0.9, gt=0, le=1, description="share of the smoothed skin, at most")
    hue: float = Field(16.0, gt=0, le=180, description="largest turn of the hue of lips, eyes or skin, degrees")
    saturation: float = Field(55.0, ge=0, le=255, description="largest change of its saturation, 255ths")


class Retouch(LocalEdit[RetouchSettings]):
    """Change a face a little: its shape by local warps, its skin by a guided filter, the colour of a part."""

    citation = "Gustafsson, Interactive Image Warping, 1993 (local warps); He et al., Guided Image Filtering, ECCV 2010"

    def edit(self, photo: Photo, source: np.random.Generator) -> Edited | None:
        """Apply one change after the other; the mask is their union."""
        settings = self.settings
        low, high = settings.at_once
        count = min(int(source.integers(low, high + 1)), len(settings.changes))
        order = source.permutation(len(settings.changes))[:count]
        pixels, untouched = photo.image.astype(np.float64), np.ones(photo.image.shape[:2])
        regions: list[str] = []
        parameters: dict[str, Any] = {}
        for name in (settings.changes[position] for position in sorted(order)):
            strength = float(source.uniform(0.5, 1.0) * source.choice((-1, 1)))
            if name in _WARPS:
                moved = max(_MOVED[0], _MOVED[1] * photo.side)
                move = displacement(name, photo.face, photo.side, strength * getattr(settings, name))
                alpha = np.clip(np.linalg.norm(move, axis=-1) / moved, 0, 1)
                changed = read_at(pixels, pixel_middles(photo.side) + move)
            elif name == "skin":
                alpha = abs(strength) * settings.skin * _skin(photo.face, photo.side)
                changed = guided_filter(pixels, max(1, round(0.12 * photo.face.unit)))
            else:
                part = chosen(_COLOURED, source)
                # half a change of colour is a change already: the region is the mask
                alpha = draw_region(part, photo.face, photo.side, (0, 0), source).mask(
                    photo.side, 0.06 * photo.face.unit
                )
                changed = _recoloured(pixels, strength * settings.hue, strength * settings.saturation)
                parameters["part"] = part
            # a little weight is none: pixels far off stay as they are
            alpha = np.where(alpha >= _SMALLEST, alpha, 0)
            # a warp moves what is under it as a whole: half of it would show two faces
            pixels = mixed(changed, pixels, np.where(alpha > 0, 1.0, 0.0) if name in _WARPS else alpha)
            weight = np.clip(alpha / max(alpha.max(), _SMALLEST), 0, 1) if name == "skin" else alpha
            untouched = untouched * (1 - weight)
            regions.append(name)
            parameters[name] = round(strength, 4)
        return Edited(pixels, 1 - untouched, "+".join(regions), parameters)


def displacement(name: str, face: PlacedFace, side: int, strength: float) -> Floats:
    """Return where each pixel is read from, less its own place, [side, side, 2] as (x, y) in pixels.

    Args:
        name: face, eyes, nose or smile.
        face: where it is.
        side: of the frame.
        strength: in eye distances (face, smile) or as a share (eyes, nose); above 0 a thinner face, larger eyes, a
            narrower nose, corners of the mouth up.
    """
    # work in eye distances, in which every face is alike, and turn the result into pixels
    points = (pixel_middles(side) - face.affine[2]) @ face.inverse
    move = np.zeros(points.shape)
    if name == "face":
        for sign in (-1.0, 1.0):
            for x, y in _JAW:
                # read further out: what is there moves in
                move[..., 0] += sign * strength * _bump(points, (sign * x, y), (0.3, 0.3))
    elif name == "eyes":
        for x in (-0.5, 0.5):
            middle = np.array([x, 0.0])
            # read nearer to the middle: larger
            move -= strength * (points - middle) * _bump(points, middle, (0.24, 0.2))[..., None]
    elif name == "nose":
        middle = np.array([0.0, TEMPLATE[2, 1]])
        move[..., 0] += strength * points[..., 0] * _bump(points, middle, (0.22, 0.26))
    else:
        for x in (TEMPLATE[3, 0], TEMPLATE[4, 0]):
            move[..., 1] += strength * _bump(points, (x, _MOUTH), (0.2, 0.18))
    return np.asarray(move @ face.affine[:2])


def _bump(points: Floats, middle: tuple[float, float] | Floats, widths: tuple[float, float]) -> Floats:
    """Return a Gaussian bell of height 1 around a place; widths are its standard deviations."""
    return np.asarray(np.exp(-0.5 * (((points - np.asarray(middle)) / widths) ** 2).sum(-1)))


def guided_filter(image: Floats, radius: int, epsilon: float = _EPSILON) -> Floats:
    """Smooth an image [H, W, C] but for its edges: He et al. 2010, guided by each channel itself.

    Args:
        image: 0..255.
        radius: half width of the windows, pixels.
        epsilon: variance below which a window counts as flat, squared grey levels.
    """
    size = (2 * radius + 1, 2 * radius + 1, 1)
    mean = uniform_filter(image, size, mode="reflect")
    variance = np.maximum(uniform_filter(image * image, size, mode="reflect") - mean * mean, 0)
    slope = variance / (variance + epsilon)
    return np.asarray(
        uniform_filter(slope, size, mode="reflect") * image + uniform_filter(mean - slope * mean, size, mode="reflect")
    )


def _skin(face: PlacedFace, side: int) -> Floats:
    """Return the face without eyes and mouth, [side, side] in 0..1."""
    soft = 0.08 * face.unit
    outline = OUTLINES[0]
    whole = Region("face", (face.at((outline - outline.mean(0)) * 0.92 + outline.mean(0)),)).mask(side, soft)
    turns = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.column_stack([np.cos(turns), np.sin(turns)])
    kept = [((-0.5, 0.0), (0.34, 0.2)), ((0.5, 0.0), (0.34, 0.2)), ((0.0, _MOUTH), (0.5, 0.24))]
    holes = Region("holes", tuple(face.at(np.array(c) + circle * np.array(r)) for c, r in kept)).mask(side, soft)
    return np.asarray(whole * (1 - holes))


def _recoloured(pixels: Floats, hue: float, saturation: float) -> Floats:
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
    turned = shift_hsv(planes, np.array([hue]), np.array([saturation]), np.zeros(1))
    return np.asarray(turned[0].transpose(1, 2, 0), np.float64)
