"""Noise residuals of image batches by three filters of the spatial rich model (Fridrich and Kodovsky 2012).

The three are those that Zhou et al. (CVPR 2018) choose for finding manipulations: second differences along rows, and
two predictions of a pixel from all around it.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

_SQUARE_3 = [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]
_SQUARE_5 = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
_SECOND = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
FILTERS = 3


@cache
def srm_filters(device: torch.device) -> Tensor:
    """Return the filters, float32 [3, 1, 5, 5]; each sums to 0."""
    with torch.inference_mode(False):  # the same tensor serves training too
        kernels = [torch.tensor(rows) / divisor for rows, divisor in ((_SQUARE_3, 4), (_SQUARE_5, 12), (_SECOND, 2))]
        return torch.stack(kernels)[:, None].to(device)


def srm_residuals(images: Tensor) -> Tensor:
    """Return the residuals of every channel: float [N, C, H, W] to [N, 3 C, H, W]; edges are mirrored.

    The residuals of channel c are channels 3 c to 3 c + 2.
    """
    channels = images.shape[1]
    kernels = srm_filters(images.device).to(images.dtype).repeat(channels, 1, 1, 1)
    return conv2d(pad(images, (2, 2, 2, 2), mode="reflect"), kernels, groups=channels)
