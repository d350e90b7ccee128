"""Images as tensors: uint8 pixels to floats and back, mirrored and shifted; differentiable from floats on."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 images [N, H, W, 3] into float32 [N, 3, H, W] in -1..1, channels last in memory."""
    # permute moves no byte: the floats keep the order of the pixels, which is channels_last. div_ and sub_ work on the
    # fresh float copy, so that a batch is held once
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Turn images [N, 3, H, W] in -1..1 into uint8 [N, H, W, 3]: clamped and rounded to nearest."""
    # clamped after scaling: uint8 would wrap values beyond -1..1 around
    levels = images.float().add(1).mul(127.5).clamp(0, 255).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def flipped(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the images [N, 3, H, W] chosen by a boolean mask [N] left to right."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)  # [N, 1, 1, 1]


def translate(images: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift each image [N, 3, H, W] by up to `ratio` of its size in both directions, drawn per image and axis.

    What comes in at an edge is grey (zero). The images get a border of one zero pixel and are read by index, which is
    differentiable; indices beyond an edge are clamped to that border.
    """
    count, _, height, width = images.shape
    device = images.device
    reach_y, reach_x = int(height * ratio + 0.5), int(width * ratio + 0.5)  # as DiffAugment rounds
    down = torch.randint(-reach_y, reach_y + 1, (count, 1), device=device)
    right = torch.randint(-reach_x, reach_x + 1, (count, 1), device=device)
    # + 1: place 0 and the last are the zero border
    rows = (torch.arange(height, device=device) + down + 1).clamp(0, height + 1)
    columns = (torch.arange(width, device=device) + right + 1).clamp(0, width + 1)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # [N, H + 2, W + 2, 3]
    batch = torch.arange(count, device=device)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # [N, H, W, 3] to [N, 3, H, W]


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image [N, 3, H, W] by whole pixels; what comes in at an edge is the image, mirrored.

    Args:
        images: of any type.
        down: int64 [N], between -(H - 1) and H - 1.
        right: int64 [N], between -(W - 1) and W - 1.
    """
    count, _, height, width = images.shape
    rows = _mirrored(torch.arange(height, device=images.device) - down[:, None], height)  # [N, H]
    columns = _mirrored(torch.arange(width, device=images.device) - right[:, None], width)  # [N, W]
    batch = torch.arange(count, device=images.device)[:, None, None]
    # channels last, so that a pixel is read as a whole
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _mirrored(positions: Tensor, size: int) -> Tensor:
    """Reflect positions beyond 0..size - 1 at the first and the last one, which are not repeated."""
    return (size - 1) - (size - 1 - positions.abs()).abs()
