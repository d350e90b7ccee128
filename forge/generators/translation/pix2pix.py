"""pix2pix (Isola et al. 2017): a U-Net against a discriminator of patches, on pairs of condition and photo.

The tasks are subclasses, each in a file beside this one.
"""

from __future__ import annotations

import itertools
import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from forge.generators.base import NetworkSettings
from forge.generators.blocks.convolutions import Upsampler, doubling, initialise
from forge.generators.blocks.layers import Norm, normed
from forge.generators.translation.base import Translator


class Pix2PixSettings(NetworkSettings):
    """Settings of the U-Net and of the discriminator of patches; the defaults fit 64 px on a CPU."""

    generator_width: int = Field(32, ge=1, description="channels of the finest U-Net level (the paper: 64)")
    discriminator_width: int = Field(32, ge=1, description="channels after the first discriminator layer (64)")
    generator_norm: Norm = Field(
        "group", description="per image; instance (the paper's batch norm at batch size 1) leaves specks in a face"
    )
    discriminator_norm: Norm = Field("instance", description="likewise, of the discriminator")
    upsample: Upsampler = Field("transposed", description="how the decoder doubles; the paper: transposed 4x4")
    discriminator_layers: int | None = Field(
        None, ge=1, le=5, description="strided layers of D; by default 1 at 32 px, 2 at 64 (34 px patches), else 3 (70)"
    )


class UNet(nn.Module):
    """Condition [N, inputs, H, W] to output [N, outputs, H, W] in -1..1, with skips by concatenation.

    Args:
        inputs: channels of the condition.
        outputs: channels of the output.
        resolution: H and W; halved down to 2 x 2.
        settings: widths, norm and upsampler.
    """

    def __init__(self, inputs: int, outputs: int, resolution: int, settings: Pix2PixSettings) -> None:
        super().__init__()
        halvings, width = int(math.log2(resolution)) - 1, settings.generator_width
        channels = [width * min(8, 2**i) for i in range(halvings)]
        pairs = list(itertools.pairwise([inputs, *channels]))
        self.downs = nn.ModuleList(nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairs)
        # no norm after the first layer, nor at the bottleneck, where an instance of few pixels would lose its mean
        self.down_norms = nn.ModuleList(
            normed(settings.generator_norm if 0 < i < halvings - 1 else "none") for i in range(halvings)
        )
        ups, up_norms = [], []
        for i in reversed(range(halvings)):
            # all but the deepest level see the skip of their own size beside what comes from below
            before = channels[i] * (1 if i == halvings - 1 else 2)
            after = channels[i - 1] if i else outputs
            ups.append(doubling(before, after, settings.upsample, bias=True))
            up_norms.append(normed(settings.generator_norm if i else "none"))
        self.ups, self.up_norms = nn.ModuleList(ups), nn.ModuleList(up_norms)
        self.apply(initialise)

    def forward(self, conditions: Tensor) -> Tensor:
        """Translate."""
        values, skips = conditions, []
        for i, (down, norm) in enumerate(zip(self.downs, self.down_norms, strict=True)):
            values = norm(down(leaky_relu(values, 0.2) if i else values))
            skips.append(values)
        values = skips.pop()
        for i, (up, norm) in enumerate(zip(self.ups, self.up_norms, strict=True)):
            values = norm(up(relu(values if i == 0 else torch.cat([values, skips.pop()], 1))))
        return torch.tanh(values)


class PatchDiscriminator(nn.Module):
    """Images [N, C, H, W] to logits [N, patches]: one logit for each patch that a unit of the last layer sees.

    Args:
        channels: of the images; of condition and image together where D is shown both.
        width: channels after the first layer.
        layers: strided layers; the patch is 16, 34, 70 px for 1, 2, 3.
        norm: after all layers but the first and the last.
    """

    def __init__(self, channels: int, width: int, layers: int, norm: Norm) -> None:
        super().__init__()
        widths = [channels, *(width * min(8, 2**i) for i in range(layers + 1))]
        blocks: list[nn.Module] = []
        for i, (before, after) in enumerate(itertools.pairwise(widths)):
            stride = 2 if i < layers else 1
            conv = nn.Conv2d(before, after, 4, stride=stride, padding=1)
            blocks.append(nn.Sequential(conv, normed(norm if i else "none")))
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(widths[-1], 1, 4, padding=1)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits."""
        for block in self.blocks:
            images = leaky_relu(block(images), 0.2)
        logits: Tensor = self.head(images).flatten(1)
        return logits


def patch_layers(resolution: int) -> int:
    """Return strided layers of a discriminator whose patch is about half the image, as 70 px of 128 px."""
    return max(1, min(3, int(math.log2(resolution)) - 4))


class Pix2Pix(Translator):
    """The networks of pix2pix; a task is a subclass."""

    citation = "Isola et al.: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017"
    resolutions = (16, 32, 64, 128, 256)
    Settings = Pix2PixSettings
    settings: Pix2PixSettings

    def body(self) -> nn.Module:
        """Return a fresh U-Net."""
        return UNet(self.inputs, self.outputs, self.resolution, self.settings)

    def discriminator(self) -> nn.Module:
        """Return a fresh discriminator of condition and output together [N, inputs + outputs, H, W]."""
        layers = self.settings.discriminator_layers or patch_layers(self.resolution)
        return PatchDiscriminator(
            self.inputs + self.outputs, self.settings.discriminator_width, layers, self.settings.discriminator_norm
        )
