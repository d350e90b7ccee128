"""Trivial cues of images: mean colour, contrast, sharpness."""

from __future__ import annotations

import torch
from torch import Tensor

from forge.faces.imaging.luma import LUMA

FLATTEST = 0.01  # grey levels squared; keeps the logarithm finite where an image is one colour


def trivial_cues(images: Tensor) -> Tensor:
    """Return the mean of each channel, standard deviation of each channel, sharpness.

    Sharpness is log(variance + 0.01) of the Laplacian of the grey image: the sum of a pixel's four neighbours minus
    four times the pixel, without the border.

    Args:
        images: uint8 [N, H, W, 3], H and W at least 3.

    Returns:
        float64 [N, 7], the first six in grey levels 0..255.
    """
    pixels = images.double()
    grey = (pixels * pixels.new_tensor(LUMA)).sum(-1)
    neighbours = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    # second derivative: large at edges, small in blurred images; its variance is the usual measure of focus
    laplacian = neighbours - 4 * grey[:, 1:-1, 1:-1]
    sharpness = torch.log(laplacian.flatten(1).var(1, correction=0) + FLATTEST)
    spread = pixels.flatten(1, 2).std(1, correction=0)
    return torch.cat([pixels.mean((1, 2)), spread, sharpness[:, None]], dim=1)
