"""The small CNN on log-DCT coefficients of Frank 2020."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detect.features.dct import log_dct


class DctCnn(nn.Module):
    """Four 3 x 3 convolutions of z-scored log-DCT coefficients and a linear layer.

    Args:
        size: height and width of the images, at least 4.
        outputs: logits an image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, *, outputs: int = 1) -> None:
        super().__init__()
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
        with torch.autocast(images.device.type, enabled=False):
            z = (log_dct(images.permute(0, 2, 3, 1)) - self.mean) / self.std
        features = self.layers(z.view(images.shape))
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.fc(features.float())
        return logits
