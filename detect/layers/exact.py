"""Last layers that always compute in fp32: logits of 8 bits tie where no two images are equal."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ExactLinear(nn.Linear):
    """A linear layer outside mixed precision; float32 out."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, in_features] to float32 [N, out_features]."""
        # bf16 has 8 bits of mantissa: logits near 4 would be multiples of 1/32, and images would tie
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())


class ExactConv2d(nn.Conv2d):
    """A convolution outside mixed precision; float32 out."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Convolve [N, C, H, W]."""
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())
