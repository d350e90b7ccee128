"""Inpainting without learning: a region removed and filled from what is around it, or from patches of the rest.

The learned inpainter is the translator `pix2pix:inpainting`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from forge.tampering.base import Area, Edited, EditSettings, LocalEdit, Photo, chosen
from forge.tampering.patchmatch import patchmatch_fill
from forge.tampering.poisson import biharmonic_fill, harmonic_fill
from forge.tampering.regions import RegionName, draw_region

Method = Literal["harmonic", "biharmonic", "patchmatch"]


class InpaintSettings(EditSettings):
    """Settings of inpainting without learning."""

    methods: tuple[Method, ...] = Field(
        ("harmonic", "biharmonic", "patchmatch"), min_length=1, description="how regions are filled, equally often"
    )
    regions: tuple[RegionName, ...] = Field(
        ("ellipse", "bezier", "polygon", "strokes"), min_length=1, description="what is removed, equally often"
    )
    smooth_area: Area = Field(
        (0.01, 0.05), description="share of the image that a region covers which is filled without patches"
    )
    area: Area = Field((0.02, 0.12), description="the same of one that is filled with patches")
    patch: int = Field(5, ge=3, le=15, description="side of a patch, pixels; odd")

    @field_validator("patch")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd: a patch has a middle")
        return value


class Inpaint(LocalEdit[InpaintSettings]):
    """Remove a region and fill it."""

    citation = (
        "Barnes et al., PatchMatch, SIGGRAPH 2009; Wexler et al., Space-Time Completion of Video, PAMI 2007; Chan and "
        "Shen, Local Inpainting Models, 2002"
    )

    def edit(self, photo: Photo, source: np.random.Generator) -> Edited | None:
        """Edit a photo; None: the region came to lie outside of the frame, or on a feature of the face."""
        settings = self.settings
        method = chosen(settings.methods, source)
        area = settings.area if method == "patchmatch" else settings.smooth_area
        drawn = draw_region(chosen(settings.regions, source), photo.face, photo.side, area, source)
        spare = photo.strict and settings.spare_features
        region = drawn.beside_features(photo.face, photo.side, source) if spare else drawn
        if region is None:
            return None
        hole = region.coverage(photo.side) >= 0.5
        if not hole.any() or hole.all():
            return None
        if method == "patchmatch":
            pixels = patchmatch_fill(photo.image, hole, source, patch=settings.patch)
        else:
            pixels = (harmonic_fill if method == "harmonic" else biharmonic_fill)(photo.image, hole)
        return Edited(pixels, hole.astype(np.float64), region.name, {"method": method})
