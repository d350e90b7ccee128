"""NPR: the relations of neighbouring pixels that upsampling leaves."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from detect.detectors.network import NetworkDetector
from detect.detectors.timm_network import IMAGENET_MEAN, IMAGENET_STD
from detect.features.residuals import neighbouring_pixels
from detect.layers.exact import ExactLinear
from detect.training.settings import NetworkSettings, with_defaults


class NprNetwork(nn.Module):
    """Residual x 2/3, a 3x3 stem of stride 2, max pooling, stages 1 and 2 of ResNet50, one logit.

    1,437,761 parameters. Modules are named as in the published weights, so that these load as they are.
    """

    def __init__(self) -> None:
        import timm  # takes seconds to import, which listing detectors does not need

        super().__init__()
        whole: Any = timm.create_model("resnet50", pretrained=False, num_classes=0, zero_init_last=False)
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        # the stem is not ResNet50's (3 x 3 in place of 7 x 7), hence initialised here as timm does its own
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        # 64 channels, as the stem has
        self.bn1 = whole.bn1
        self.maxpool = whole.maxpool
        self.layer1, self.layer2 = whole.layer1, whole.layer2
        # 512 channels after stage 2
        self.fc1 = ExactLinear(512, 1)

    def residual(self, inputs: Tensor) -> Tensor:
        """Return what the stem sees of images [N, 3, H, W]; a last odd row or column is left out."""
        # the factor is that of the authors' code
        return neighbouring_pixels(inputs) * (2 / 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [N, 3, H, W] to logits float32 [N, 1]."""
        x = self.maxpool(self.bn1(self.conv1(self.residual(inputs))).relu())
        # [N, 256, h, w], then [N, 512, h / 2, w / 2]
        x = self.layer2(self.layer1(x))
        logits: Tensor = self.fc1(x.mean(dim=(2, 3)))
        return logits


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
        return NprNetwork()
