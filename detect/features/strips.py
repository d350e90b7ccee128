"""Horizontal strips of an image, top to bottom, as frequencies: pure functions of image batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from detect.features.dct import cosine_basis

ROUNDING = 1 / 12  # grey levels squared: the power that rounding to 8 bits leaves in every coefficient


def strip_bands(images: Tensor, *, height: int, step: int, bands: tuple[int, int]) -> Tensor:
    """Return the log power of each strip's two-dimensional DCT in bands of frequencies.

    Each strip [height, W] of each channel gets its orthonormal DCT-II without the mean; squares are averaged over the
    channels and over bands of neighbouring coefficients; 1/12 is added before the logarithm.

    Args:
        images: uint8 [N, H, W, 3], H at least `height`.
        height: of a strip in pixels.
        step: from one strip's top to the next.
        bands: number of vertical bands (at most `height`) and of horizontal ones.

    Returns:
        float32 [N, T, bands[0] bands[1]], T = (H - height) // step + 1, from top to bottom; vertical bands are the
        outer index, low frequencies first.
    """
    channels = images.permute(0, 3, 1, 2).float()
    # the transform along rows is the same for all strips that share a row, so it comes before cutting
    across = channels @ cosine_basis(channels.shape[-1], device=channels.device).T
    strips = across.unfold(2, height, step)  # [N, 3, T, W, height]
    power = (strips @ cosine_basis(height, device=channels.device).T).square_()
    power[..., 0, 0] = 0  # the mean: brightness is no texture
    pooled = adaptive_avg_pool2d(power.mean(1).transpose(-1, -2), bands)
    return torch.log(pooled + ROUNDING).flatten(2)
