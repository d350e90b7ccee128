"""Tiny-LaDeDa: four convolutions on a gradient image, so that each score is of a patch of a few pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d

from detect.detectors.network import NetworkDetector
from detect.detectors.timm_network import IMAGENET_MEAN, IMAGENET_STD
from detect.layers.exact import ExactLinear
from detect.training.settings import NetworkSettings, with_defaults

WIDTH = 8
Diagonal = Literal["left", "right"]
# Sobel's gradients along the diagonals, as the authors name them
DIAGONALS: Mapping[Diagonal, tuple[tuple[float, ...], ...]] = {
    "left": ((0.0, 1.0, 2.0), (-1.0, 0.0, 1.0), (-2.0, -1.0, 0.0)),
    "right": ((-2.0, -1.0, 0.0), (-1.0, 0.0, 1.0), (0.0, 1.0, 2.0)),
}


class _Block(nn.Module):
    """A 1 x 1 and a 3 x 3 convolution of stride 2, without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(WIDTH, WIDTH, 1, bias=False), nn.BatchNorm2d(WIDTH)
        self.conv2, self.bn2 = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, bias=False), nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        features: Tensor = self.bn2(self.conv2(x)).relu()
        return features


class TinyLadedaNetwork(nn.Module):
    """Gradient image, 1 x 1 and 3 x 3 convolutions twice, mean over patches, one logit. 1,297 parameters.

    Modules are named as in the published weights, so that these load as they are.

    Args:
        diagonal: along which the gradient is taken.
    """

    def __init__(self, diagonal: Diagonal = "left") -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, WIDTH, 1, bias=False), nn.Conv2d(WIDTH, WIDTH, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH, momentum=0.001)
        self.layer1 = nn.Sequential(_Block())
        self.fc = ExactLinear(WIDTH, 1)
        kernel = torch.tensor(DIAGONALS[diagonal]).expand(3, 1, 3, 3).clone()
        self.register_buffer("gradient", kernel, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def patches(self, inputs: Tensor) -> Tensor:
        """Compute features of patches, [N, 3, H, W] to [N, 8, h, w]."""
        x = conv2d(inputs, self.get_buffer("gradient"), padding=1, groups=3)
        x = self.bn1(self.conv2(self.conv1(x))).relu()
        features: Tensor = self.layer1(x)
        return features

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [N, 3, H, W] to logits float32 [N, 1]."""
        # the mean of the patches' logits, since the last layer is linear
        logits: Tensor = self.fc(self.patches(inputs).float().mean(dim=(2, 3)))
        return logits


class TinyLadedaSettings(NetworkSettings):
    """Settings of Tiny-LaDeDa."""

    diagonal: Diagonal = Field(
        "left",
        exclude_if=lambda diagonal: diagonal == "left",
        description="of the gradient image: left or right, which is the default of the authors' code",
    )


class TinyLadeda(NetworkDetector[TinyLadedaSettings]):
    """Four convolutions that judge small patches of a gradient image; the score of an image is their mean."""

    family = "tiny-ladeda"
    citation = "Cavia et al., Real-Time Deepfake Detection in the Real-World, arXiv 2406.09398, 2024"
    variant = (
        "learns from labels of images, where the authors distil the scores of LaDeDa; at the set's own resolution, the "
        "paper: resized to 256 px"
    )
    Settings = with_defaults(
        TinyLadedaSettings, epochs=100, batch=64, learning_rate=2e-4, warmup=0, clip=None, patience=15, shift=0
    )
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        return TinyLadedaNetwork(self.settings.diagonal)

    def pixel_logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Compute the logits of patches, float32 [N, h, w]."""
        features = network.patches(inputs)  # type: ignore[operator]
        logits: Tensor = network.fc(features.permute(0, 2, 3, 1))[..., 0]  # type: ignore[operator]
        return logits
