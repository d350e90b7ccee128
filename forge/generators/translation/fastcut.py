"""FastCUT: one generator that keeps, patch by patch, what it is given (Park et al. 2020)."""

from __future__ import annotations

from pydantic import Field

from forge.generators.blocks.convolutions import Upsampler
from forge.generators.translation.unpaired import Unpaired, UnpairedSettings


class FastCUTSettings(UnpairedSettings):
    """Settings of the networks; without aliasing, as in the paper."""

    antialias: bool = Field(True, description="the generator halves with a filter, not by striding over pixels")
    upsample: Upsampler = Field(
        "bilinear", description="how the generator doubles; bilinear has the filter of antialias"
    )


class FastCUT(Unpaired):
    """A generator in one direction; its encoder says which patches of face and forgery belong together."""

    citation = "Park et al.: Contrastive Learning for Unpaired Image-to-Image Translation, ECCV 2020"
    trained_by = "contrastive"
    Settings = FastCUTSettings
    settings: FastCUTSettings
