"""Splices: a region of another image of the same person, or of a rendered person, laid into a face."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.tampering.base import Area, Edited, EditSettings, LocalEdit, Photo, chosen, mixed
from forge.tampering.donors import DonorKind
from forge.tampering.landmarks import Floats
from forge.tampering.poisson import poisson_blend
from forge.tampering.regions import RegionName, draw_region
from forge.tampering.warp import around, colours_at, mapped, pixel_middles, read_at

_SCALE = (0.5, 2.0)  # contrasts are matched within these factors, so that flat regions do not become noise
_FITS = 30.0  # grey levels: mean difference along the rim, up to a shift of all colours, of what is laid in
# R'G'B' to luma and two colour differences (ITU-R BT.601)
_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_FROM_YCC = np.linalg.inv(_YCC)


class SpliceSettings(EditSettings):
    """Settings of splices."""

    donors: DonorKind = Field(
        "auto",
        description="identity: the same person's other images; rendered: rendered people; others: other people of a "
        "set of rendered ones; auto: the first of these that is possible",
    )
    regions: tuple[RegionName, ...] = Field(
        ("face", "eyes", "nose", "mouth"),
        min_length=1,
        description="what is laid in, equally often; of rendered donors never the whole face into a photo",
    )
    blending: tuple[Literal["poisson", "alpha"], ...] = Field(
        ("poisson", "alpha"), min_length=1, description="how it is joined to the photo, equally often"
    )
    area: Area = Field((0.02, 0.2), description="share of the image that a free shape covers")
    feather: tuple[float, float] = Field((0.01, 0.04), description="softness of an alpha rim, shares of the side")


class Splice(LocalEdit[SpliceSettings]):
    """Lay a region of a donor into a face: turned and scaled to its landmarks, in its colours, with a seamless rim."""

    citation = "Li et al., Face X-ray for More General Face Forgery Detection, CVPR 2020; Perez et al., SIGGRAPH 2003"
    takes_donors = True

    def edit(self, photo: Photo, source: np.random.Generator) -> Edited | None:
        """Splice a photo; None: there is no donor, or the region's rim does not suit, as bare skin a moustache."""
        settings = self.settings
        if photo.donor is None:
            return None
        names = settings.regions
        if not photo.donor.same_set:
            # a whole rendered face among photos is seen at once; where nothing else is wanted, it is what is laid in
            names = tuple(name for name in names if name != "face") or names
        region = draw_region(chosen(names, source), photo.face, photo.side, settings.area, source)
        blending = chosen(settings.blending, source)
        feather = source.uniform(*settings.feather) * photo.side
        onto = photo.face.onto(photo.donor.face)
        if photo.strict and _unlike(photo.image, region.rim, photo.donor.image, mapped(region.rim, onto)) > _FITS:
            return None
        alpha = region.mask(photo.side, feather)
        inside = alpha >= 0.5
        if not inside.any():
            return None
        box = around(alpha > 0)
        points = mapped(pixel_middles(photo.side)[box], onto)
        # what lies beyond the donor's frame has nothing to give
        if not _within(points, len(photo.donor.image))[alpha[box] > 0].all():
            return None
        here, pixels = photo.image[box], photo.image.astype(np.float64)
        laid = with_colours_of(here, read_at(photo.donor.image, points), inside[box])
        if blending == "poisson":
            pixels[box], alpha = poisson_blend(here, laid, inside[box]), inside.astype(np.float64)
        else:
            pixels[box] = mixed(laid, here, alpha[box])
        facts = {"donor": photo.donor.name, "blending": blending}
        return Edited(pixels, alpha, region.name, facts)


def with_colours_of(target: NDArray[np.uint8], image: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Give a region the mean and standard deviation of another image's same region, in luma and colour differences.

    Args:
        target: [H, W, 3], whose colours are wanted.
        image: [H, W, 3], whose colours change.
        inside: bool [H, W], the pixels that are measured.
    """
    new, old = image @ _YCC.T, target @ _YCC.T
    mean_new, mean_old = new[inside].mean(0), old[inside].mean(0)
    scale = np.clip(old[inside].std(0) / np.maximum(new[inside].std(0), 1e-3), *_SCALE)
    matched = (new - mean_new) * scale + mean_old
    return np.asarray(np.clip(matched @ _FROM_YCC.T, 0, 255))


def _unlike(image: NDArray[np.uint8], rim: Floats, donor: NDArray[np.uint8], donor_rim: Floats) -> float:
    """Return how much colours along a rim differ, but for their means, which blending makes equal."""
    difference = colours_at(image, rim) - colours_at(donor, donor_rim)
    return float(abs(difference - difference.mean(0)).mean())


def _within(points: Floats, side: int) -> NDArray[np.bool_]:
    return np.asarray(((points >= 0) & (points <= side)).all(-1))
