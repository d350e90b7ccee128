"""Xception cut short: every output sees a small patch of the image (Chai et al. 2020)."""

from __future__ import annotations

import timm
from torch import Tensor, nn

from detect.networks.exact import ExactConv2d

STEM = ("conv1", "bn1", "act1", "conv2", "bn2", "act2")
CHANNELS = (128, 256, 728, 728, 728)  # after blocks 1 to 5


class PatchXception(nn.Module):
    """The stem and first blocks of Xception, and a 1x1 convolution to two channels: real and forged.

    Args:
        blocks: 1 to 5; an output sees 19, 43, 91, 187 or 283 pixels a side.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        whole = timm.create_model("legacy_xception", pretrained=False, num_classes=0)
        names = [*STEM, *(f"block{number}" for number in range(1, blocks + 1))]
        self.features = nn.Sequential()
        for name in names:
            self.features.add_module(name, getattr(whole, name))
        self.head = ExactConv2d(CHANNELS[blocks - 1], 2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Log odds of forged, patch by patch: [N, 3, H, W] to float32 [N, h, w]."""
        outputs: Tensor = self.head(self.features(inputs))
        return outputs[:, 1] - outputs[:, 0]
