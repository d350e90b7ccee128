"""Discrete cosine transform of whole images: pure functions of image batches."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

EPSILON = 1e-12  # Frank 2020's; keeps the logarithm of an exact zero finite


def cosine_basis(size: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return the orthonormal DCT-II as a matrix.

    C[k, n] = a(k) cos(pi (2n + 1) k / (2N)), a(0) = sqrt(1/N), a(k > 0) = sqrt(2/N); C @ C.T is the identity.

    Args:
        size: N, pixels along one side.
        device: where the matrix is made.

    Returns:
        float32 [N, N], computed in float64.
    """
    k = torch.arange(size, dtype=torch.float64)[:, None]
    n = torch.arange(size, dtype=torch.float64)[None, :]
    basis = math.sqrt(2 / size) * torch.cos(torch.pi * (2 * n + 1) * k / (2 * size))
    basis[0] /= math.sqrt(2)  # a(0): the constant row has twice the squared norm of a cosine
    return basis.float().to(device)


def dct2(images: Tensor) -> Tensor:
    """Two-dimensional orthonormal DCT-II of each channel, as two matrix products.

    Args:
        images: uint8 or float [N, H, W, 3], any scale.

    Returns:
        float32 [N, 3, H, W]; coefficient [0, 0] is the mean times sqrt(H W).
    """
    channels = images.permute(0, 3, 1, 2).float()
    rows = cosine_basis(channels.shape[-2], device=channels.device)
    columns = cosine_basis(channels.shape[-1], device=channels.device)
    # the transform is separable: C_H X C_W^T
    return rows @ channels @ columns.T


def log_dct(images: Tensor) -> Tensor:
    """Return the logarithm of the absolute DCT coefficients: log(|c| + 1e-12), Frank et al. 2020, section 3.

    Args:
        images: uint8 [N, H, W, 3], on the scale 0 to 255 (as in RUB-SysSec/GANDCTAnalysis).

    Returns:
        float32 [N, 3 H W], channel by channel, rows of coefficients from low to high frequency.
    """
    return dct2(images).abs_().add_(EPSILON).log_().flatten(1)


def log_dct_bands(images: Tensor, *, bands: int) -> Tensor:
    """Return the means of `log_dct` over a grid of bands of neighbouring frequencies.

    Args:
        images: uint8 [N, H, W, 3].
        bands: along each direction, at most H and W; they share coefficients where the size is no multiple of them.

    Returns:
        float32 [N, 3 bands^2], channel by channel, rows of bands from low to high frequency.
    """
    # [N, 3, H, W]; the mean is taken after the logarithm, so that no single coefficient decides a band
    logarithms = log_dct(images).view(images.shape[0], 3, *images.shape[1:3])
    return adaptive_avg_pool2d(logarithms, bands).flatten(1)
