"""NPR: the relations of neighbouring pixels that upsampling leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detect.detectors.cnn import IMAGENET_MEAN, IMAGENET_STD
from detect.detectors.defaults import with_defaults
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import nn


class Npr(NetworkDetector[NetworkSettings]):
    """Neighbouring pixel relations: x minus its nearest-neighbour half and back, into the front half of ResNet50."""

    family = "npr"
    citation = (
        "Tan et al., Rethinking the Up-Sampling Operations in CNN-based Generative Network for Generalizable Deepfake "
        "Detection, CVPR 2024"
    )
    variant = "at the set's own resolution; the paper: resized to 256 px, crops of 224"
    Settings = with_defaults(
        NetworkSettings,
        epochs=50,
        learning_rate=2e-4,
        warmup=0,
        clip=None,
        schedule="step",
        step_epochs=10,
        decay=0.9,
        patience=None,
        shift=0,
        crop=0.875,
    )
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        from detect.networks.npr import NprNetwork

        return NprNetwork()
