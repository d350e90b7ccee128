"""Reference training steps of generators, as widely copied code has them, in fp32 and contiguous memory.

The networks compute the same as ours, or as the papers; only how they compute it differs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd import backward
from torch.nn import functional
from torch.nn.functional import binary_cross_entropy_with_logits, leaky_relu, softplus

from forge.generators.base import Architecture
from forge.generators.stylegan_lite import Discriminator, Mapping
from forge.generators.stylegan_settings import StyleGANSettings, channel_table
from forge.training.losses import zero_centred_penalty


def dcgan_step(architecture: Architecture, images: Tensor, *labels: Tensor) -> Callable[[], None]:
    """Return the tutorial's step: real and forged images in separate batches, gradients of D kept in the update of G.

    Args:
        architecture: DCGAN.
        images: float [N, 3, H, W] in -1..1, on the device that trains.
        labels: int64 [N, C] of a conditional architecture.
    """
    device = images.device
    generator, discriminator = architecture.generator().to(device), architecture.discriminator().to(device)
    moves = [
        torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), foreach=False)
        for network in (generator, discriminator)
    ]
    count = len(images)
    real_targets, forged_targets = torch.ones(count, device=device), torch.zeros(count, device=device)

    def step() -> None:
        discriminator.zero_grad()
        backward(binary_cross_entropy_with_logits(discriminator(images, *labels), real_targets))
        forged = generator(architecture.latents(count, device), *labels)
        backward(binary_cross_entropy_with_logits(discriminator(forged.detach(), *labels), forged_targets))
        moves[1].step()
        generator.zero_grad()
        backward(binary_cross_entropy_with_logits(discriminator(forged, *labels), real_targets))
        moves[0].step()

    return step


def stylegan_step(settings: StyleGANSettings, images: Tensor, penalty_every: int) -> Callable[[], None]:
    """Return a StyleGAN2 step without custom kernels: grouped convolutions, zero insertion and a filter for resampling.

    Args:
        settings: of the networks; channels as in StyleGAN-lite.
        images: float [N, 3, H, W] in -1..1, on the device that trains.
        penalty_every: steps between R1 penalties.
    """
    resolution, device = images.shape[2], images.device
    generator = _Generator(settings, resolution).to(device)
    discriminator = Discriminator(settings, resolution, ())
    for block in discriminator.blocks:  # resampling by filters, as the paper's code without its kernels
        block.down = _FilterThenSkip()
    discriminator.to(device)
    moves = [
        torch.optim.Adam(network.parameters(), 0.0025, (0.0, 0.99), foreach=False)
        for network in (generator, discriminator)
    ]
    count, done = len(images), [0]

    def forge() -> Tensor:
        return cast(Tensor, generator(torch.randn(count, settings.latent, device=device)))

    def step() -> None:
        discriminator.zero_grad()
        with torch.no_grad():  # no graph for D's step
            forged = forge()
        backward(softplus(-discriminator(images)).mean() + softplus(discriminator(forged)).mean())
        moves[1].step()
        # R1 of the paper, lazily: every `penalty_every` steps, times that number.
        if done[0] % penalty_every == 0:
            discriminator.zero_grad()
            backward(zero_centred_penalty(discriminator, images) * penalty_every)
            moves[1].step()
        generator.zero_grad()
        backward(softplus(-discriminator(forge())).mean())
        moves[0].step()
        done[0] += 1

    return step


@cache
def _filter(gain: float, device: torch.device) -> Tensor:
    # The binomial filter [1, 3, 3, 1], outer product of sum 64.
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device)
    return torch.outer(line, line) / 64 * gain


def _filtered(images: Tensor, before: int, after: int, gain: float = 1.0) -> Tensor:
    # One filter per channel: images [N, C, H, W].
    channels = images.shape[1]
    padded = functional.pad(images, (before, after, before, after))
    return functional.conv2d(padded, _filter(gain, images.device).expand(channels, 1, 4, 4), groups=channels)


def _zero_insertion(images: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    # a zero after each row and column
    spread = functional.pad(images.reshape(count, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
    # gain 4: three of four pixels are zero
    return _filtered(spread.reshape(count, channels, 2 * height, 2 * width), 2, 1, 4.0)


class _FilterThenSkip(nn.Module):
    """Filter at full size, then keep every second pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return _filtered(images, 1, 1)[:, :, ::2, ::2]


class _GroupedConv(nn.Module):
    """A modulated convolution with weights of its own for each image, all images as groups of one convolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        settings: StyleGANSettings,
        kernel: int,
        *,
        up: bool = False,
        last: bool = False,
    ) -> None:
        super().__init__()
        # [1, outputs, inputs, k, k]: the first axis becomes the image's
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))
        self.style = nn.Linear(settings.style, inputs)
        self.strength = nn.Parameter(torch.zeros(()))
        # equalised learning rate: scaled at run time
        self.scale, self.up, self.last = 1 / math.sqrt(inputs * kernel**2), up, last
        self.noise = settings.noise

    def forward(self, images: Tensor, w: Tensor) -> Tensor:
        count, inputs, height, width = images.shape
        _, outputs, _, kernel, _ = self.weight.shape
        # modulated: [N, outputs, inputs, k, k]
        weight = self.scale * self.weight * self.style(w)[:, None, :, None, None]
        if not self.last:
            # demodulated over inputs and kernel
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        grouped = images.reshape(1, count * inputs, height, width)  # all images as groups of one convolution
        if self.up:
            # transposed convolution wants inputs first
            turned = weight.transpose(1, 2).reshape(count * inputs, outputs, kernel, kernel)
            features = functional.conv_transpose2d(grouped, turned, stride=2, groups=count)
            # without padding a transposed 3 x 3 convolution of stride 2 gives 2 h + 1 rows
            features = _filtered(features.reshape(count, outputs, 2 * height + 1, 2 * width + 1), 1, 1, 4.0)
        else:
            flat = weight.reshape(count * outputs, inputs, kernel, kernel)
            features = functional.conv2d(grouped, flat, padding=kernel // 2, groups=count)
            features = features.reshape(count, outputs, height, width)
        if self.last:
            return features + self.bias
        if self.noise:
            features = features + self.strength * torch.randn(count, 1, *features.shape[2:], device=features.device)
        return leaky_relu(features + self.bias, 0.2) * math.sqrt(2)  # sqrt(2) keeps the variance behind the leaky ReLU


class _Generator(nn.Module):
    def __init__(self, settings: StyleGANSettings, resolution: int) -> None:
        super().__init__()
        table = channel_table(settings, resolution)
        self.mapping = Mapping(settings, ())
        self.constant = nn.Parameter(torch.randn(1, table[4], 4, 4))
        self.first = _GroupedConv(table[4], table[4], settings, 3)
        self.picture = _GroupedConv(table[4], 3, settings, 1, last=True)
        sizes = list(table)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    _GroupedConv(table[before], table[size], settings, 3, up=True),
                    _GroupedConv(table[size], table[size], settings, 3),
                    _GroupedConv(table[size], 3, settings, 1, last=True),
                ]
            )
            for before, size in itertools.pairwise(sizes)  # each block doubles the size of the one before
        )

    def forward(self, latents: Tensor) -> Tensor:
        w = self.mapping(latents, None)
        features = self.first(self.constant.expand(len(w), -1, -1, -1), w)
        picture = self.picture(features, w)
        for block in self.blocks:
            grow, refine, colour = cast(nn.ModuleList, block)
            features = refine(grow(features, w), w)
            # the picture of the smaller size is enlarged and added
            picture = colour(features, w) + _zero_insertion(picture)
        return cast(Tensor, picture)
