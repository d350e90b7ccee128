"""A small CNN on the logarithm of the discrete cosine transform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from detect.detectors.base import FitContext, FitData, FitSummary
from detect.detectors.network import NetworkDetector
from detect.features.dct import log_dct
from detect.features.matrix import moments
from detect.training.settings import NetworkSettings


class DctCnnNetwork(nn.Module):
    """Four 3 x 3 convolutions of z-scored log-DCT coefficients and a linear layer.

    Args:
        size: height and width of the images, at least 4.
        outputs: logits an image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, *, outputs: int = 1) -> None:
        super().__init__()
        # moments of the training images, stored with the weights
        self.register_buffer("mean", torch.zeros(3 * size * size))
        self.register_buffer("std", torch.ones(3 * size * size))
        self.layers = nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(),
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.fc = nn.Linear(32 * (size // 4) ** 2, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Float [N, 3, H, H] in 0..255 to logits float32 [N, outputs]."""
        # fp32: the logarithm of a coefficient near 0 needs more than the 8 bits of bf16
        with torch.autocast(images.device.type, enabled=False):
            z = (log_dct(images.permute(0, 2, 3, 1)) - self.mean) / self.std
        # [N, 3 H H] back to [N, 3, H, H]: an image of coefficients, lowest frequency at the top left
        features = self.layers(z.view(images.shape))
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.fc(features.float())
        return logits


BLOCK = 256  # images transformed at a time


class DctCnnSettings(NetworkSettings):
    """Settings of the CNN on log-DCT coefficients; the defaults are those of Frank 2020's code."""

    epochs: int = Field(50, ge=1, description="most passes over the training images")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="after the warm-up")
    schedule: Literal["constant", "cosine", "step", "plateau"] = Field(
        "constant", description="of the learning rate, after the warm-up"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps in which the learning rate rises from 0")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient; null: no limit")
    flip: bool = Field(False, description="mirror training images; changes only the signs of coefficients, so nothing")
    shift: float = Field(0.0, ge=0, lt=0.5, description="largest random move of a training image, share of its side")


class DctCnn(NetworkDetector[DctCnnSettings]):
    """Log-DCT coefficients, z-scored by the training images, into a CNN of 3, 8, 16 and 32 channels."""

    family = "dct-cnn"
    citation = "Frank et al., Leveraging Frequency Analysis for Deep Fake Image Recognition, ICML 2020"
    variant = "at the set's own resolution (the paper: 128 px); stops early by AUC and not by loss"
    any_size: ClassVar[bool] = False
    mean = (0.0, 0.0, 0.0)
    std = (1 / 255, 1 / 255, 1 / 255)  # so that the network is given grey levels, 0 to 255

    def __init__(self, settings: DctCnnSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        self._moments: tuple[Tensor, Tensor] | None = None

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network, in a fit with the mean and deviation of its training images."""
        # without a fit (a load) the buffers come from the file
        network = DctCnnNetwork(self.side)
        if self._moments is not None:
            network.mean.copy_(self._moments[0])
            network.std.copy_(self._moments[1])
        return network

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Measure the features of `train` in one pass, then train the network."""
        # before `build`, which takes the moments
        self._moments = moments(self._features(data, context))
        return super().fit(data, context)

    def _features(self, data: FitData, context: FitContext) -> Iterator[Tensor]:
        for view in (data.train_real, data.train_forged):
            for images in view.batches(BLOCK):
                pixels = torch.from_numpy(images).to(context.compute.torch_device)
                # `prepare` gives [N, 3, H, W] in grey levels, `log_dct` wants channels last
                yield log_dct(self.prepare(pixels).permute(0, 2, 3, 1))
