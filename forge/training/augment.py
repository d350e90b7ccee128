"""What is done to images before the discriminator sees them."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 images [N, H, W, 3] into float32 [N, 3, H, W] in -1..1, channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Turn images [N, 3, H, W] in -1..1 into uint8 [N, H, W, 3]: clamped and rounded to nearest."""
    levels = images.float().add(1).mul(127.5).clamp(0, 255).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def random_flip(images: Tensor) -> Tensor:
    """Mirror each image [N, 3, H, W] left to right with probability one half."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def random_translation(images: Tensor, pixels: int) -> Tensor:
    """Shift each image [N, 3, H, W] by up to `pixels` in both directions; edges are repeated.

    Differentiable, as forged images pass through it too.
    """
    count, _, height, width = images.shape
    shifts = torch.randint(-pixels, pixels + 1, (2, count, 1), device=images.device)
    rows = (torch.arange(height, device=images.device) + shifts[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + shifts[1]).clamp(0, width - 1)
    batch = torch.arange(count, device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)
