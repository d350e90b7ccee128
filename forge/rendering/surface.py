"""Flat map of a head's surface: half sphere above the brow, cylinder below it.

A head is star-shaped around its vertical axis, so one radius for every (azimuth, height) describes skull, face, neck
and hair. Head coordinates are x to the person's left as the camera sees right, y up, z to the front; the unit is half
a head's height, about 11.5 cm. y = 0 lies at the brow. Above it the radius is measured from the origin (no
singularity on the crown), below it from the vertical axis (chin and neck stay single-valued).

Columns are s = sin(azimuth / 2), rows are V = y below the brow and V = CROWN·tan(elevation / 2) above it. Both need
only square roots to invert, and both spend most texels on the face.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from forge.rendering.noise import Array

ROWS, COLS = 176, 184
CROWN, BOTTOM = 1.2, -1.8


class Axes(NamedTuple):
    """Directions of the map: azimuth [COLS] in radians, V [ROWS], and the unit direction of each texel."""

    azimuth: Array
    sin: Array
    cos: Array
    V: Array
    flat: Array  # [ROWS, 1] cosine of the elevation above the brow, 1 below
    rise: Array  # [ROWS, 1] sine of the elevation above the brow, 0 below
    level: Array  # [ROWS, 1] y below the brow, 0 above


@lru_cache(maxsize=1)
def axes() -> Axes:
    """Return the fixed axes of the map."""
    s = np.linspace(-1, 1, COLS)  # sin(azimuth / 2)
    azimuth = 2 * np.arcsin(s)  # -pi..pi, columns densest at the front
    V = np.linspace(CROWN, BOTTOM, ROWS)
    elevation = 2 * np.arctan(np.maximum(V, 0) / CROWN)[:, None]  # V = CROWN tan(elevation / 2)
    parts = (
        azimuth,
        np.sin(azimuth),
        np.cos(azimuth),
        V,
        np.cos(elevation),
        np.sin(elevation),
        np.minimum(V, 0)[:, None],
    )
    return Axes(*(part.astype(np.float32) for part in parts))


Box = tuple[slice, slice]
EVERYWHERE: Box = (slice(None), slice(None))


def positions(radius: Array, at: Box = EVERYWHERE) -> Array:
    """Head coordinates (x, y, z) [3, rows, cols] of a rectangle of the surface with that radius [ROWS, COLS]."""
    ax = axes()
    rows, cols = at
    radius = radius[at]
    p = np.empty((3, *radius.shape), np.float32)
    out = radius * ax.flat[rows]  # horizontal part of the radius
    np.multiply(out, ax.sin[cols], out=p[0])
    np.multiply(radius, ax.rise[rows], out=p[1])
    p[1] += ax.level[rows]
    np.multiply(out, ax.cos[cols], out=p[2])
    return p


def normals(radius: Array, at: Box = EVERYWHERE) -> Array:
    """Outward unit normals [3, rows, cols] in a rectangle of the map: the cross product of two central differences.

    On the map's own edge the neighbour's normal is repeated, on a rectangle's inner edge too.
    """
    p = positions(radius, at)
    # [3, rows - 2, cols - 2]: p(j + 1) - p(j - 1) along both axes
    across = p[:, 1:-1, 2:] - p[:, 1:-1, :-2]
    down = p[:, 2:, 1:-1] - p[:, :-2, 1:-1]
    n = np.empty_like(p)
    core = n[:, 1:-1, 1:-1]
    # components of down x across, in place
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(down[j], across[k], out=core[i])
        core[i] -= down[k] * across[j]
    core *= 1 / np.sqrt(core[0] * core[0] + core[1] * core[1] + core[2] * core[2] + np.float32(1e-12))
    n[:, 0], n[:, -1] = n[:, 1], n[:, -2]
    n[:, :, 0], n[:, :, -1] = n[:, :, 1], n[:, :, -2]
    return n


def locate(x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Return the map positions of points in head coordinates.

    Args:
        x: coordinates to the right, any shape [...].
        y: upwards, like x.
        z: to the front, like x.

    Returns:
        Map coordinates [..., 2] in [-1, 1] as torch's grid_sample takes them (column, row), and the points' own
        radius [...], to be compared with the surface's.
    """
    axial2 = x * x + z * z
    axial = np.sqrt(axial2)
    above = np.maximum(y, 0)
    radius = np.sqrt(axial2 + above * above)
    grid = np.empty((*x.shape, 2), np.float32)
    # sin(azimuth / 2) = x / sqrt(2 r (r + z)) with r = sqrt(x^2 + z^2): a half-angle formula without a call of atan
    grid[..., 0] = x / np.sqrt(2 * (axial2 + axial * z) + np.float32(1e-6))
    # below the brow the first term vanishes, above it the second
    # tan(elevation / 2) = sin / (1 + cos) = above / (radius + axial)
    V = CROWN * above / (radius + axial + np.float32(1e-6)) + np.minimum(y, 0)
    # V from CROWN..BOTTOM to -1..1, downwards
    grid[..., 1] = np.minimum((CROWN - V) * np.float32(2 / (CROWN - BOTTOM)) - 1, 1)
    return grid, radius


def sample(maps: Array, grid: Array) -> Array:
    """Bilinear look-up of maps [C, rows, cols] at grid [..., 2]; returns [C, ...]. Beyond the edge the edge counts."""
    flat = torch.from_numpy(np.ascontiguousarray(grid).reshape(1, 1, -1, 2))
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(maps)[None], flat, mode="bilinear", padding_mode="border", align_corners=True
    )
    result: Array = sampled.numpy().reshape(maps.shape[0], *grid.shape[:-1])
    return result


def sample_near(radius: Array, grid: Array) -> Array:
    """Return the texel of [ROWS, COLS] nearest to grid [..., 2]: rougher than `sample`, and a third of its price."""
    # + half: rounds to the nearest texel
    col = (grid[..., 0] * np.float32((COLS - 1) / 2) + np.float32(COLS / 2)).astype(np.int32)
    row = (grid[..., 1] * np.float32((ROWS - 1) / 2) + np.float32(ROWS / 2)).astype(np.int32)
    result: Array = radius.ravel().take(row * COLS + col, mode="clip")
    return result


def _column(x: float) -> int:
    """Return the column where a narrow head's front is at x."""
    # as if the head's radius were 0.6
    return round((math.sin(math.asin(max(-1.0, min(1.0, x / 0.6))) / 2) + 1) * (COLS - 1) / 2)


def _row(y: float) -> int:
    """Return the row at height y, about (exact below the brow)."""
    return round((CROWN - (0.95 * y if y > 0 else y)) * (ROWS - 1) / (CROWN - BOTTOM))


def box(x0: float, x1: float, y0: float, y1: float) -> Box:
    """Return rows and columns of the map's front that hold x0..x1, y0..y1 on any head (generous)."""
    # on a wider head the same x lies nearer to the middle column: as far as at 0.7 x of the narrow one
    left, right = _column(min(x0, x0 * 0.7)), _column(max(x1, x1 * 0.7))
    return slice(max(_row(y1) - 1, 0), min(_row(y0) + 2, ROWS)), slice(left, right + 1)


def mirrored(at: Box) -> Box:
    """Return the rectangle on the other half of the face; its columns run the other way."""
    return at[0], slice(COLS - at[1].stop, COLS - at[1].start)
