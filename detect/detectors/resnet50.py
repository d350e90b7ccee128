"""ResNet50 with blur and JPEG in training, and the same without the first two halvings."""

from __future__ import annotations

from torch import nn

from detect.detectors.timm_network import IMAGENET_MEAN, IMAGENET_STD, TimmDetector, TimmSettings
from detect.training.settings import with_defaults

# Wang et al., section 4.1: the learning rate falls to a tenth when validation has stalled for 5 epochs, and training
# ends when it would fall under 1e-6; crops of 224 out of 256 pixels
WangSettings = with_defaults(
    TimmSettings,
    epochs=200,
    batch=64,
    learning_rate=1e-4,
    warmup=0,
    clip=None,
    schedule="plateau",
    decay=0.1,
    min_learning_rate=1e-6,
    patience=5,
    shift=0,
    crop=0.875,
    blur=0.5,
    blur_sigma=(0, 3),
    jpeg=0.5,
    jpeg_quality=(30, 100),
)


class ResNet50(TimmDetector[TimmSettings]):
    """ResNet50 trained on crops with random blur and JPEG, so that it holds across generators (CNNDetection)."""

    family = "resnet50"
    citation = "Wang et al., CNN-generated images are surprisingly easy to spot... for now, CVPR 2020"
    variant = "from random weights; the paper: weights imagenet"
    Settings = WangSettings
    timm_name = "resnet50"
    mean, std = IMAGENET_MEAN, IMAGENET_STD


class ResNet50NoDown(ResNet50):
    """ResNet50 whose stem and pooling keep the full resolution, so that the finest traces reach the first stage."""

    family = "resnet50-nodown"
    citation = (
        "Gragnaniello et al., Are GAN generated images easy to detect? A critical analysis of the state-of-the-art, "
        "ICME 2021"
    )
    variant = (
        "from random weights with blur, JPEG and noise in training; the paper: weights imagenet, and also cut-out, "
        "geometric and colour changes"
    )
    # crops of 96 out of 256 pixels
    Settings = with_defaults(WangSettings, crop=0.375, noise=0.2)

    def adapt(self, network: nn.Module) -> None:
        """Let the stem and the pooling look at every pixel: stride 1 in both, as in the authors' code."""
        super().adapt(network)
        # stride 1 in place of 2 twice: maps are four times as large along each side
        network.conv1.stride = (1, 1)  # type: ignore[assignment]
        network.maxpool.stride = 1  # type: ignore[assignment]
