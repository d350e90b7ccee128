"""Windows of image batches."""

from __future__ import annotations

from torch import Tensor


def centre(pixels: Tensor, side: int) -> Tensor:
    """Return the middle of images [N, H, W, C], as torchvision's CenterCrop cuts it; smaller sides stay as they are."""
    height, width = pixels.shape[1:3]
    # torchvision rounds half to even, as Python does
    top, left = (round(max(0, size - side) / 2) for size in (height, width))
    return pixels[:, top : top + min(side, height), left : left + min(side, width)]
