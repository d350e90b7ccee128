"""Reading an image at other points: affine maps and smooth local displacements, by cubic interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from forge.tampering.landmarks import Floats


def pixel_middles(side: int) -> Floats:
    """Return the middles of the pixels, [side, side, 2] as (x, y) from the corner of the frame."""
    ticks = np.arange(side) + 0.5
    return np.stack(np.meshgrid(ticks, ticks), axis=-1)


def around(used: NDArray[np.bool_], margin: int = 2) -> tuple[slice, slice]:
    """Return the rows and columns of the used pixels [H, W], with some more on every side, within the frame.

    An edit that touches these pixels alone needs nothing of the image beyond: `poisson_blend` looks one pixel around.
    """
    ends = []
    for axis in (0, 1):
        positions = np.flatnonzero(used.any(1 - axis))
        ends.append(slice(max(0, int(positions[0]) - margin), int(positions[-1]) + margin + 1))
    return ends[0], ends[1]


def read_at(image: NDArray[Any], points: Floats) -> Floats:
    """Return an image at points, by cubic interpolation; beyond the frame it is mirrored.

    Args:
        image: [H, H, C].
        points: [h, w, 2], (x, y) in pixels from the corner of the frame.

    Returns:
        float64 [h, w, C]; points at the middles of pixels give the pixels.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float64))[None]
    grid = torch.from_numpy(np.ascontiguousarray(2 * points / len(image) - 1))[None]  # -1..1 from edge to edge
    read = grid_sample(pixels, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return np.asarray(read[0].permute(1, 2, 0).numpy())


def mapped(points: NDArray[Any], affine: Floats) -> Floats:
    """Return points [..., n, 2] under affine maps [..., 3, 2] from (x, y, 1)."""
    return np.asarray(points @ affine[..., :2, :] + affine[..., 2:, :])


def inverse(affine: Floats) -> Floats:
    """Return the inverse of an affine map [3, 2]."""
    linear = np.linalg.inv(affine[:2])
    return np.vstack([linear, -affine[2] @ linear])


def colours_at(image: NDArray[np.uint8], points: Floats) -> Floats:
    """Return the colours of the pixels of points [..., 2], as [..., 3]; the nearest ones for points outside."""
    pixels = np.clip(points, 0, len(image) - 1e-6).astype(np.int64)
    return image[pixels[..., 1], pixels[..., 0]].astype(np.float64)
