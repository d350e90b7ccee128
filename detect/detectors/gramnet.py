"""Gram-Net: the global texture of a face, as correlations of features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detect.detectors.cnn import IMAGENET_MEAN, IMAGENET_STD
from detect.detectors.defaults import with_defaults
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import nn


class GramNet(NetworkDetector[NetworkSettings]):
    """ResNet18 with six Gram blocks: on the image, the stem, its pooling, and the first three stages."""

    family = "gramnet"
    citation = "Liu, Qi and Torr, Global Texture Enhancement for Fake Face Detection in the Wild, CVPR 2020"
    variant = (
        "from random weights at the set's own resolution with normalised inputs and a learning rate of 3e-4; the "
        "paper: ResNet18 from ImageNet, 512 px, fine-tuned at 1e-5"
    )
    Settings = with_defaults(NetworkSettings, batch=14, learning_rate=3e-4, weight_decay=1e-4)
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        from detect.networks.gramnet import GramNetwork

        return GramNetwork()
