"""The base class of autoencoders: images to codes and back, and a prior that makes codes of latents.

A kind (`forge.generators.vae`, or a plug-in's) is a subclass of `Autoencoder` with its encoder, decoder and prior, and
a subclass of `Autoencoding` that makes it. `forge.generators.reconstruct` encodes and decodes images with trained ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from forge.generators.base import Architecture


class Coding(NamedTuple):
    """What one pass of real images gives a training.

    Attributes:
        images: reconstructions, [N, 3, H, W].
        divergence: nats by which the code of each image differs from the prior that the training asks for, by latent
            dimension: [N, L], L = 0 where there is no such term; its sum is weighted by beta.
        penalties: further terms of the loss by name, scalars, weighted already.
        information: nats per image that the codes hold at most, a scalar.
    """

    images: Tensor
    divergence: Tensor
    penalties: Mapping[str, Tensor]
    information: Tensor


class Autoencoder(nn.Module, ABC):
    """A generator that can also encode: latents to codes by its prior, codes to images by its decoder.

    `codes` and `latents` turn the one into the other, so that `network(network.latents(network.encode(images)))` is
    the reconstruction: encoding is also an inversion of the generator.

    Args:
        resolution: height and width of the images.
    """

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution

    def prepare(self, images: Tensor, beta: float) -> None:
        """Fit fresh weights to real images, before the first step of a training; by default nothing happens.

        Args:
            images: some of those it will be trained on, [N, 3, H, W] in -1..1.
            beta: weight of the divergence in the loss.
        """
        return

    @abstractmethod
    def code(self, images: Tensor, labels: Tensor | None = None) -> Coding:
        """Encode and decode real images as a training does, from torch's random state.

        Args:
            images: [N, 3, H, W] in -1..1.
            labels: int64 [N, C] of a conditional generator.
        """

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Return the codes [N, ...] of images [N, 3, H, W] in -1..1, always alike for the same image."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Return the images [N, 3, H, W] of codes, about -1..1."""

    @abstractmethod
    def codes(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the codes of standard normal latents [N, L] by the prior, always alike for the same latents."""

    @abstractmethod
    def latents(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return latents [N, L] of which `codes` makes these codes."""

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images.

        Args:
            latents: standard normal, [N, L].
            labels: int64 [N, C], where the generator is conditional.

        Returns:
            [N, 3, H, W] in -1..1.
        """
        return self.decode(self.codes(latents, labels)).clamp(-1, 1)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Encode and decode images [N, 3, H, W] in -1..1; the result is of the same shape and range."""
        return self.decode(self.encode(images)).clamp(-1, 1)


class Autoencoding(Architecture):
    """An architecture whose generator is an `Autoencoder`; subclasses make it."""

    family = "autoencoder"
    conditional = "optional"
    trained_by = "autoencoding"

    @abstractmethod
    def generator(self) -> Autoencoder:
        """Return a fresh generator."""
