"""FreqNet: a small network that is shown high frequencies only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


class FreqNetSettings(NetworkSettings):
    """Settings of FreqNet; the defaults are the authors'."""

    epochs: int = Field(100, ge=1, description="most passes over the training images")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="after the warm-up")
    schedule: Literal["constant", "cosine", "step", "plateau"] = Field(
        "step", description="of the learning rate, after the warm-up"
    )
    step_epochs: int = Field(10, ge=1, description="passes between the steps of schedule step")
    decay: float = Field(0.8, gt=0, lt=1, description="what step and plateau multiply the learning rate with")


class FreqNet(NetworkDetector[FreqNetSettings]):
    """High-pass filters of image and features, convolutions of real and imaginary spectra, two stages of ResNet50."""

    family = "freqnet"
    citation = (
        "Tan et al., Frequency-Aware Deepfake Detection: Improving Generalizability through Frequency Space Learning, "
        "AAAI 2024"
    )
    variant = (
        "at the set's own resolution (the paper: 224 px crops); the 1 x 1 convolutions start as small as the others "
        "(the authors': standard deviation 1)"
    )
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        from detect.networks.freqnet import FreqNet as Network

        return Network()

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Logits, float32 [N]; the head is computed in fp32."""
        import torch

        features: Tensor = network.forward_features(inputs)  # type: ignore[operator]
        with torch.autocast(inputs.device.type, enabled=False):
            outputs: Tensor = network.forward_head(features.float())  # type: ignore[operator]
        return outputs.flatten()
