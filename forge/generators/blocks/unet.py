"""A small U-Net that is told the time: the network of the diffusion family.

Nothing in it depends on a running statistic: no batch norm and no buffer, so that weights are all that there is to
average (an average that smeared a schedule's buffers made black samples: lucidrains/denoising-diffusion-pytorch#136).
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import (
    group_norm,
    interpolate,
    pixel_shuffle,
    pixel_unshuffle,
    scaled_dot_product_attention,
    silu,
)

from forge.core.errors import InputError
from forge.generators.base import NetworkSettings

WAVES = 32  # frequencies of the time embedding
PERIODS = (1.0, 10_000.0)  # of those, shortest and longest, as in Vaswani et al. 2017
TIME_SCALE = 1000.0  # times 0..1 become steps 0..1000, for which those periods were made (Ho et al. 2020)


class UNetSettings(NetworkSettings):
    """Settings of the U-Net."""

    widths: tuple[int, ...] = Field(
        (48, 96, 128), min_length=1, description="channels of each level; every level has half the pixels of the last"
    )
    blocks: int = Field(1, ge=1, description="residual blocks of each level, on the way down and on the way up")
    embedding: int = Field(128, ge=1, description="length of the embedding of time and labels")
    attention: bool = Field(False, description="self-attention between the pixels of the coarsest level")
    unshuffle: bool = Field(
        True, description="see each 2x2 pixels as one of 12 channels: a quarter of the places, and traces of period 2"
    )

    def fits(self, resolution: int) -> None:
        """Refuse a resolution that cannot be halved once for each level.

        Raises:
            InputError: says which number must divide it.
        """
        factor = 2 ** (len(self.widths) - 1 + self.unshuffle)
        if resolution % factor:
            raise InputError(
                f"resolution {resolution} cannot be halved {factor.bit_length() - 1} times; use fewer widths than "
                f"{list(self.widths)}, unshuffle=false, or a multiple of {factor} px"
            )


class Norm(nn.Module):
    """Group norm (Wu and He 2018) in groups of up to eight, computed in fp32 under autocast too.

    Args:
        channels: of the images.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = math.gcd(8, channels)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise [N, C, H, W] over each group of channels of an image."""
        return group_norm(images.float(), self.groups, self.weight, self.bias).to(images.dtype)


def time_waves(times: Tensor) -> Tensor:
    """Return the sinusoids of times.

    Args:
        times: [N], 0..1.

    Returns:
        float32 [N, 2 * 32]: sines, then cosines, of periods in geometric series (Vaswani et al. 2017, section 3.5).
    """
    shares = torch.arange(WAVES, dtype=torch.float32, device=times.device) / WAVES
    frequencies = torch.exp(-math.log(PERIODS[1] / PERIODS[0]) * shares) / PERIODS[0]
    angles = TIME_SCALE * times.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class Embedding(nn.Module):
    """Times [N] and labels int64 [N, C] to one vector [N, E]; several label columns add up."""

    def __init__(self, length: int, classes: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * WAVES, length), nn.SiLU(), nn.Linear(length, length))
        self.labels = nn.ModuleList(nn.Embedding(count, length) for count in classes)

    def forward(self, times: Tensor, labels: Tensor | None) -> Tensor:
        """Embed in fp32: bf16 has too few digits to tell neighbouring times apart."""
        with torch.autocast(times.device.type, enabled=False):
            vector: Tensor = self.layers(time_waves(times))
            if labels is not None:
                for i, embed in enumerate(self.labels):
                    vector = vector + embed(labels[:, i])
            return silu(vector)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; the embedding scales and shifts between them (Dhariwal and Nichol 2021)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([Norm(channels), Norm(channels)])
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = _zero(nn.Conv2d(channels, channels, 3, padding=1))
        self.modulation = nn.Linear(embedding, 2 * channels)

    def forward(self, images: Tensor, embedding: Tensor) -> Tensor:
        """Map [N, C, H, W] and [N, E] to [N, C, H, W]."""
        features = self.norms[1](self.first(silu(self.norms[0](images))))
        scale, shift = self.modulation(embedding)[:, :, None, None].to(features.dtype).chunk(2, dim=1)
        return images + cast(Tensor, self.second(silu(torch.addcmul(shift, features, 1 + scale))))


class Attention(nn.Module):
    """Self-attention between all pixels, with one head, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.entry = Norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.exit = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, H, W]."""
        query, key, value = self.entry(self.norm(images)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        mixed = scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return images + cast(Tensor, self.exit(mixed.reshape(images.shape)))


class UNet(nn.Module):
    """Images, times and labels to a prediction of the shape of the images.

    Args:
        settings: widths and options.
        classes: number of values of each label column.
    """

    def __init__(self, settings: UNetSettings, classes: tuple[int, ...] = ()) -> None:
        super().__init__()
        widths, length = settings.widths, settings.embedding
        colours = 12 if settings.unshuffle else 3
        self.unshuffle = settings.unshuffle
        self.embedding = Embedding(length, classes)
        self.entry = nn.Conv2d(colours, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(settings.blocks, width, length) for width in widths)
        self.middle = ResidualBlock(widths[-1], length)
        self.attention = Attention(widths[-1]) if settings.attention else None
        self.up = nn.ModuleList(_blocks(settings.blocks, width, length) for width in widths)
        pairs = list(itertools.pairwise(widths))
        self.halvings = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs)
        self.doublings = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.norm = Norm(widths[0])
        self.exit = _zero(nn.Conv2d(widths[0], colours, 3, padding=1))

    def forward(self, images: Tensor, times: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict.

        Args:
            images: [N, 3, H, W].
            times: [N], 0..1.
            labels: int64 [N, C], where the network has classes.

        Returns:
            float32 [N, 3, H, W]; zero before the first step of a training.
        """
        embedding = self.embedding(times, labels)
        features = pixel_unshuffle(images, 2) if self.unshuffle else images
        features = self.entry(features.contiguous(memory_format=torch.channels_last))
        skips = []
        for level, blocks in enumerate(self.down):
            features = features if level == 0 else self.halvings[level - 1](features)
            features = _through(blocks, features, embedding)
            skips.append(features)
        features = self.middle(features, embedding)
        if self.attention is not None:
            features = self.attention(features)
        for level in reversed(range(len(skips))):
            # added, not concatenated: a quarter faster, as the convolution that follows keeps its width
            features = _through(self.up[level], features + skips[level], embedding)
            if level:
                features = interpolate(self.doublings[level - 1](features), scale_factor=2, mode="nearest")
        prediction: Tensor = self.exit(silu(self.norm(features))).float()
        return pixel_shuffle(prediction, 2) if self.unshuffle else prediction


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that starts at zero, so that its block starts as the identity (Goyal et al. 2017)."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


def _blocks(count: int, width: int, embedding: int) -> nn.ModuleList:
    return nn.ModuleList(ResidualBlock(width, embedding) for _ in range(count))


def _through(blocks: nn.Module, features: Tensor, embedding: Tensor) -> Tensor:
    for block in cast(nn.ModuleList, blocks):
        features = block(features, embedding)
    return features
