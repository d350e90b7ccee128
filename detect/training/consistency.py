"""Consistency training: an image and its noisy copy should have the same logit (stability training, Zheng et al. 2016).

A defence without attacks: it costs two forward passes more per step, and asks for no gradient of pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class ConsistencySettings(BaseModel):
    """Settings of consistency training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(0.1, gt=0, description="of the mean squared difference of logits beside the loss")
    noise: float = Field(4.0, gt=0, le=128, description="standard deviation of the noise, grey levels of 255")


def inconsistency(
    logits: Callable[[Tensor], Tensor], pixels: Tensor, settings: ConsistencySettings, source: torch.Generator
) -> Tensor:
    """Return the mean squared difference of logits of images and of noisy copies, a scalar.

    Args:
        logits: float32 pixels [n, H, W, C] to logits [n].
        pixels: [n, H, W, C] in 0..255; channels beyond three, masks, get no noise.
        settings: of the noise.
        source: of random numbers, on the CPU.
    """
    whole = pixels.float()
    noise = settings.noise * torch.randn(whole[..., :3].shape, generator=source).to(whole.device)
    noisy = torch.cat([(whole[..., :3] + noise).clamp(0, 255), whole[..., 3:]], dim=-1)
    # one batch, so that batch norm sees both alike
    clean, changed = logits(torch.cat([whole, noisy])).chunk(2)
    return (clean - changed).square().mean()
