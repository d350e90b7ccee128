"""Diversity within a set: mean MS-SSIM over random pairs; the lower, the more the images differ.

MS-SSIM: Wang, Simoncelli and Bovik: Multiscale Structural Similarity for Image Quality Assessment. Asilomar 2003. Mean
over pairs as a measure of mode collapse: Odena, Olah and Shlens: Conditional Image Synthesis with Auxiliary Classifier
GANs. ICML 2017.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from forge.core.compute import derive_seed
from forge.core.errors import InputError
from forge.faces.faceset import Images
from forge.faces.imaging.luma import luminance
from forge.quality.checks import check_images
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, from fine to coarse
WINDOW, SIGMA = 11, 1.5  # Wang's window: 11 x 11 pixels, Gaussian of deviation 1.5
# (K1 L)^2 and (K2 L)^2 of Wang et al. with K1 = .01, K2 = .03, L = 1
C1, C2 = 0.01**2, 0.03**2  # for grey levels in 0..1
_PAIRS_AT_ONCE = 16  # all maps stay in the cache: with 128 it takes four times as long


class Diversity(Result):
    """Likeness of the images of one set to each other: 1 when all are equal; compare with the reals' own."""

    mean: float = Field(description="MS-SSIM over the pairs, 0..1")
    standard_error: float = Field(description="of the mean over the pairs, some of which share an image")
    pairs: int
    scales: int = Field(description="of Wang's five, as many as fit into the image; their weights renormalised")
    n: int


def scales_for(side: int) -> int:
    """Return how many of the five scales fit: the 11 x 11 window must fit into the smallest one.

    Raises:
        InputError: not even one fits.
    """
    if side < WINDOW:
        raise InputError(f"the images have {side} px; MS-SSIM needs at least {WINDOW}")
    return sum(side >> scale >= WINDOW for scale in range(len(WEIGHTS)))  # side after `scale` halvings


def ms_ssim(a: Images, b: Images, *, device: str = "cpu") -> NDArray[np.float64]:
    """MS-SSIM of each pair of images, on luminance.

    Args:
        a: uint8 [n, H, H, 3].
        b: uint8 [n, H, H, 3].
        device: where to compute.

    Returns:
        [n] in 0..1; negative contrasts count as 0.

    Raises:
        InputError: unusable images, unequal n, or smaller than the window.
    """
    check_images({"a": a, "b": b}, equal_n=True, min_images=1)
    count = scales_for(a.shape[1])
    # the weights that are left sum to 1 again, or fewer scales would raise the product
    weights = np.array(WEIGHTS[:count]) / sum(WEIGHTS[:count])
    out = np.empty(len(a))
    for start in range(0, len(a), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        x, y = (torch.from_numpy(luminance(images[some]))[:, None].to(device) for images in (a, b))  # [n, 1, H, W]
        # up to five factors below 1 with small exponents: fp64 keeps their product exact enough
        value = torch.ones(len(x), dtype=torch.float64, device=device)
        for scale, weight in enumerate(weights):
            similarity, contrast = (each.mean(dim=(1, 2, 3)) for each in ssim_map(x, y))  # [n]
            # MS-SSIM = l_M^w_M times the product of cs_j^w_j: luminance counts at the coarsest scale alone
            part = similarity if scale == count - 1 else contrast
            value *= part.double().clamp(min=0) ** float(weight)  # a fractional power of a negative number is NaN
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        out[some] = value.cpu().numpy()
    return out


def ssim_map(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM and its contrast-structure part in every window that lies in the image, each [n, 1, H - 10, W - 10].

    Args:
        x: grey images [n, 1, H, W] in 0..1.
        y: as many others.
    """
    ticks = torch.arange(WINDOW, dtype=torch.float32, device=x.device) - WINDOW // 2  # -5..5
    window = torch.exp(-(ticks**2) / (2 * SIGMA**2))
    window = (window / window.sum()).view(1, 1, 1, WINDOW)
    stacked = torch.cat([x, y, x * x, y * y, x * y])  # [5 n, 1, H, W]: one convolution for all five local means
    # separable; without padding [5 n, 1, H - 10, W - 10]
    smooth = F.conv2d(F.conv2d(stacked, window), window.transpose(2, 3))
    mean_x, mean_y, square_x, square_y, product = smooth.chunk(5)
    variances = square_x - mean_x**2 + square_y - mean_y**2  # E[x^2] - E[x]^2, both images together
    # contrast times structure is one quotient where C3 = C2 / 2, Wang's choice
    contrast = (2 * (product - mean_x * mean_y) + C2) / (variances + C2)
    light = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return light * contrast, contrast


def standard_error(
    values: NDArray[np.float64], first: NDArray[np.integer[Any]], second: NDArray[np.integer[Any]]
) -> float:
    """Compute the standard error of a mean over pairs of images; pairs that share an image are dependent.

    Sum of r_p r_q over all pairs p and q that share an image, p = q included, divided by the squared number of pairs,
    where r are the residuals from the mean (Fafchamps and Gubert: The Formation of Risk Sharing Networks, Journal of
    Development Economics 2007). Never less than what independent pairs would have.

    Args:
        values: of each pair, [P].
        first: number of its first image, [P].
        second: number of its second image, another one, [P].
    """
    residuals = values - values.mean()
    count = int(max(first.max(), second.max())) + 1
    # [n] sums over the pairs of each image; their squares hold r_p r_q once for each image that p and q share, and
    # r_p r_p twice, once for each of its images
    of_image = np.bincount(first, residuals, count) + np.bincount(second, residuals, count)
    alone = float((residuals**2).sum())
    shared = float((of_image**2).sum()) - alone
    return math.sqrt(max(alone, shared)) / len(values)


def diversity(images: Images, *, pairs: int = 1000, seed: int = 0, device: str = "cpu") -> Diversity:
    """Return the mean MS-SSIM over random pairs of different images of one set.

    Args:
        images: uint8 [n, H, H, 3].
        pairs: how many, drawn with replacement.
        seed: of the pairs.
        device: where to compute.

    Raises:
        InputError: unusable images.
    """
    check_images({"images": images})
    rng = np.random.default_rng(derive_seed(seed, "ms-ssim"))
    first = rng.integers(0, len(images), pairs)
    # first plus 1 .. n - 1: never the image itself
    second = (first + rng.integers(1, len(images), pairs)) % len(images)
    values = ms_ssim(images[first], images[second], device=device)
    return Diversity(
        mean=float(values.mean()),
        standard_error=standard_error(values, first, second),
        pairs=pairs,
        scales=scales_for(images.shape[1]),
        n=len(images),
    )


class DiversityMetric(QualityMetric):
    """MS-SSIM within the candidate."""

    id = "ms_ssim"
    title = "MS-SSIM"

    def measure(self, sides: Sides) -> Diversity:
        """See `diversity`."""
        return diversity(sides.candidate, seed=sides.seed, device=sides.device)

    def rows(self, ours: Diversity, floor: Diversity, n: int) -> list[Row]:
        """Return the mean over the pairs."""
        return [Row("MS-SSIM within the set", ours.mean, floor.mean, "as the floor", n)]


class ReferenceDiversityMetric(QualityMetric):
    """MS-SSIM within the reference, which has no line of its own."""

    id = "ms_ssim_reference"
    title = "MS-SSIM of the reference"

    def measure(self, sides: Sides) -> Diversity:
        """See `diversity`."""
        return diversity(sides.reference, seed=sides.seed, device=sides.device)
