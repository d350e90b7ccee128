"""The first GAN (Goodfellow et al. 2014): two fully connected networks."""

from __future__ import annotations

import itertools
from typing import cast

from pydantic import Field
from torch import Tensor, nn

from forge.generators.base import NormalArchitecture, NormalSettings
from forge.generators.blocks.layers import spectral


class GANSettings(NormalSettings):
    """Settings of the fully connected GAN; the defaults are the textbook's 100-128-784 and 784-128-1 in one colour."""

    generator_widths: tuple[int, ...] = Field((128,), min_length=1, description="hidden layers of the generator")
    discriminator_widths: tuple[int, ...] = Field((128,), min_length=1, description="hidden layers of D")
    grey: bool = Field(True, description="one image channel, e.g. of digits; else three")
    generator_norm: bool = Field(False, description="batch norm after the generator's hidden layers")
    spectral: bool = Field(False, description="spectral norm in the discriminator")


# norm: batch norm on hidden layers; limited: spectral norm; slope 0 is the plain ReLU
def dense(widths: list[int], *, norm: bool, limited: bool, slope: float) -> list[nn.Module]:
    """Dense layers with (leaky) ReLU between them, none after the last."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        layers.append(spectral(nn.Linear(before, after), limited))
        # the last layer gives pixels before tanh, or the logit: a ReLU would cut off one sign of them
        if i < len(widths) - 2:
            layers += [nn.BatchNorm1d(after)] if norm else []
            layers.append(nn.LeakyReLU(slope))
    return layers


class Generator(nn.Module):
    """Latent [N, L] to image [N, 3, H, W]."""

    def __init__(self, settings: GANSettings, resolution: int) -> None:
        super().__init__()
        self.shape = (1 if settings.grey else 3, resolution, resolution)  # [C, H, W]
        widths = [settings.latent, *settings.generator_widths, self.shape[0] * resolution**2]
        self.layers = nn.Sequential(*dense(widths, norm=settings.generator_norm, limited=False, slope=0.0), nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        """Make images; grey ones have three equal channels."""
        images: Tensor = self.layers(latents).unflatten(1, self.shape)  # [N, C, H, W] in -1..1
        # a view, no copy: memory of one channel, and the gradients of the three equal ones add up in it
        return images.expand(-1, 3, -1, -1)


class Discriminator(nn.Module):
    """Image [N, 3, H, W] to logit [N]."""

    def __init__(self, settings: GANSettings, resolution: int) -> None:
        super().__init__()
        self.grey = settings.grey
        # three equal channels would only repeat inputs: one of them carries all that a grey image has
        widths = [(1 if settings.grey else 3) * resolution**2, *settings.discriminator_widths, 1]
        self.layers = nn.Sequential(*dense(widths, norm=False, limited=settings.spectral, slope=0.2))

    def features(self, images: Tensor) -> list[Tensor]:
        """Return activations [N, width] after each hidden layer."""
        activations, values = [], (images.mean(1) if self.grey else images).flatten(1)  # [N, C H W]
        for layer in self.layers[:-1]:  # without the output layer
            values = layer(values)
            if isinstance(layer, nn.LeakyReLU):
                activations.append(values)
        return activations

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits."""
        return cast(Tensor, self.layers[-1](self.features(images)[-1])).flatten()


class GAN(NormalArchitecture):
    """The fully connected GAN of 2014."""

    family = "dense-gan"
    citation = "Goodfellow et al.: Generative Adversarial Nets, NeurIPS 2014, arXiv 1406.2661"
    resolutions = (8, 16, 28, 32, 64, 128)
    Settings = GANSettings
    settings: GANSettings

    def generator(self) -> nn.Module:
        """Return a fresh generator."""
        return Generator(self.settings, self.resolution)

    def discriminator(self) -> nn.Module:
        """Return a fresh discriminator."""
        return Discriminator(self.settings, self.resolution)
