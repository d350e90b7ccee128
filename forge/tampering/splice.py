"""Splices: a region of another image of the same person, or of a rendered person, laid into a face."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.tampering.base import Area, Donor, Edited, EditSettings, LocalEdit, Photo, chosen, mixed
from forge.tampering.donors import DonorKind
from forge.tampering.landmarks import Floats
from forge.tampering.poisson import poisson_blend
from forge.tampering.regions import Region, RegionName, draw_region
from forge.tampering.warp import around, colours_at, mapped, pixel_middles, read_at

# contrasts of luma and colour differences are matched within these factors, so that flat regions do not become noise:
# a grey photo takes no colour, and no colours are made stronger, as of blue eyes for brown skin
_LEAST, _MOST = np.array([0.5, 0.0, 0.0]), np.array([2.0, 1.0, 1.0])
_FITS = 24.0  # grey levels: mean difference along the rim, up to a shift of all colours, of what is laid in
_MOST_DIFFERENT = (
    22.0  # grey levels: mean difference inside, in the photo's colours, of what is laid in from a rendered person
)
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

    citation = (
        "Li et al., Face X-ray for More General Face Forgery Detection, CVPR 2020; Perez et al., Poisson Image "
        "Editing, SIGGRAPH 2003"
    )
    takes_donors = True

    def edit(self, photo: Photo, source: np.random.Generator) -> Edited | None:
        """Splice a photo; None: there is no donor, or none suits, as a moustache bare skin."""
        settings = self.settings
        if not photo.donors:
            return None
        names, rendered = settings.regions, not photo.donors[0].same_set
        if rendered:
            # a whole rendered face among photos is seen at once; where nothing else is wanted, it is what is laid in
            names = tuple(name for name in names if name != "face") or names
        region = draw_region(chosen(names, source), photo.face, photo.side, settings.area, source)
        blending = chosen(settings.blending, source)
        feather = source.uniform(*settings.feather) * photo.side
        donors = _by_rim(photo, region)
        if not donors:
            return None
        alpha = region.mask(photo.side, feather)
        inside = alpha >= 0.5
        if not inside.any():
            return None
        box = around(alpha > 0)
        candidates: list[tuple[float, Donor, Floats]] = []
        for donor, affine in donors:
            if candidates and not rendered:
                break
            points = mapped(pixel_middles(photo.side)[box], affine)
            # what lies beyond the donor's frame has nothing to give
            if _within(points, len(donor.image))[alpha[box] > 0].all():
                laid = with_colours_of(photo.image[box], read_at(donor.image, points), inside[box])
                candidates.append((float(abs(laid - photo.image[box])[inside[box]].mean()), donor, laid))
        if not candidates:
            return None
        # a rendered person's part is taken where it looks most like what it covers; other images of the same person may
        # look as they like, if the rim fits
        difference, donor, laid = min(candidates, key=lambda candidate: candidate[0])
        if rendered and difference > _MOST_DIFFERENT * photo.tolerance:
            return None
        here, pixels = photo.image[box], photo.image.astype(np.float64)
        if blending == "poisson":
            pixels[box], alpha = poisson_blend(here, laid, inside[box]), inside.astype(np.float64)
        else:
            pixels[box] = mixed(laid, here, alpha[box])
        return Edited(pixels, alpha, region.name, {"donor": donor.name, "blending": blending})


def _by_rim(photo: Photo, region: Region) -> list[tuple[Donor, Floats]]:
    """Return the donors whose colours along the rim fit, with the maps [3, 2] onto them, those that fit best first."""
    maps = photo.onto_donors
    images = [donor.image for donor in photo.donors]
    theirs = np.stack(
        [colours_at(image, points) for image, points in zip(images, mapped(region.rim, maps), strict=True)]
    )
    apart = colours_at(photo.image, region.rim) - theirs
    # up to a shift of all colours, which blending takes away
    unlike = abs(apart - apart.mean(1, keepdims=True)).mean((1, 2))
    order = [number for number in unlike.argsort(kind="stable") if unlike[number] <= _FITS * photo.tolerance]
    return [(photo.donors[number], maps[number]) for number in order]


def with_colours_of(target: NDArray[np.uint8], image: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Give a region the mean and standard deviation of another image's same region, in luma and colour differences.

    Args:
        target: [H, W, 3], whose colours are wanted.
        image: [H, W, 3], whose colours change.
        inside: bool [H, W], the pixels that are measured.
    """
    new, old = image @ _YCC.T, target @ _YCC.T
    mean_new, mean_old = new[inside].mean(0), old[inside].mean(0)
    scale = np.clip(old[inside].std(0) / np.maximum(new[inside].std(0), 1e-3), _LEAST, _MOST)
    matched = (new - mean_new) * scale + mean_old
    return np.asarray(np.clip(matched @ _FROM_YCC.T, 0, 255))


def _within(points: Floats, side: int) -> NDArray[np.bool_]:
    return np.asarray(((points >= 0) & (points <= side)).all(-1))
