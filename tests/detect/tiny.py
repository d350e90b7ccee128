"""A detector in one file, as a stranger would add it: a small network with dropout, so that its noise is tested too."""

from __future__ import annotations

from torch import nn

from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings


class TinySettings(NetworkSettings):
    dropout: float = 0.2


class Tiny(NetworkDetector[TinySettings]):
    """Two convolutions on the image's high frequencies."""

    family = "tiny"
    citation = "none"

    def build(self, *, blank: bool = False) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(self.settings.dropout), nn.Linear(8, 1),
        )  # fmt: skip
