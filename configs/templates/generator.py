"""MyPlugin: a small convolutional GAN, to be changed into a generator of your own.

    bench run -g my_plugin.py:MyPlugin -d dct --preset smoke --set generator.training.kimg=2

The interface is `forge.generators.base.Architecture`; `pytest test_my_plugin.py` checks that this class offers it.
The objective (non-saturating, hinge, wasserstein …), penalties, learning rates and averaging are settings of the
training, not of this file: `bench show dcgan` lists them.
"""

from __future__ import annotations

import itertools

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.generators.base import Architecture, NetworkSettings


class MyPluginSettings(NetworkSettings):
    """Every field is a setting: --set generator.network.width=32."""

    latent: int = Field(32, ge=1, description="length of the random vector that becomes a face")
    width: int = Field(16, ge=1, description="channels of the finest layer; the next coarser one has twice as many")


def channels(width: int, resolution: int) -> list[int]:
    """Channels at 4x4, 8x8, … up to half the resolution: many where images are small, few where they are large."""
    doublings = (resolution // 4).bit_length() - 1
    return [min(128, width * 2**level) for level in reversed(range(doublings))]


class Painter(nn.Module):
    """The generator's network: latents [N, L] to images [N, 3, H, W] in -1..1."""

    def __init__(self, latent: int, width: int, resolution: int) -> None:
        super().__init__()
        counts = channels(width, resolution)
        layers: list[nn.Module] = [nn.Linear(latent, counts[0] * 16), nn.Unflatten(1, (counts[0], 4, 4))]
        for before, after in itertools.pairwise([*counts, counts[-1]]):
            # how an image is enlarged leaves traces that detectors find: try mode="bilinear", or nn.ConvTranspose2d
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.Upsample(scale_factor=2, mode="nearest")]
            layers += [nn.Conv2d(before, after, 3, padding=1)]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(counts[-1], 3, 3, padding=1), nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        """Make images."""
        images: Tensor = self.layers(latents)
        return images


class Judge(nn.Module):
    """The discriminator's network: images [N, 3, H, W] in -1..1 to logits [N], high for real."""

    def __init__(self, width: int, resolution: int) -> None:
        super().__init__()
        counts = [3, *reversed(channels(width, resolution))]
        self.blocks = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in itertools.pairwise(counts)
        )
        self.head = nn.Conv2d(counts[-1], 1, 4)

    def features(self, images: Tensor) -> list[Tensor]:
        """Activations from fine to coarse: what detectors like disc-probe read. May be left out with them."""
        found = []
        for block in self.blocks:
            images = nn.functional.leaky_relu(block(images), 0.2)
            found.append(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Judge images."""
        logits: Tensor = self.head(self.features(images)[-1])
        return logits.flatten()


class MyPlugin(Architecture):
    """A small convolutional GAN."""

    citation = "nobody yet: say here whose idea it is"
    resolutions = (16, 32, 64, 128)  # other sizes are refused before any work starts
    Settings = MyPluginSettings
    settings: MyPluginSettings

    def generator(self) -> nn.Module:
        """A fresh generator; torch is seeded by whoever calls."""
        return Painter(self.settings.latent, self.settings.width, self.resolution)

    def discriminator(self) -> nn.Module:
        """A fresh discriminator."""
        return Judge(self.settings.width, self.resolution)

    def latents(self, count: int, device: torch.device) -> Tensor:
        """Random latents [count, L], drawn by torch's random state alone, so that every forgery can be made again."""
        return torch.randn(count, self.settings.latent, device=device)
