"""Settings of StyleGAN-lite, and the channels that follow from them."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from forge.generators.base import NormalSettings, is_off


class StyleGANSettings(NormalSettings):
    """Settings of StyleGAN-lite; the defaults are StyleGAN2's at a quarter of its channels."""

    latent: int = Field(128, ge=1, description="length of the latent vector z")
    style: int = Field(128, ge=1, description="length of the style vector w")
    mapping_layers: int = Field(2, ge=1, description="dense layers from z to w")
    channels_base: int = Field(2048, ge=16, description="channels at resolution r: base / r, between min and max")
    channels_min: int = Field(16, ge=1, description="fewest channels of a resolution")
    channels_max: int = Field(128, ge=1, description="most channels of a resolution")
    generator: Literal["skip", "residual"] = Field("skip", description="how the generator's resolutions are joined")
    discriminator: Literal["residual", "plain"] = Field("residual", description="whether blocks have a shortcut")
    discriminator_scale: float = Field(1.0, gt=0, description="channels of D against those of G")
    minibatch_group: int = Field(4, ge=1, description="images per group of the minibatch standard deviation; 1: none")
    mixing: float = Field(0.9, ge=0, le=1, description="probability that a batch mixes two styles in training")
    noise: bool = Field(True, description="feed noise to every layer")
    spectral: bool = Field(False, description="spectral norm in the discriminator")
    head: Literal["san"] | None = Field(
        None,
        exclude_if=is_off,
        description="last layer of the discriminator; san: a direction of length 1 with a loss of its own",
    )
    excitation: int | None = Field(
        None,
        exclude_if=is_off,
        description="side of the feature maps that weigh the channels of the finest ones (FastGAN), e.g. 8",
    )
    growth: float | None = Field(
        None, exclude_if=is_off, gt=0, lt=1, description="share of the steps at half the resolution, which come first"
    )

    @model_validator(mode="after")
    def _can_grow(self) -> Self:
        # half the resolution needs colours of its own; spectral norm would divide by the norm of zeros
        if self.growth is not None and (self.generator != "skip" or self.spectral):
            raise ValueError("growth needs generator: skip and spectral: false; leave growth out, or set those")
        return self


def channel_table(settings: StyleGANSettings, resolution: int, scale: float = 1.0) -> dict[int, int]:
    """Return channels of every resolution from 4 up."""
    sizes = [2**i for i in range(2, int(math.log2(resolution)) + 1)]  # 4, 8, ..., resolution
    counts = [min(settings.channels_max, max(settings.channels_min, settings.channels_base // size)) for size in sizes]
    return {size: max(4, round(count * scale / 4) * 4) for size, count in zip(sizes, counts, strict=True)}
