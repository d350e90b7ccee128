"""Translators that learn without pairs, from faces of two domains: the base of fastcut and cyclegan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from forge.faces.faceset import Images
from forge.faces.tensors import to_float
from forge.generators.base import NetworkSettings
from forge.generators.blocks.convolutions import Upsampler
from forge.generators.blocks.layers import Norm
from forge.generators.blocks.resnet import ResNetGenerator
from forge.generators.translation.base import Floats, Translator
from forge.generators.translation.pix2pix import PatchDiscriminator, patch_layers


class UnpairedSettings(NetworkSettings):
    """Settings of the residual generator and of the discriminator of patches; the defaults fit 64 px on a CPU."""

    generator_width: int = Field(32, ge=1, description="channels at full size; four times as many inside (papers: 64)")
    blocks: int = Field(6, ge=1, description="residual blocks (papers: 6 at 128 px, 9 at 256)")
    discriminator_width: int = Field(32, ge=1, description="channels after the first discriminator layer (64)")
    norm: Norm = Field("instance", description="of generator and discriminator; per image and channel")
    antialias: bool = Field(False, description="the generator halves with a filter, not by striding over pixels")
    upsample: Upsampler = Field(
        "transposed", description="how the generator doubles; bilinear has the filter of antialias"
    )
    discriminator_layers: int | None = Field(
        None, ge=1, le=5, description="strided layers of D; by default 1 at 32 px, 2 at 64 (34 px patches), else 3 (70)"
    )


class Unpaired(Translator):
    """A translator whose condition is the face itself: nothing is drawn, one face gives one forgery."""

    resolutions = (16, 32, 64, 128, 256)
    domains: ClassVar[Literal["none", "one-way", "two-way"]] = "one-way"
    inputs = 3
    restores = False
    without_learning = "face itself"
    Settings = UnpairedSettings
    settings: UnpairedSettings

    def condition(self, image: NDArray[np.uint8], source: np.random.Generator) -> Floats:
        """Return the face in -1..1 [3, H, W]."""
        return np.asarray(image.transpose(2, 0, 1) / 127.5 - 1, np.float32)

    def conditions(self, images: Images, seeds: Sequence[int]) -> Tensor:
        """Return the faces in -1..1 [N, 3, H, W]."""
        return to_float(torch.from_numpy(images))

    def body(self) -> ResNetGenerator:
        """Return a fresh network."""
        settings = self.settings
        return ResNetGenerator(
            settings.generator_width,
            settings.blocks,
            settings.norm,
            antialias=settings.antialias,
            upsample=settings.upsample,
        )

    def discriminator(self) -> nn.Module:
        """Return a fresh discriminator of images alone: [N, 3, H, W] to logits [N, patches]."""
        settings = self.settings
        layers = settings.discriminator_layers or patch_layers(self.resolution)
        return PatchDiscriminator(3, settings.discriminator_width, layers, settings.norm)
