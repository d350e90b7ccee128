"""The generator of CycleGAN and CUT: convolutions at a quarter of the size, in residual blocks, between two others."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from forge.generators.blocks.convolutions import Upsampler, doubling
from forge.generators.blocks.layers import Downsample, InstanceNorm, Norm, normed

HALVINGS = 2  # between the size of the image and that of the residual blocks


def activated(norm: Norm, *, rectify: bool = True) -> nn.Module:
    """Return a norm without weights, or none, and ReLU if wanted."""
    if norm == "instance":
        return InstanceNorm(rectify=rectify)
    return nn.Sequential(normed(norm), nn.ReLU()) if rectify else normed(norm)


def reflected(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution over images whose borders are mirrored: zeros would leave a rim in every output."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, padding_mode="reflect")


class ResidualBlock(nn.Module):
    """x + f(x) with two 3x3 convolutions, the second without an activation (Johnson et al. 2016)."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.first, self.second = reflected(channels, channels, 3), reflected(channels, channels, 3)
        self.activation, self.norm = activated(norm), activated(norm, rectify=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        residue: Tensor = self.norm(self.second(self.activation(self.first(features))))
        return features + residue


class ResNetGenerator(nn.Module):
    """Images [N, 3, H, W] to images [N, 3, H, W] in -1..1 (CycleGAN, appendix 7.2: c7s1-w, d2w, d4w, R4w ..., u2w, uw).

    The first half, up to the middle residual block, is the encoder whose features patches are compared by (CUT).

    Args:
        width: channels at the size of the image; four times as many in the residual blocks.
        blocks: residual blocks.
        norm: after all convolutions but the last.
        antialias: halve with the filter [1,3,3,1] before the convolution, instead of striding over pixels.
        upsample: how sizes are doubled; bilinear is the same filter.
    """

    def __init__(self, width: int, blocks: int, norm: Norm, *, antialias: bool, upsample: Upsampler) -> None:
        super().__init__()
        channels = [width * 2**i for i in range(HALVINGS + 1)]
        self.entry = reflected(3, width, 7)
        downs: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            if antialias:
                # CUT filters after a convolution at full size, which is four times the work: what is filtered before
                # it aliases no more
                downs.append(nn.Sequential(Downsample(before, reflect=True), reflected(before, after, 3)))
            else:
                downs.append(reflected(before, after, 3, stride=2))
        self.downs = nn.ModuleList(downs)
        self.blocks = nn.ModuleList(ResidualBlock(channels[-1], norm) for _ in range(blocks))
        self.ups = nn.ModuleList(
            doubling(before, after, upsample, bias=True) for before, after in itertools.pairwise(reversed(channels))
        )
        self.activation = activated(norm)  # without weights or state: one serves all places
        self.exit = reflected(width, 3, 7)
        # the middle one of an odd number: the fifth of nine in the paper
        self.encoding_blocks = (blocks + 1) // 2
        self.feature_channels = (3, *channels[1:], channels[-1])
        self.apply(_initialise)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return what patches are compared by: the pixels, both halvings before their norm, and the middle block.

        Args:
            images: [N, 3, H, W] in -1..1.

        Returns:
            Features [N, C_i, H_i, W_i] with C_i of `feature_channels`; `decode` goes on from the last ones.
        """
        levels = [images]
        hidden = self.activation(self.entry(images))
        for down in self.downs:
            levels.append(down(hidden))
            hidden = self.activation(levels[-1])
        for block in list(self.blocks)[: self.encoding_blocks]:
            hidden = block(hidden)
        return [*levels, hidden]

    def decode(self, hidden: Tensor) -> Tensor:
        """Make images from the features of the middle block."""
        for block in list(self.blocks)[self.encoding_blocks :]:
            hidden = block(hidden)
        for up in self.ups:
            hidden = self.activation(up(hidden))
        return torch.tanh(self.exit(hidden))

    def forward(self, images: Tensor) -> Tensor:
        """Translate."""
        return self.decode(self.features(images)[-1])


def _initialise(module: nn.Module) -> None:
    # CUT's: with norms after them only the last convolution's scale matters, and a small one begins with grey images
    # instead of strong random colours, which some trainings never lose (issue 249 of CycleGAN's repository)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
