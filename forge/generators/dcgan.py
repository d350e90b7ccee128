"""DCGAN (Radford, Metz and Chintala 2015): strided convolutions, no pooling, no hidden dense layers.

The upsampler is a setting, since it is what leaves the traces that detectors live on (Odena et al. 2016; Durall et al.
2020).
"""

from __future__ import annotations

import itertools
import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from forge.generators.base import NormalArchitecture, NormalSettings, is_off
from forge.generators.blocks.convolutions import Upsampler, doubling, initialise
from forge.generators.blocks.excitation import SkipExcitation, check_source
from forge.generators.blocks.layers import ConditionalBatchNorm, Projection, spectral
from forge.generators.blocks.san import DirectionHead


class DCGANSettings(NormalSettings):
    """Settings of DCGAN; the defaults are the paper's."""

    generator_width: int = Field(64, ge=1, description="channels before the last generator layer (ngf)")
    discriminator_width: int = Field(64, ge=1, description="channels after the first discriminator layer (ndf)")
    discriminator_norm: Literal["batch", "none", "spectral"] = Field(
        "batch", description="the paper has batch norm; gradient penalties want none"
    )
    upsample: Upsampler = Field(
        "transposed",
        description="how the generator doubles: transposed convolution 4x4 (the paper), convolution 3x3 after nearest "
        "or bilinear resizing, or pixelshuffle (sub-pixel convolution)",
    )
    head: Literal["san"] | None = Field(
        None,
        exclude_if=is_off,
        description="last layer of the discriminator; san: a direction of length 1 with a loss of its own",
    )
    excitation: int | None = Field(
        None,
        exclude_if=is_off,
        description="side of the feature maps that weigh the channels of the finest ones (FastGAN), e.g. 4",
    )


class Generator(nn.Module):
    """Latent [N, L] (and labels) to image [N, 3, H, W], doubling from 4x4 up; conditional batch norm."""

    def __init__(
        self,
        latent: int,
        width: int,
        resolution: int,
        upsample: Upsampler,
        classes: tuple[int, ...] = (),
        *,
        excitation: int | None = None,
    ) -> None:
        super().__init__()
        doublings = int(math.log2(resolution)) - 2  # 4 * 2^doublings = resolution
        # 8 width at the coarse end, halved with each doubling to `width` before the last; beyond 64 px the 8 is
        # repeated
        channels = [width * min(8, 2 ** (doublings - 1 - i)) for i in range(doublings)]
        self.entry = nn.ConvTranspose2d(latent, channels[0], 4, bias=False)  # [N, L, 1, 1] to [N, channels[0], 4, 4]
        self.norms = nn.ModuleList(
            ConditionalBatchNorm(count, classes) if classes else nn.BatchNorm2d(count) for count in channels
        )
        # no bias before batch norm, which subtracts it again with the channel's mean; the layer to colours has no norm
        ups = [doubling(before, after, upsample, bias=False) for before, after in itertools.pairwise(channels)]
        self.ups = nn.ModuleList([*ups, doubling(channels[-1], 3, upsample, bias=True)])
        # position of the maps that the link comes from: 0 for 4x4, 1 for 8x8; -1 for no link
        self.source = -1 if excitation is None else int(math.log2(excitation)) - 2
        self.link = None if excitation is None else SkipExcitation(channels[self.source], channels[-1], equalised=False)
        self.apply(initialise)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images."""
        return self.from_maps(self.entry(latents[:, :, None, None]), labels)

    def from_maps(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images from what the first layer gives, [N, channels[0], 4, 4]."""
        for i, (norm, up) in enumerate(zip(self.norms, self.ups, strict=True)):
            images = relu(norm(images) if labels is None else norm(images, labels))
            if i == self.source:
                coarse = images
            if self.link is not None and i == len(self.ups) - 1:
                images = self.link(coarse, images)
            images = up(images)
        return torch.tanh(images)  # -1..1, the range of real images in training


def last_layer(channels: int, norm: str, head: str | None) -> nn.Module:
    """Return the layer that maps features [N, channels, 4, 4] to logits, one an image."""
    if head is None:
        return spectral(nn.Conv2d(channels, 1, 4), norm == "spectral")  # [N, C, 4, 4] to [N, 1, 1, 1]
    # the spectral norm of one row is its length, which is 1 already. Deviation and scale are those of torch's own
    # convolution: uniform in +-1 / sqrt(F) over F inputs, so that the row's length is 1 / sqrt(3)
    count = channels * 16
    return nn.Sequential(nn.Flatten(1), DirectionHead(count, deviation=(3 * count) ** -0.5, scale=3**-0.5))


class Discriminator(nn.Module):
    """Image [N, 3, H, W] (and labels) to logit [N] through strided convolutions down to 4x4; labels by projection."""

    def __init__(
        self, width: int, norm: str, resolution: int, classes: tuple[int, ...] = (), *, head: str | None = None
    ) -> None:
        super().__init__()
        halvings = int(math.log2(resolution)) - 2  # of the resolution, down to 4x4
        # width, doubled with each halving up to 8 width
        channels = [3] + [width * min(8, 2**i) for i in range(halvings)]
        blocks: list[nn.Module] = []
        for i, (before, after) in enumerate(itertools.pairwise(channels)):
            # the bias is left out where batch norm follows, which would subtract it with the mean
            conv = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=norm != "batch" or i == 0)
            block: list[nn.Module] = [spectral(conv, norm == "spectral")]
            if norm == "batch" and i > 0:  # the paper leaves the first layer without batch norm
                block.append(nn.BatchNorm2d(after))
            blocks.append(nn.Sequential(*block))
        self.blocks = nn.ModuleList(blocks)
        self.head = last_layer(channels[-1], norm, head)
        self.projection = Projection(channels[-1], classes) if classes else None
        # N(0, .02) is small without a norm behind it: logits start near zero and learn slowly, so torch's own scale
        if norm == "batch":
            self.apply(initialise)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return activations after each block, from fine to coarse."""
        activations = []
        for block in self.blocks:
            images = leaky_relu(block(images), 0.2)  # [N, C, H / 2^i, W / 2^i]
            activations.append(images)
        return activations

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Compute logits."""
        features = self.features(images)[-1]  # [N, C, 4, 4]
        logits: Tensor = self.head(features).flatten()
        if self.projection is None or labels is None:
            return logits
        # logit = psi(phi(x)) + <e(y), phi(x)> (Miyato and Koyama 2018); psi sees phi at all 4x4 places, the label term
        # their mean [N, C]
        return logits + cast(Tensor, self.projection(features.mean(dim=(2, 3)), labels))


class DCGAN(NormalArchitecture):
    """The deep convolutional GAN of 2015."""

    family = "conv-gan"  # of generators that share this architecture: another architecture names another family
    citation = "Radford, Metz, Chintala: Unsupervised Representation Learning with DCGANs, ICLR 2016, arXiv 1511.06434"
    resolutions = (16, 32, 64, 128, 256)
    Settings = DCGANSettings
    settings: DCGANSettings

    def __init__(self, settings: DCGANSettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__(settings, resolution, classes)
        check_source(settings.excitation, resolution // 2)  # the last layer doubles and gives colours

    def generator(self) -> nn.Module:
        """Return a fresh generator."""
        chosen = self.settings
        return Generator(
            chosen.latent,
            chosen.generator_width,
            self.resolution,
            chosen.upsample,
            self.classes,
            excitation=chosen.excitation,
        )

    def discriminator(self) -> nn.Module:
        """Return a fresh discriminator."""
        chosen = self.settings
        return Discriminator(
            chosen.discriminator_width,
            chosen.discriminator_norm,
            self.resolution,
            self.classes,
            head=chosen.head,
        )
