"""Copy-move: a region of an image laid over another place of the same image, turned and scaled."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.tampering.base import Area, Edited, EditSettings, LocalEdit, Photo, Range, chosen, mixed
from forge.tampering.landmarks import Floats
from forge.tampering.poisson import poisson_blend
from forge.tampering.regions import Region, RegionName, draw_region
from forge.tampering.warp import around, colours_at, inverse, mapped, pixel_middles, read_at

_DRAWS = 64  # places that are tried; the one whose rim fits best is taken
_FITS = 20.0  # mean difference along the rim up to which a place is taken, grey levels
_APART = 0.75  # distance of both places at least, in diameters of the region


class CopyMoveSettings(EditSettings):
    """Settings of copy-move forgeries."""

    regions: tuple[RegionName, ...] = Field(
        ("ellipse", "bezier", "polygon"), min_length=1, description="what is copied, equally often"
    )
    area: Area = Field((0.01, 0.08), description="share of the image that a free shape covers")
    angle: float = Field(30.0, ge=0, le=180, description="largest turn, degrees")
    scale: Range = Field((0.8, 1.25), description="range of the factor by which the copy grows")
    blending: tuple[Literal["poisson", "alpha"], ...] = Field(
        ("poisson", "alpha"), min_length=1, description="how the copy is joined to what is around it, equally often"
    )
    feather: tuple[float, float] = Field((0.005, 0.025), description="softness of an alpha rim, shares of the side")


class CopyMove(LocalEdit[CopyMoveSettings]):
    """Lay a part of the photo over another part of it, where its rim fits best of some places."""

    citation = "Wu et al., BusterNet: Detecting Copy-Move Image Forgery with Source/Target Localization, ECCV 2018"

    def edit(self, photo: Photo, source: np.random.Generator) -> Edited | None:
        """Edit a photo; None: the region found no other place in the frame."""
        settings, side = self.settings, photo.side
        drawn = draw_region(chosen(settings.regions, source), photo.face, side, settings.area, source)
        blending = chosen(settings.blending, source)
        feather = source.uniform(*settings.feather) * side
        spare = photo.strict and settings.spare_features
        region = drawn.beside_features(photo.face, side, source) if spare else drawn
        if region is None:
            return None
        affine = _target(region, photo, settings, source)
        if affine is None:
            return None
        alpha = region.moved(affine).mask(side, feather)
        inside = alpha >= 0.5
        if not inside.any():
            return None
        box = around(alpha > 0)
        laid = read_at(photo.image, mapped(pixel_middles(side)[box], inverse(affine)))
        pixels = photo.image.astype(np.float64)
        if blending == "poisson":
            pixels[box] = poisson_blend(photo.image[box], laid, inside[box])
            alpha = inside.astype(np.float64)
        else:
            pixels[box] = mixed(laid, photo.image[box], alpha[box])
        facts = {"affine": np.round(affine, 6).tolist(), "blending": blending}
        return Edited(pixels, alpha, region.name, facts)


def copied_from(mask: NDArray[np.uint8], affine: Floats) -> NDArray[np.bool_]:
    """Return where a copy was taken from, from the mask of where it was laid.

    Args:
        mask: uint8 [H, W], the stored mask of the forgery.
        affine: [3, 2], of the row: from (x, y, 1) in the source to the target, pixels.

    Returns:
        bool [H, W].
    """
    points = mapped(pixel_middles(len(mask)), affine)
    inside = ((points >= 0) & (points <= len(mask))).all(-1)  # beyond the frame an image is mirrored, a mask is empty
    return np.asarray(inside & (read_at(mask[..., None] / 255, points)[..., 0] >= 0.5))


def _target(region: Region, photo: Photo, settings: CopyMoveSettings, source: np.random.Generator) -> Floats | None:
    """Return the affine map [3, 2] to the place of those drawn where colours along the rim differ least."""
    rim, side, image = region.rim, photo.side, photo.image
    middle = (rim.min(0) + rim.max(0)) / 2
    diameter = float((rim.max(0) - rim.min(0)).max())
    turns = np.radians(source.uniform(-settings.angle, settings.angle, _DRAWS))
    low, high = np.log(settings.scale)
    scales = np.exp(source.uniform(low, high, _DRAWS))
    targets = source.uniform(0, side, (_DRAWS, 2))
    cosine, sine = scales * np.cos(turns), scales * np.sin(turns)
    linear = np.array([[cosine, sine], [-sine, cosine]]).transpose(2, 0, 1)
    affine = np.concatenate([linear, targets[:, None] - middle @ linear[:, None]], 1)  # [places, 3, 2]
    moved = rim @ linear + affine[:, 2:]
    usable = ((moved >= 0) & (moved <= side)).all((1, 2))
    usable &= np.linalg.norm(targets - middle, axis=1) >= _APART * diameter
    left = np.flatnonzero(usable)
    costs = abs(colours_at(image, moved[left]) - colours_at(image, rim)).mean((1, 2))
    # where a face fills the frame any place will do after many draws, but not one outside of it
    order = costs.argsort(kind="stable")
    left = left[order[costs[order] <= _FITS * photo.tolerance]]
    if len(left) and photo.strict and settings.spare_features:
        left = left[region.avoids_features(photo.face, affine[left])]
    return affine[left[0]] if len(left) else None
