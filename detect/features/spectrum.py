"""Fourier spectrum of whole images and its mean over directions: pure functions of image batches.

`forge.quality.spectrum` has the azimuthal curve of a whole set: mean power under a Kaiser window, which shows how much
detail a generator makes. Here each image has its own curve of logarithms without a window, a feature to classify by.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from forge.faces.imaging.luma import LUMA

EPSILON = 1e-8  # Durall 2019's; keeps the logarithm of an exact zero finite
FLOOR = 0.01  # grey levels, below the 0.29 that rounding to 8 bits leaves at every frequency


def grey(images: Tensor) -> Tensor:
    """Return grey images on the scale of the input.

    Args:
        images: uint8 or float [N, H, W, 3].

    Returns:
        float64 [N, H, W]; not rounded.
    """
    # a weighted sum and not a matrix product, whose rounding would depend on the number of images
    return (images.double() * images.new_tensor(LUMA, dtype=torch.float64)).sum(-1)


def magnitude_spectrum(images: Tensor) -> Tensor:
    """Return the absolute values of the orthonormal two-dimensional Fourier transform of the grey images.

    Args:
        images: uint8 [N, H, W, 3].

    Returns:
        float64 [N, H, W] in grey levels, frequency zero at [H // 2, W // 2]. The squares, the power, sum to the squares
        of the pixels; noise of standard deviation s has the power s^2 everywhere.
    """
    centred: Tensor = torch.fft.fftshift(torch.fft.fft2(grey(images), norm="ortho").abs(), dim=(-2, -1))
    return centred


def azimuthal_mean(spectrum: Tensor) -> Tensor:
    """Return the mean of a centred spectrum over all frequencies whose distance from zero has the same integer part.

    Args:
        spectrum: float [N, H, W], frequency zero at [H // 2, W // 2].

    Returns:
        [N, R + 1] of the same type, from frequency zero to the corner, R = floor(hypot(H // 2, W // 2)).
    """
    rings, sizes = _rings(*spectrum.shape[-2:], spectrum.device)
    # [rings, N]: one row of sums per ring; `shape` and not `len`, which would fix the number of images in an export
    sums = spectrum.new_zeros(len(sizes), spectrum.shape[0])
    sums.index_add_(0, rings, spectrum.flatten(1).T)
    return (sums / sizes[:, None]).T


def azimuthal(images: Tensor, *, bins: int = 80) -> Tensor:
    """Return the feature of Durall et al. 2019, "Unmasking DeepFakes with simple Features", section 3.

    Grey, 20 ln(|F| + 1e-8), mean over each integer radius, cubic interpolation to `bins` values from the lowest to the
    highest frequency, division by the first. Departs from github.com/cc-hpc-itwm/DeepFakeDetection in two places: its
    circles are centred half a pixel beside frequency zero, which mixes neighbouring radii, and it drops the last
    circle, which holds the checkerboard. In both the mean brightness (radius 0) is left out.

    Args:
        images: uint8 [N, H, H, 3], H at least 8.
        bins: values per image.

    Returns:
        float32 [N, bins]; the first value is 1.
    """
    side = images.shape[1]
    magnitude = magnitude_spectrum(images) * side  # of the transform that is not normalised, as published
    curve = azimuthal_mean(20 * (magnitude + EPSILON).log())[:, 1:]
    curve = curve @ _interpolation(curve.shape[1], bins, curve.device)  # linear in the values, hence a matrix
    first = curve[:, :1]
    # the logarithm of a magnitude of exactly 1 is 0
    return (curve / torch.where(first.abs() < EPSILON, EPSILON, first)).float()


def mean_log_spectrum(batches: Iterable[Tensor]) -> Tensor:
    """Return the mean over a set of the logarithm of each image's spectrum; memory does not grow with the set.

    The difference of two such maps, forged minus real, shows at which frequencies a generator betrays itself.

    Args:
        batches: uint8 [N, H, W, 3] each, at least one image in all, one size.

    Returns:
        float64 [H, W], mean of 20 log10(|F| + 0.01) in decibels over one grey level, frequency zero at
        [H // 2, W // 2].

    Raises:
        ValueError: no images.
    """
    total, count = torch.zeros(()), 0
    for images in batches:
        # the logarithm per image, before the mean: bright images would dominate a mean of powers
        logarithms = 20 * (magnitude_spectrum(images) + FLOOR).log10()
        total, count = logarithms.sum(0) + total.to(logarithms.device), count + len(images)
    if not count:
        raise ValueError("the mean spectrum of no images is not defined")
    return total / count


@functools.cache
@torch.inference_mode(mode=False)  # what is kept here must also serve where gradients are asked for
def _rings(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the ring of each frequency, int64 [H W], and the number of frequencies in each ring, int64 [R + 1]."""
    # frequency zero lies at [H // 2, W // 2] after fftshift
    y, x = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    rings = torch.hypot(y[:, None].double(), x[None, :].double()).long().flatten()
    return rings.to(device), torch.bincount(rings).to(device)


@functools.cache
@torch.inference_mode(mode=False)
def _interpolation(points: int, bins: int, device: torch.device) -> Tensor:
    """Return the not-a-knot cubic spline through `points` even steps, read at `bins` even steps, as a matrix."""
    # a spline is linear in its data: the splines through the unit vectors are the columns of its matrix
    spline = make_interp_spline(np.linspace(0, 1, points), np.eye(points), k=3)
    return torch.from_numpy(np.asarray(spline(np.linspace(0, 1, bins))).T.copy()).to(device)
