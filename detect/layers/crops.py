"""Windows of image batches."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad


def centre(pixels: Tensor, side: int) -> Tensor:
    """Return the middle of images [N, H, W, C], as torchvision's CenterCrop cuts it; smaller sides stay as they are."""
    height, width = pixels.shape[1:3]
    # torchvision rounds half to even, as Python does
    top, left = (round(max(0, size - side) / 2) for size in (height, width))
    return pixels[:, top : top + min(side, height), left : left + min(side, width)]


def framed(pixels: Tensor, side: int | None) -> Tensor:
    """Return windows [N, side, side, C] of images [N, H, W, C], as torchvision's CenterCrop cuts them of PIL images.

    Args:
        pixels: grey levels; what an image lacks on each side is black.
        side: of the windows in pixels; None: the images as they are.
    """
    if side is None:
        return pixels
    window = centre(pixels, side)
    down, right = (side - size for size in window.shape[1:3])
    if not down and not right:
        return window
    # margins from the last axis backwards: channels, columns, rows
    return pad(window, (0, 0, right // 2, right - right // 2, down // 2, down - down // 2))
