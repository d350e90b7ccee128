"""DCGAN (Radford, Metz and Chintala 2015): strided convolutions, no pooling, no hidden dense layers."""

from __future__ import annotations

import itertools
import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.networks.base import Architecture, NetworkSettings


class DCGANSettings(NetworkSettings):
    """Settings of DCGAN; the defaults are the paper's."""

    latent: int = Field(100, ge=1, description="length of the latent vector")
    generator_width: int = Field(64, ge=1, description="channels before the last generator layer (ngf)")
    discriminator_width: int = Field(64, ge=1, description="channels after the first discriminator layer (ndf)")
    discriminator_norm: Literal["batch", "none", "spectral"] = Field(
        "batch", description="the paper has batch norm; gradient penalties want none"
    )


def initialise(module: nn.Module) -> None:
    """Set weights as in the paper: convolutions N(0, .02), batch-norm scales N(1, .02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


class Generator(nn.Module):
    """Latent [N, L] to image [N, 3, H, W] through transposed convolutions from 4x4 up."""

    def __init__(self, latent: int, width: int, resolution: int) -> None:
        super().__init__()
        doublings = int(math.log2(resolution)) - 2
        channels = [width * min(8, 2 ** (doublings - 1 - i)) for i in range(doublings)]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent, channels[0], 4, bias=False)]
        for before, after in itertools.pairwise(channels):
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(channels[-1]), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(channels[-1], 3, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, latents: Tensor) -> Tensor:
        """Make images."""
        return cast(Tensor, self.layers(latents[:, :, None, None]))


class Discriminator(nn.Module):
    """Image [N, 3, H, W] to logit [N] through strided convolutions down to 4x4."""

    def __init__(self, width: int, norm: str, resolution: int) -> None:
        super().__init__()
        halvings = int(math.log2(resolution)) - 2
        channels = [3] + [width * min(8, 2**i) for i in range(halvings)]
        blocks: list[nn.Module] = []
        for i, (before, after) in enumerate(itertools.pairwise(channels)):
            conv: nn.Module = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=norm != "batch" or i == 0)
            block: list[nn.Module] = [nn.utils.spectral_norm(conv) if norm == "spectral" else conv]
            if norm == "batch" and i > 0:  # the paper leaves the first layer without batch norm
                block.append(nn.BatchNorm2d(after))
            blocks.append(nn.Sequential(*block, nn.LeakyReLU(0.2, inplace=True)))
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(channels[-1], 1, 4)
        # N(0, .02) is small without a norm behind it: logits start near zero and learn slowly, so torch's own scale
        if norm == "batch":
            self.apply(initialise)

    def features(self, images: Tensor) -> list[Tensor]:
        """Activations after each block, from fine to coarse."""
        found = []
        for block in self.blocks:
            images = block(images)
            found.append(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Judge images."""
        return cast(Tensor, self.head(self.features(images)[-1])).flatten()


class DCGAN(Architecture):
    """The deep convolutional GAN of 2015."""

    citation = "Radford, Metz, Chintala: Unsupervised Representation Learning with DCGANs, ICLR 2016, arXiv 1511.06434"
    resolutions = (16, 32, 64, 128, 256)
    Settings = DCGANSettings
    settings: DCGANSettings

    def generator(self) -> nn.Module:
        """A fresh generator."""
        return Generator(self.settings.latent, self.settings.generator_width, self.resolution)

    def discriminator(self) -> nn.Module:
        """A fresh discriminator."""
        return Discriminator(self.settings.discriminator_width, self.settings.discriminator_norm, self.resolution)

    def latents(self, count: int, device: torch.device) -> Tensor:
        """Standard normal latents [count, latent]."""
        return torch.randn(count, self.settings.latent, device=device)
