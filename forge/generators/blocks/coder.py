"""The convolutional bodies of autoencoders: images to features of a coarse grid, and back."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, silu

from forge.core.errors import InputError
from forge.generators.base import NetworkSettings
from forge.generators.blocks.unet import Norm


class CoderSettings(NetworkSettings):
    """Settings of encoder and decoder, and of the codes between them."""

    latent: int = Field(128, ge=1, description="length of a code; of tokens, length of the vector of each token")
    widths: tuple[int, ...] = Field(
        (32, 64, 128), min_length=1, description="channels of each level; every level has half the pixels of the last"
    )
    blocks: int = Field(1, ge=0, description="residual blocks of each level, in the encoder from the second level on")
    unshuffle: bool = Field(
        True, description="see each 2x2 pixels as one of 12 channels: a quarter of the places, and traces of period 2"
    )

    def side(self, resolution: int) -> int:
        """Return height and width of the coarsest level.

        Raises:
            InputError: the resolution cannot be halved so often; says which number must divide it.
        """
        factor: int = 2 ** (len(self.widths) - 1 + self.unshuffle)
        if resolution % factor:
            raise InputError(
                f"resolution {resolution} cannot be halved {factor.bit_length() - 1} times; use fewer widths than "
                f"{list(self.widths)}, unshuffle=false, or a multiple of {factor} px"
            )
        return resolution // factor


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; the second starts at zero, so that the block starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, H, W]."""
        return features + cast(Tensor, self.second(silu(self.first(silu(self.norm(features))))))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


class Encoder(nn.Module):
    """Images [N, 3, H, W] to features [N, C, h, w] of the coarsest level."""

    def __init__(self, settings: CoderSettings) -> None:
        super().__init__()
        widths, self.unshuffle = settings.widths, settings.unshuffle
        self.entry = nn.Conv2d(12 if self.unshuffle else 3, widths[0], 3, padding=1)
        # the finest level, the dearest, has no blocks: what a decoder must invent there, an encoder need not keep
        self.levels = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Conv2d(fine, coarse, 3, stride=2, padding=1), _blocks(coarse, settings.blocks))
            for fine, coarse in itertools.pairwise(widths)
        )
        self.norm = Norm(widths[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        features = pixel_unshuffle(images, 2) if self.unshuffle else images
        features = self.entry(features.contiguous(memory_format=torch.channels_last))
        for level in self.levels:
            features = level(features)
        return silu(self.norm(features))


class Decoder(nn.Module):
    """Features [N, C, h, w] of the coarsest level to images float32 [N, 3, H, W], about -1..1.

    Args:
        settings: of the networks.
        guessing: whether there is a first guess of the images.
    """

    def __init__(self, settings: CoderSettings, *, guessing: bool = False) -> None:
        super().__init__()
        widths, self.unshuffle = settings.widths, settings.unshuffle
        self.levels = nn.ModuleList(_blocks(width, settings.blocks) for width in reversed(widths))
        pairs = list(itertools.pairwise(reversed(widths)))
        self.doublings = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for coarse, fine in pairs)
        self.norm = Norm(widths[0])
        self.exit = nn.Conv2d(widths[0], 12 if self.unshuffle else 3, 3, padding=1)
        # a first guess of the images, as further features of the finest level
        self.guess = nn.Conv2d(3, widths[0], 3, padding=1) if guessing else None
        if guessing:  # the images are what is added to the guess: at first nothing
            nn.init.zeros_(self.exit.weight)
            nn.init.zeros_(cast(Tensor, self.exit.bias))

    def forward(self, features: Tensor, guess: Tensor | None = None) -> Tensor:
        """Decode.

        Args:
            features: [N, C, h, w].
            guess: small images [N, 3, h, w] of a network that has guesses; what is returned is added to them.
        """
        features = features.contiguous(memory_format=torch.channels_last)
        for number, level in enumerate(self.levels):
            if number:
                # a 1x1 convolution before the doubling is the same as behind it, at a quarter of the cost
                features = interpolate(self.doublings[number - 1](features), scale_factor=2, mode="nearest")
            if self.guess is not None and guess is not None and number == len(self.doublings):
                features = features + self.guess(_resized(guess, features.shape[-1]))
            features = level(features)
        images: Tensor = self.exit(silu(self.norm(features))).float()
        images = pixel_shuffle(images, 2) if self.unshuffle else images
        return images if guess is None else images + _resized(guess, images.shape[-1])


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    return interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
