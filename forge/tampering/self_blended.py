"""Self-blended images (Shiohara and Yamasaki, CVPR 2022): forgeries made from real faces alone.

A face is copied twice; one copy's colours and detail are changed a little; one copy, the source, is resized and
shifted a little and laid over the other, the target, through a soft mask of the face. What is left is what every face
swap leaves: a rim, and an inside that does not quite belong to the outside. No generator is needed.

Numbers are those of github.com/mapooon/SelfBlendedImages, whose lengths belong to a frame two faces wide (about 4.2
eye distances; 2.4 faces, 5.4 eye distances, high). Departures: the outline comes from five landmarks instead of 81,
and the mask's waves are larger, since five landmarks vary less than 81; erosion is by a disc, not a square; what comes
in from outside the frame is mirrored, not black; the sum is rounded, where the repository cuts fractions off and so
makes every forgery half a grey level darker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from forge.faces.faceset import Images
from forge.tampering.base import TamperBatch, Tampered, Tampering, TamperingSettings, as_bytes, row_of
from forge.tampering.landmarks import fit_template
from forge.tampering.ops import brighten, downscale_upscale, move, moved_points, sharpen, shift_hsv, shift_rgb
from forge.tampering.soft_mask import elastic_field, soft_mask

Pixels = NDArray[np.float32]
Floats = NDArray[np.float64]

FRAME = np.array([5.4, 4.2])  # height and width of the repository's frame in eye distances
_MASK_SIDE = (192, 257)  # pixels to which that frame is resized, at random along each axis, before masks are blurred
_WAVES = 9  # control points of the mask's waves along each axis

# one random number each, in this order; new ones only at the end, so that old seeds keep their images
_DRAWS = (
    "altered", "outline", "tinted", "red", "green", "blue", "hue", "saturation", "value", "brightness", "contrast",
    "detail", "factor", "alpha", "lightness", "shift_y", "shift_x", "scale_y", "scale_x", "side_y", "side_x",
    "erode", "feather", "sigma", "ratio",
)  # fmt: skip


class SelfBlended(TamperingSettings):
    """Settings of self-blended images; the defaults are the repository's, for frames of 300 pixels and more.

    Of several values one is drawn, each equally often; ranges and largest changes are drawn from uniformly.
    """

    altered: Literal["either", "source"] = Field(
        "either", description="the copy whose colour and detail change; source: nothing outside the mask changes"
    )
    forehead: float = Field(0.75, ge=0, le=1, description="how often the outline reaches to the hair, not the brows")
    rgb_probability: float = Field(0.3, ge=0, le=1, description="of a shift of red, green and blue")
    rgb_shift: float = Field(20.0, ge=0, le=128, description="largest such shift, grey levels")
    # 0.3 of OpenCV's hue, which counts 2 degrees
    hue: float = Field(0.6, ge=0, le=180, description="largest turn of the hue, degrees")
    saturation: float = Field(0.3, ge=0, le=255, description="largest change of the saturation, 255ths")
    value: float = Field(0.3, ge=0, le=255, description="largest change of the value, grey levels")
    brightness: float = Field(0.1, ge=0, le=1, description="largest change, share of white")
    contrast: float = Field(0.1, ge=0, lt=1, description="largest change, share of each value")
    downscale: tuple[float, ...] = Field(
        (2, 4), min_length=1, description="factors of the loss of detail, equally often"
    )
    sharpen: tuple[float, float] = Field((0.2, 0.5), description="range of its share; as often as a loss of detail")
    lightness: tuple[float, float] = Field((0.5, 1.0), description="range of the brightness that sharpening leaves")
    # the repository's .015 of the height and .03 of the width of FRAME: .015 * 5.4 = .08, .03 * 4.2 = .126
    shift: tuple[float, float] = Field(
        (0.08, 0.126), description="largest move of the source along y and x, eye distances"
    )
    scale: float = Field(0.95, gt=0.5, le=1, description="the source shrinks to this at most, or grows by its inverse")
    waves: float = Field(0.5, ge=0, le=2, description="largest move of a mask's point, eye distances; mostly a sixth")
    # odd widths in pixels of the mask that the repository resizes before it blurs, see _MASK_SIDE
    kernel: tuple[int, int] = Field(
        (5, 25), description="windows that shrink and blur the mask, pixels of a frame of 192 to 256"
    )
    sigma: tuple[float, float] = Field((5, 45), description="of the Gaussian in the blurring window, the same pixels")
    # the repository's list: half of all blends are full ones
    ratios: tuple[float, ...] = Field(
        (0.25, 0.5, 0.75, 1, 1, 1), min_length=1, description="weights of the source inside the mask"
    )

    @field_validator("downscale")
    @classmethod
    def _shrinks(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) < 1:
            raise ValueError("factors must be at least 1")
        return value

    @field_validator("sharpen", "lightness", "kernel", "sigma")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("must be a range from low to high, not below 0")
        return value

    @field_validator("sigma")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] <= 0:
            raise ValueError("must be above 0")
        return value

    @field_validator("ratios")
    @classmethod
    # 0 would give a forgery that is the target itself, labelled as forged
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < ratio <= 1 for ratio in value):
            raise ValueError("must be above 0 and at most 1")
        return value


@dataclass(frozen=True)
class Blended:
    """Blends and what they were made of; forged = mask * source + (1 - mask) * target, rounded.

    Attributes:
        forged: uint8 [N, H, W, 3].
        target: uint8 [N, H, W, 3], what lies outside the mask: the paper's real counterpart of the blend.
        source: uint8 [N, H, W, 3], what lies inside.
        mask: float64 [N, H, W] in 0..1.
        average: bool [N], where the average face's outline was used.
    """

    forged: Images
    target: Images
    source: Images
    mask: Floats
    average: NDArray[np.bool_]


def blend(images: Images, landmarks: Floats, seeds: Sequence[int], settings: SelfBlended) -> Blended:
    """Blend each face with itself; each result depends on its image, landmarks, seed and the settings alone.

    Args:
        images: uint8 [N, H, H, 3]; not changed.
        landmarks: [N, 5, 2] in pixels, NaN where no face is known.
        seeds: one per image.
        settings: how.
    """
    side = images.shape[1]  # of the square images, pixels
    draws = _Draws(seeds)
    face = fit_template(landmarks, side)
    changed = _altered(images, draws, settings)
    # bool [N, 1, 1, 1]; the repository alters source or target with equal chances
    of_source = (draws["altered"] < 0.5)[:, None, None, None] | (settings.altered == "source")
    # the target stays in place; only the source is moved
    target = np.where(of_source, images, changed)
    scale = draws.within(("scale_y", "scale_x"), settings.scale, 1 / settings.scale)
    # [N, 2], pixels along y and x
    shift = draws.within(("shift_y", "shift_x"), -1, 1) * settings.shift * face.unit[:, None]
    # rounded to bytes before the blend, as the repository's operations return bytes
    source = _bytes(move(_planes(np.where(of_source, changed, images)), scale, shift))
    corners = face.outline((draws["outline"] < settings.forehead).astype(np.int64))
    # [N, 2]: pixels of these images for one pixel of the repository's mask, along y and x
    pixel = face.unit[:, None] * FRAME / np.floor(draws.within(("side_y", "side_x"), *_MASK_SIDE))
    mask = soft_mask(
        moved_points(corners, scale, shift, side),  # the mask moves with the source it cuts out
        # the repository blurs the mask and keeps what is still at its maximum: half a window is eroded
        erode=draws.odd("erode", *settings.kernel) / 2 * pixel.mean(1),
        feather=draws.odd("feather", *settings.kernel)[:, None] / 2 * pixel,
        sigma=draws.within("sigma", *settings.sigma)[:, None] * pixel,
        displacement=elastic_field(draws.field, settings.waves * face.unit, side),
        side=side,
    )
    # after the mask was normalised: inside, the weight of the source is exactly the drawn ratio
    mask *= draws.one_of("ratio", settings.ratios)[:, None, None]
    weight = mask[..., None]  # [N, H, W, 1]
    forged = np.rint(weight * source + (1 - weight) * target).astype(np.uint8)
    return Blended(forged, target, source, mask, face.average)


class SelfBlending(Tampering[SelfBlended]):
    """Faces blended with themselves; where either copy may be the altered one, both sides of the mask change."""

    family = "blending"
    citation = "Shiohara, Yamasaki: Detecting Deepfakes with Self-Blended Images, CVPR 2022, arXiv 2204.08376"

    def tamper(self, batch: TamperBatch) -> Tampered:
        """Blend each face with itself; the mask is the weight of the copy that is laid over."""
        blended = blend(batch.images, batch.landmarks, batch.seeds, self.settings)
        masks = as_bytes(255 * blended.mask)
        rows = [row_of(bool(average), mask, "face", {}) for average, mask in zip(blended.average, masks, strict=True)]
        return Tampered(blended.forged, masks, rows, blended.target)


class _Draws:
    """Uniform random numbers of each image, by name; they depend on its seed alone."""

    def __init__(self, seeds: Sequence[int]) -> None:
        # one generator an image: what is drawn for it does not depend on its neighbours in the batch
        sources = [np.random.default_rng(seed) for seed in seeds]
        self._numbers = np.array([source.random(len(_DRAWS)) for source in sources])
        # drawn last, so that more names in _DRAWS would move it
        self.field = np.array([source.uniform(-1, 1, (2, _WAVES, _WAVES)) for source in sources])

    def __getitem__(self, name: str) -> Floats:
        return np.asarray(self._numbers[:, _DRAWS.index(name)])

    def within(self, names: str | tuple[str, ...], low: float, high: float) -> Floats:
        """[N], or [N, n] for several names, uniform in low..high."""
        numbers = self[names] if isinstance(names, str) else np.stack([self[name] for name in names], axis=1)
        return low + (high - low) * numbers

    def one_of(self, name: str, values: Sequence[float]) -> Floats:
        """[N], each value equally often."""
        # numbers are below 1, so the index stays below len(values)
        return np.asarray(values, np.float64)[(self[name] * len(values)).astype(np.int64)]

    def odd(self, name: str, low: int, high: int) -> Floats:
        """[N], low, low + 2, ... up to high, equally often."""
        return self.one_of(name, range(low, high + 1, 2))


def _altered(images: Images, draws: _Draws, settings: SelfBlended) -> Images:
    """Return the copy that is changed: colour first, then either less detail or more."""
    pixels = _planes(images)
    tint = draws.within(("red", "green", "blue"), -settings.rgb_shift, settings.rgb_shift)
    # zero for images without a tint, [N, 3]
    pixels = shift_rgb(pixels, tint * (draws["tinted"] < settings.rgb_probability)[:, None])
    hue, saturation, value = (
        draws.within(name, -reach, reach)
        for name, reach in (("hue", settings.hue), ("saturation", settings.saturation), ("value", settings.value))
    )
    pixels = shift_hsv(pixels, hue, saturation, value)
    brightness = draws.within("brightness", -settings.brightness, settings.brightness)
    pixels = brighten(pixels, brightness, draws.within("contrast", -settings.contrast, settings.contrast))
    finer = draws["detail"] < 0.5  # as OneOf of the repository: sharper or coarser, equally often
    alpha, lightness = draws.within("alpha", *settings.sharpen), draws.within("lightness", *settings.lightness)
    factor = draws.one_of("factor", settings.downscale)
    pixels[finer] = sharpen(pixels[finer], alpha[finer], lightness[finer])
    pixels[~finer] = downscale_upscale(pixels[~finer], factor[~finer])
    return _bytes(pixels)


def _planes(images: Images) -> Pixels:
    return np.ascontiguousarray(np.moveaxis(images, 3, 1), dtype=np.float32)


def _bytes(pixels: Pixels) -> Images:
    return np.ascontiguousarray(np.moveaxis(np.rint(np.clip(pixels, 0, 255)), 1, 3).astype(np.uint8))
