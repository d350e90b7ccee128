"""Latent spaces of trained generators: codes whose spread is 1, and the wider space of the layer behind them.

A code is a latent in units of its spread: `mean + basis @ code` is z of DCGAN, and w of StyleGAN, whose principal
components have deviation 1 then. An image that no code gives exactly is met more nearly in the wider space of what the
first layers make of a code: one w per layer (w+, Abdal et al., Image2StyleGAN, ICCV 2019), or the 4x4 maps of DCGAN's
first layer (the "base code" of Kang et al., GAN Inversion for Out-of-Range Images, ICCV 2021). A point of it is a code
and an offset; offsets, too, are in units of the spread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from forge.core.errors import InputError
from forge.core.seeding import seed_torch
from forge.generators.artifact import TrainedGenerator
from forge.generators.dcgan import Generator as DCGANGenerator
from forge.generators.stylegan_lite import Generator as StyleGANGenerator
from forge.generators.stylegan_lite import SynthesisBlock

SAMPLES = 4096  # latents from which mean and spread are measured
_SMALLEST = 1e-3  # deviation of a component, as a share of the largest: those that hardly vary are not divided by zero


class LatentSpace(ABC):
    """The latents of a generator.

    Args:
        network: in evaluation mode.
        latents: z drawn as in training, [n, L], from which the spread follows.

    Attributes:
        size: length of a code.
        latent: length of z.
        offset_shape: of an offset.
    """

    size: int
    latent: int
    offset_shape: tuple[int, ...]
    network: nn.Module

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        """Return codes [count, size] of z drawn from a source on the CPU."""
        device = next(self.network.parameters()).device
        return self.codes(torch.randn(count, self.latent, generator=source).to(device))

    @abstractmethod
    def codes(self, latents: Tensor) -> Tensor:
        """Return the codes [n, size] of latents z [n, L]."""

    @abstractmethod
    def decode(self, codes: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Return images [n, 3, H, W], about -1..1.

        Args:
            codes: [n, size].
            offsets: [n, *offset_shape]; None: of length 0.
        """

    @abstractmethod
    def features(self, codes: Tensor) -> Tensor:
        """Return what the first layers make of codes [n, size], [n, m]: its principal components are directions."""

    @abstractmethod
    def weights(self) -> Tensor:
        """Return the matrix [m, size] by which the first layers multiply a code."""


class MapSpace(LatentSpace):
    """DCGAN: codes are z, offsets are added to the maps of the first layer."""

    network: DCGANGenerator

    def __init__(self, network: DCGANGenerator, latents: Tensor) -> None:
        self.network, self.size, self.latent = network, latents.shape[1], latents.shape[1]
        with torch.no_grad():
            maps: Tensor = network.entry(latents[:, :, None, None])
        self.offset_shape = tuple(maps.shape[1:])
        self.deviation = maps.std(0, keepdim=True)  # [1, C, 4, 4]

    def codes(self, latents: Tensor) -> Tensor:
        """Return z itself, whose deviation is 1."""
        return latents

    def decode(self, codes: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Return images."""
        maps = self.network.entry(codes[:, :, None, None])
        return self.network.from_maps(maps if offsets is None else maps + self.deviation * offsets)

    def features(self, codes: Tensor) -> Tensor:
        """Return the maps behind the first norm, [n, 16 C]."""
        return relu(self.network.norms[0](self.network.entry(codes[:, :, None, None]))).flatten(1)

    def weights(self) -> Tensor:
        """Return the first layer, a linear map from z to [C, 4, 4]."""
        return self.network.entry.weight.detach().flatten(1).T  # [L, C, 4, 4] to [16 C, L]


class StyleSpace(LatentSpace):
    """StyleGAN: codes are w in units of its principal components, offsets are one such vector per layer."""

    network: StyleGANGenerator

    def __init__(self, network: StyleGANGenerator, latents: Tensor) -> None:
        self.network, self.latent = network, latents.shape[1]
        with torch.no_grad():
            styles: Tensor = network.mapping(latents, None)
        self.mean, self.size = styles.mean(0), styles.shape[1]
        centred = (styles - self.mean).double()
        # in double precision: the last bits of an eigenvector must not depend on the number of latents in a product
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        deviations = variances.clamp(min=0).sqrt().flip(0)
        deviations = deviations.clamp(min=_SMALLEST * float(deviations[0]))
        self.basis: Tensor = (directions.flip(1) * deviations).float()  # [style, size], columns by falling deviation
        self.inverse: Tensor = (directions.flip(1) / deviations).float()
        self.offset_shape = (network.layers, self.size)

    def codes(self, latents: Tensor) -> Tensor:
        """Return w in units of its principal components."""
        styles: Tensor = self.network.mapping(latents, None)
        return (styles - self.mean) @ self.inverse

    def decode(self, codes: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Return images, with the same noise in each."""
        each = codes[:, None].expand(-1, self.network.layers, -1)
        styles = self.mean + (each if offsets is None else each + offsets) @ self.basis.T
        return self.network.synthesise(list(styles.unbind(1)), fixed_noise=True)

    def features(self, codes: Tensor) -> Tensor:
        """Return w, [n, style]."""
        return self.mean + codes @ self.basis.T

    def weights(self) -> Tensor:
        """Return the styles of all convolutions but those to colours, one below the other."""
        blocks = [cast(SynthesisBlock, block) for block in self.network.blocks]
        layers = [self.network.first, *(layer for block in blocks for layer in (block.first, block.second))]
        affine = torch.cat([layer.convolution.style.weight.detach() for layer in layers])  # [m, style]
        return affine @ self.basis


def latent_space(trained: TrainedGenerator, *, averaged: bool = True, device: str = "cpu") -> LatentSpace:
    """Return the latent space of a trained generator.

    Args:
        trained: the generator.
        averaged: use the averaged weights (else the raw ones).
        device: where to compute.

    Raises:
        InputError: it takes labels or faces, or makes images by other steps than one pass from a latent.
    """
    name = trained.card.name
    if trained.architecture.takes_faces:
        raise InputError(f"{name} makes images from faces and has no latents to invert; name dcgan or stylegan-lite")
    if trained.condition is not None:
        raise InputError(f"{name} is told labels, and what is told is not inverted; train it without --condition")
    network = trained.generator(averaged=averaged, device=device)
    # the same on every device, and without touching the state of anything else that draws
    with torch.random.fork_rng(devices=[]):
        seed_torch(0)
        latents = trained.architecture.latents(SAMPLES, torch.device("cpu")).to(device)
    if isinstance(network, DCGANGenerator):
        return MapSpace(network, latents)
    if isinstance(network, StyleGANGenerator):
        return StyleSpace(network, latents)
    raise InputError(f"{name} cannot be inverted; name one of dcgan, stylegan-lite")
