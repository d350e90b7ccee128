"""A small U-Net on colours and noise residuals: the plain localiser that others are compared with."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from detect.detectors.localiser import strongest
from detect.detectors.network import NetworkDetector
from detect.features.srm import FILTERS, srm_residuals
from detect.layers.exact import ExactConv2d
from detect.training.settings import NetworkSettings, with_defaults

_COLOURS = 3
_CLIP = 0.1  # of residuals in units of the input: 13 grey levels; beyond it is an edge and not noise
_HALF = 0.5  # a mask's weight from which on a pixel counts as altered


class UNetSettings(NetworkSettings):
    """Settings of the U-Net."""

    widths: tuple[int, ...] = Field((24, 48, 96), min_length=1, description="channels; each level halves the last one")
    residuals: bool = Field(True, description="also see noise residuals of the spatial rich model")
    target: Literal["mask", "boundary"] = Field(
        "mask", description="what a pixel's logit says: it was altered, or it lies on the rim of the mask (Face X-ray)"
    )
    dice: float = Field(1.0, ge=0, description="weight of the Dice loss of forged images")
    whole: float = Field(0.5, ge=0, description="weight of the loss of the image's score")

    @field_validator("widths")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError("must be at least 1 each")
        return value


def _block(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class UNet(nn.Module):
    """Levels down by strided convolutions, and up again with each level's features added.

    Args:
        widths: channels of the levels.
        residuals: whether noise residuals are inputs too.
    """

    def __init__(self, widths: tuple[int, ...], *, residuals: bool) -> None:
        super().__init__()
        self.residuals = residuals
        inputs = _COLOURS * (1 + FILTERS) if residuals else _COLOURS
        self.stem = _block(inputs, widths[0])
        steps = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in steps)
        self.across = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(steps))
        self.up = nn.ModuleList(_block(a, a) for a, _ in reversed(steps))
        self.head = ExactConv2d(widths[0], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return a logit for each pixel: [N, 3, H, W] to [N, H, W]."""
        if self.residuals:
            noise = srm_residuals(images).clamp(-_CLIP, _CLIP) / _CLIP
            images = torch.cat([images, noise], dim=1)
        features = [self.stem(images)]
        for down in self.down:
            features.append(down(features[-1]))
        x = features.pop()
        for across, up in zip(self.across, self.up, strict=True):
            below = features.pop()
            # any size: an odd side is halved upwards
            x = up(below + interpolate(across(x), size=below.shape[-2:], mode="nearest"))
        return self.head(x)[:, 0]  # type: ignore[no-any-return]


class UNetLocaliser(NetworkDetector[UNetSettings]):
    """A logit for each pixel, from masks in training; the image's score is the mean of its highest logits."""

    family = "unet"
    citation = (
        "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015; Zhou et "
        "al., Learning Rich Features for Image Manipulation Detection, CVPR 2018"
    )
    variant = "three levels, features added and not joined, Dice and cross entropy, and the image's score in the loss"
    Settings = with_defaults(UNetSettings, learning_rate=2e-3, optimizer="adamw", weight_decay=1e-4, shift=0.0)
    learns_masks = True

    def build(self, *, blank: bool = False) -> UNet:
        """Make the network."""
        return UNet(self.settings.widths, residuals=self.settings.residuals)

    def pixel_logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return the logits of the pixels, [N, H, W]."""
        logits: Tensor = network(inputs[:, :_COLOURS])
        return logits.float()

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return the mean of the highest logits of each image, [N]."""
        return strongest(self.pixel_logits(network, inputs))

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return cross entropy of pixels, Dice loss of forged images, and cross entropy of the images' scores.

        Args:
            network: the U-Net.
            inputs: [N, 4, H, W], the fourth channel is the mask in 0..1.
            labels: [N], 1 = forged.
        """
        logits, masks = self.pixel_logits(network, inputs), inputs[:, _COLOURS]
        settings = self.settings
        # the rim of a soft mask m is 4 m (1 - m): 1 where both sides weigh the same
        wanted = (masks >= _HALF).float() if settings.target == "mask" else 4 * masks * (1 - masks)
        pixels = binary_cross_entropy_with_logits(logits, wanted)
        chance = logits.sigmoid()
        overlap, total = (chance * wanted).sum((1, 2)), (chance + wanted).sum((1, 2))
        dice = (1 - (2 * overlap + 1) / (total + 1)) * labels
        whole = binary_cross_entropy_with_logits(strongest(logits), labels)
        return pixels + settings.dice * dice.sum() / labels.sum().clamp(min=1) + settings.whole * whole
