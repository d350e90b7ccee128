"""Meso-4 and MesoInception-4: small networks on the mesoscopic properties of faces."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, max_pool2d, pad

from detect.detectors.network import NetworkDetector
from detect.layers.exact import ExactLinear
from detect.training.settings import NetworkSettings, with_defaults

POOLS = (2, 2, 2, 4)
SIDE = 256  # the paper's input in pixels


class Inception(nn.Module):
    """Four branches side by side: 1x1 | 1x1, 3x3 | 1x1, 3x3 dilated by 2 | 1x1, 3x3 dilated by 3; ReLU after each.

    Args:
        channels: of the input.
        widths: channels of the four branches.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.out_channels = sum(widths)
        self.entries = nn.ModuleList([nn.Conv2d(channels, width, 1) for width in widths])
        self.exits = nn.ModuleList(
            [
                nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
                # padding equals dilation: a 3 x 3 kernel keeps the size at every dilation
                for dilation, width in enumerate(widths[1:], start=1)
            ]
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, channels, H, W] to [N, sum(widths), H, W]."""
        first, *others = [entry(inputs).relu() for entry in self.entries]
        return torch.cat([first, *(leave(maps).relu() for leave, maps in zip(self.exits, others, strict=True))], dim=1)


class MesoNetwork(nn.Module):
    """Four stages of convolution, ReLU, batch normalisation and max pooling; then 16 hidden units and one logit.

    Args:
        stages: the four convolutions; the ReLU after an inception block changes nothing.
        side: of the input in pixels; the first dense layer is as large as what the poolings leave of it.
    """

    def __init__(self, stages: list[nn.Conv2d | Inception], side: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(stages)
        # Keras: momentum .99 means that a hundredth of the new statistics is taken over
        self.norms = nn.ModuleList([nn.BatchNorm2d(stage.out_channels, eps=1e-3, momentum=0.01) for stage in stages])
        for pool in POOLS:
            # what `same_max_pool` leaves of the side
            side = math.ceil(side / pool)
        self.hidden = nn.Linear(stages[-1].out_channels * side * side, 16)
        self.dropout = nn.Dropout(0.5)
        self.head = ExactLinear(16, 1)
        # Keras' defaults: Glorot uniform weights and zero biases
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [N, 3, side, side] in 0..1 to logits [N, 1]."""
        x = inputs
        for convolution, norm, pool in zip(self.convolutions, self.norms, POOLS, strict=True):
            # the order of the authors: ReLU, then normalisation, then pooling
            x = same_max_pool(norm(convolution(x).relu()), pool)
        x = self.dropout(x.flatten(1))
        x = self.dropout(leaky_relu(self.hidden(x), 0.1))
        logits: Tensor = self.head(x)
        return logits


def meso4(side: int = SIDE) -> MesoNetwork:
    """Meso-4; 27,977 parameters at 256 px."""
    return MesoNetwork([_convolution(3, 8, 3), _convolution(8, 8, 5), *_last_two(8)], side)


def mesoinception4(side: int = SIDE) -> MesoNetwork:
    """MesoInception-4; 28,615 parameters at 256 px."""
    first = Inception(3, (1, 4, 4, 2))
    second = Inception(first.out_channels, (2, 4, 4, 2))
    return MesoNetwork([first, second, *_last_two(second.out_channels)], side)


def same_max_pool(inputs: Tensor, size: int) -> Tensor:
    """Max pooling with stride `size` that loses no pixel: a last part of a window is filled up evenly at both ends.

    Args:
        inputs: [N, C, H, W].
        size: of the window and stride.

    Returns:
        [N, C, ceil(H / size), ceil(W / size)], as with `padding="same"` in Keras.
    """
    # pixels missing to a whole number of windows
    height, width = (-length % size for length in inputs.shape[-2:])
    if height or width:
        around = (width // 2, width - width // 2, height // 2, height - height // 2)
        # -inf never wins a maximum; zero would beat negative values after the normalisation
        inputs = pad(inputs, around, value=-math.inf)
    return max_pool2d(inputs, size)


def _last_two(channels: int) -> list[nn.Conv2d]:
    return [_convolution(channels, 16, 5), _convolution(16, 16, 5)]


def _convolution(before: int, after: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, padding=size // 2)


class MesoSettings(NetworkSettings):
    """Settings of Meso-4 and MesoInception-4."""

    loss_of: Literal["squares", "entropy"] = Field(
        "squares", description="loss: mean squared error of the probability (the authors' code), or cross entropy"
    )


# the paper, section 3: a tenth of the learning rate every 1000 batches of 75, which are 6 passes over its 12,361 images
AfcharSettings = with_defaults(
    MesoSettings,
    epochs=30,
    batch=76,
    learning_rate=1e-3,
    warmup=0,
    clip=None,
    schedule="step",
    step_epochs=6,
    decay=0.1,
    min_learning_rate=1e-6,
)


class Meso(NetworkDetector[MesoSettings]):
    """Base class of both networks: images in 0..1 and the loss."""

    citation = "Afchar et al., MesoNet: a Compact Facial Video Forgery Detection Network, WIFS 2018"
    variant = (
        "at the set's own resolution, which decides the size of the first dense layer, batches of 76, flips and small "
        "shifts; the paper: input_size 256, batches of 75, and also small changes of zoom, angle, brightness and hue"
    )
    Settings = AfcharSettings
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    any_size = False  # the first dense layer is made for one

    @abstractmethod
    def build(self, *, blank: bool = False) -> MesoNetwork:
        """Make the network."""

    def loss(self, network: MesoNetwork, inputs: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """Return the mean squared error of the probability of forged, or cross entropy."""
        if self.settings.loss_of == "entropy":
            return super().loss(network, inputs, labels)
        # gradient of the squared error vanishes where the probability is certain and wrong, unlike that of the entropy
        return (self.logits(network, inputs).sigmoid() - labels).square().mean()


class Meso4(Meso):
    """Four convolutions and 16 hidden units: 27,977 parameters at 256 px."""

    family = "meso4"

    def build(self, *, blank: bool = False) -> MesoNetwork:
        """Make the network for the size of its input."""
        return meso4(self.side)


class MesoInception4(Meso):
    """Meso-4 with inception blocks of dilated convolutions for its first two: 28,615 parameters at 256 px."""

    family = "mesoinception4"

    def build(self, *, blank: bool = False) -> MesoNetwork:
        """Make the network for the size of its input."""
        return mesoinception4(self.side)
