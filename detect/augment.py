"""Augmentation of training batches on the device: one function an operation, pure given its generator.

Nothing here interpolates, since resampling would rewrite the very traces that detectors look for.
"""

from __future__ import annotations

import torch
from torch import Tensor


def flip_and_shift(pixels: Tensor, generator: torch.Generator, *, flip: bool, shift: int) -> Tensor:
    """Mirror every image left to right with probability one half and move it by whole pixels, edges reflected.

    Args:
        pixels: [N, H, W, C] of any type.
        generator: a CPU generator, so that the same seed augments alike on every device.
        flip: whether to mirror.
        shift: largest move in each direction in pixels, below H and W.

    Returns:
        A new tensor of the same shape, type and device.
    """
    count, height, width = pixels.shape[:3]
    # always drawn, so that switching one operation off leaves the random numbers of the other as they were
    mirrored = torch.rand(count, generator=generator) < 0.5
    moves = torch.randint(-shift, shift + 1, (2, count, 1), generator=generator)
    y = _reflect(torch.arange(height) + moves[0], height)
    x = _reflect(torch.arange(width) + moves[1], width)
    if flip:
        x = torch.where(mirrored[:, None], width - 1 - x, x)
    y, x = y.to(pixels.device), x.to(pixels.device)
    return pixels[torch.arange(count, device=pixels.device)[:, None, None], y[:, :, None], x[:, None, :]]


def _reflect(position: Tensor, size: int) -> Tensor:
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)
