"""Soft masks of self-blended images: a convex outline, deformed, shrunk, and blurred at the rim."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from forge.tampering.landmarks import Floats


def soft_mask(
    corners: Floats, erode: Floats, feather: Floats, sigma: Floats, displacement: Floats, side: int
) -> Floats:
    """Return masks of convex outlines: deformed, shrunk, then blurred at the rim.

    Args:
        corners: [N, E, 2] in pixels, clockwise as seen on the screen.
        erode: [N], how far the rim moves inwards, pixels.
        feather: [N, 2], half width of the blur's window along y and x, pixels.
        sigma: [N, 2], standard deviation of the Gaussian inside that window, pixels.
        displacement: [N, side, side, 2], from each pixel to the place it is read from, (x, y) in pixels.
        side: of the frame.

    Returns:
        float64 [N, side, side] in 0..1, exactly 0 farther from the outline than the largest move, the window and a
        pixel; 1 at the highest place.
    """
    ticks = np.arange(side) + 0.5  # centres of the pixels
    x, y = ticks[None, None, :] + displacement[..., 0], ticks[None, :, None] + displacement[..., 1]  # [N, side, side]
    # the signed distance to a convex outline is the largest of the distances to its edges' lines: exact inside and
    # beside an edge, too small only beyond a corner
    depth = np.full((len(corners), side, side), -np.inf)  # beyond the outline; negative inside
    edges = np.roll(corners, -1, axis=1) - corners  # [N, E, 2]
    # y points down and the corners run clockwise, so that (dy, -dx) points outwards
    normals = np.stack([edges[..., 1], -edges[..., 0]], axis=-1) / np.linalg.norm(edges, axis=-1, keepdims=True)
    offsets = (normals * corners).sum(-1)  # [N, E]; a point p is n.p - offset beyond the line
    for edge in range(corners.shape[1]):
        nx, ny, offset = (v[:, edge, None, None] for v in (normals[..., 0], normals[..., 1], offsets))
        np.maximum(depth, nx * x + ny * y - offset, out=depth)
    # a ramp one pixel wide around the shrunk rim, so that the mask does not jump with whole pixels
    hard = np.clip(0.5 - depth - erode[:, None, None], 0.0, 1.0)
    # [N, side, side] each
    rows, columns = (_windowed_gaussian(feather[:, axis], sigma[:, axis], side) for axis in (0, 1))
    soft = rows @ hard @ columns.swapaxes(1, 2)  # separable: down the columns, then along the rows
    # divided by the maximum as the repository does: a small face under a wide blur would else never reach 1
    highest = soft.max((1, 2), keepdims=True)
    return np.clip(soft / np.where(highest > 0, highest, 1.0), 0.0, 1.0)


def elastic_field(field: Floats, reach: Floats, side: int) -> Floats:
    """Return a smooth random move of every pixel, from one value a control point (Gaussian weights that sum to 1).

    Args:
        field: [N, 2, G, G] in -1..1, on a grid over the frame.
        reach: [N], the largest move in pixels; a typical one is a sixth of it.
        side: of the frame.

    Returns:
        [N, side, side, 2], x and y in pixels, each at most `reach`.
    """
    points = field.shape[-1]
    positions = (np.arange(side) + 0.5) / side * (points - 1)  # of the pixels, in steps between control points
    # [side, G]; one step is one standard deviation
    weights = np.exp(-0.5 * (positions[:, None] - np.arange(points)) ** 2)
    # weights that are positive and sum to 1 give averages: no move exceeds the largest value times reach
    weights /= weights.sum(1, keepdims=True)
    # [N, 2, side, side] to [N, side, side, 2]
    return np.asarray(np.moveaxis(weights @ field @ weights.T, 1, -1) * reach[:, None, None, None])


def _windowed_gaussian(half: Floats, sigma: Floats, side: int) -> Floats:
    """Return matrices [N, side, side] that blur a column of pixels with a Gaussian cut off at +-half; rows sum to 1."""
    distance = (np.arange(side)[:, None] - np.arange(side))[None]  # [1, side, side]
    half, sigma = half[:, None, None], sigma[:, None, None]
    # the part of each pixel that lies inside the window, and the Gaussian's mass over it: windows of any width in
    # pixels, also below 1, where a sampled kernel of whole pixels would jump
    low, high = np.maximum(distance - 0.5, -half), np.minimum(distance + 0.5, half)
    weights = np.where(high > low, ndtr(high / sigma) - ndtr(low / sigma), 0.0)
    return np.asarray(weights / weights.sum(-1, keepdims=True))  # normalised, also where the frame cuts the window off
