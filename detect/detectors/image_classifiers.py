"""Networks of image classification with one logit."""

from __future__ import annotations

from torch import nn

from detect.detectors.timm_network import IMAGENET_MEAN, IMAGENET_STD, TimmDetector, TimmSettings
from detect.training.settings import with_defaults

RECIPE = (
    "no detection paper's: one logit, from random weights at the set's own resolution, with the recipe of xception; "
    "the network's own paper trains it on ImageNet"
)


class EfficientNetB0(TimmDetector[TimmSettings]):
    """EfficientNet-B0: inverted residual blocks with squeeze and excitation, scaled for accuracy at little cost."""

    family = "efficientnet-b0"
    citation = "Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019"
    variant = RECIPE
    timm_name = "efficientnet_b0"
    mean, std = IMAGENET_MEAN, IMAGENET_STD


class ConvNextTiny(TimmDetector[TimmSettings]):
    """ConvNeXt-T: a convolutional network with the habits of transformers; layer normalisation throughout."""

    family = "convnext-tiny"
    citation = "Liu et al., A ConvNet for the 2020s, CVPR 2022"
    variant = RECIPE + "; AdamW"
    # AdamW and 0.05 are ConvNeXt's own (Liu et al. 2022)
    Settings = with_defaults(TimmSettings, optimizer="adamw", weight_decay=0.05)
    timm_name = "convnext_tiny"
    mean, std = IMAGENET_MEAN, IMAGENET_STD


class MobileNetV3(TimmDetector[TimmSettings]):
    """MobileNetV3-Large: made by architecture search for phones, the cheapest of these networks."""

    family = "mobilenetv3"
    citation = "Howard et al., Searching for MobileNetV3, ICCV 2019"
    variant = RECIPE
    timm_name = "mobilenetv3_large_100"
    mean, std = IMAGENET_MEAN, IMAGENET_STD


class Xception(TimmDetector[TimmSettings]):
    """Xception as the FaceForensics++ benchmark uses it: the network of Chollet 2017 with one logit, Adam at 2e-4."""

    family = "xception"
    citation = (
        "Roessler et al., FaceForensics++: Learning to Detect Manipulated Facial Images, ICCV 2019; "
        "Chollet: Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017"
    )
    variant = (
        "from random weights at the set's own resolution with a cosine schedule; the paper: weights imagenet, "
        "input_size 299, face crop 1.3 times the box"
    )
    timm_name = "legacy_xception"

    def adapt(self, network: nn.Module) -> None:
        """Leave the network as it is."""
