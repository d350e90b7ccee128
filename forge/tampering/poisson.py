"""Filling and blending by partial differential equations: harmonic, biharmonic, Poisson (Perez et al. 2003).

Equations stand for pixels alone: a pixel has its two to four neighbours in the image, at an edge of the image nothing
flows out. The matrices are symmetric and positive definite, and banded where pixels are numbered along the shorter side
of the region; LAPACK's banded Cholesky solves them exactly, without iterations. Pixels outside of the region stay as
they are, to the bit, and nothing moves: the region may touch the edge of the image and have holes and islands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import solveh_banded

from forge.core.errors import InputError

Floats = NDArray[np.float64]
_DOWN, _RIGHT = 0, 1  # axes


def check_mask(mask: NDArray[np.bool_], image: NDArray[Any]) -> None:
    """Refuse a mask that there is nothing to do with.

    Raises:
        InputError: it has another size than the image, is empty, or covers all.
    """
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"a mask of {' x '.join(map(str, mask.shape[::-1]))} px does not fit an image of "
            f"{image.shape[1]} x {image.shape[0]} px"
        )
    if not mask.any():
        raise InputError("the mask is empty: nothing would be altered; mark the pixels to alter")
    if mask.all():
        raise InputError("the mask covers all of the image; leave pixels to go by")


def harmonic_fill(image: NDArray[Any], mask: NDArray[np.bool_]) -> Floats:
    """Fill a region with the solution of Laplace's equation, the smoothest one that meets its rim.

    Args:
        image: [H, W, C].
        mask: bool [H, W], the region.

    Returns:
        float64 [H, W, C]; equal to the image outside of the mask.

    Raises:
        InputError: the mask is empty, covers all, or has another size.
    """
    check_mask(mask, image)
    return _solved(image, mask, np.zeros((int(mask.sum()), image.shape[2])))


def poisson_blend(
    target: NDArray[Any], source: NDArray[Any], mask: NDArray[np.bool_], *, mixed: bool = False
) -> Floats:
    """Lay the gradients of one image into another and keep the other one's values around them (seamless cloning).

    Args:
        target: [H, W, C], the image that is changed.
        source: [H, W, C], whose gradients are wanted; not moved.
        mask: bool [H, W], the region.
        mixed: take the larger gradient of both at each pair of pixels and channel.

    Returns:
        float64 [H, W, C]; equal to the target outside of the mask.

    Raises:
        InputError: the mask is empty, covers all, or has another size.
    """
    check_mask(mask, target)
    source, old = source.astype(np.float64), target.astype(np.float64)
    outflow = np.zeros(old.shape)  # sum over a pixel's neighbours of its value less theirs, as it should be
    for axis in (_DOWN, _RIGHT):
        wanted = np.diff(source, axis=axis)
        if mixed:
            other = np.diff(old, axis=axis)
            wanted = np.where(abs(other) > abs(wanted), other, wanted)
        # a step belongs to the pixel before it, with the other sign, and to the one after it
        before, after = _sides(axis)
        outflow[before] -= wanted
        outflow[after] += wanted
    return _solved(target, mask, outflow[mask])


def _solved(image: NDArray[Any], mask: NDArray[np.bool_], outflow: Floats) -> Floats:
    """Solve for the masked pixels: degree x value - the neighbours' values = outflow [n, C]."""
    if _wide(mask):
        return np.asarray(_solved(image.swapaxes(0, 1), mask.T, outflow[_turned(mask)]).swapaxes(0, 1))
    filled = image.astype(np.float64)
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(len(outflow))
    right_side = outflow.copy()
    degree = np.zeros(mask.shape)
    pairs = []  # numbers of neighbours that are both unknown, the smaller one first
    for axis in (_DOWN, _RIGHT):
        before, after = _sides(axis)
        degree[before] += 1
        degree[after] += 1
        both = mask[before] & mask[after]
        pairs.append((number[before][both], number[after][both]))
        # a known neighbour's value moves to the right side
        for unknown, known in ((before, after), (after, before)):
            rim = mask[unknown] & ~mask[known]
            # each pixel occurs once in a direction: plain addition is enough
            right_side[number[unknown][rim]] += filled[known][rim]
    width = max((int((high - low).max()) for low, high in pairs if len(low)), default=0)
    bands = np.zeros((width + 1, len(outflow)))
    bands[0] = degree[mask]
    for low, high in pairs:
        bands[high - low, low] = -1
    filled[mask] = solveh_banded(bands, right_side, lower=True, overwrite_ab=True, overwrite_b=True, check_finite=False)
    return filled


def biharmonic_fill(image: NDArray[Any], mask: NDArray[np.bool_]) -> Floats:
    """Fill a region so that the sum of squared Laplacians is least: it meets values and slopes of its rim.

    Args:
        image: [H, W, C].
        mask: bool [H, W], the region.

    Returns:
        float64 [H, W, C]; equal to the image outside of the mask. Values may leave the range of the image's.

    Raises:
        InputError: the mask is empty, covers all, or has another size.
    """
    check_mask(mask, image)
    if _wide(mask):
        return np.asarray(biharmonic_fill(image.swapaxes(0, 1), mask.T).swapaxes(0, 1))
    filled, side = image.astype(np.float64), mask.shape
    # only the part of the image that the equations reach
    rows, columns = (_around(np.asarray(mask.any(1 - axis)), side[axis]) for axis in (_DOWN, _RIGHT))
    part, values = mask[rows, columns], filled[rows, columns]
    laplacian = _laplacian(part.shape, _edges(rows, columns, side))
    unknown = part.ravel()
    # pixels whose Laplacian depends on an unknown one
    touched = np.flatnonzero(abs(laplacian) @ unknown)
    of_unknown, of_known = laplacian[touched][:, unknown], laplacian[touched][:, ~unknown]
    normal = sparse.coo_array(of_unknown.T @ of_unknown)
    right_side = -of_unknown.T @ (of_known @ values.reshape(len(unknown), -1)[~unknown])
    lower = normal.row >= normal.col
    distance = (normal.row - normal.col)[lower]
    bands = np.zeros((int(distance.max()) + 1, normal.shape[0]))
    bands[distance, normal.col[lower]] = normal.data[lower]
    solved = solveh_banded(bands, right_side, lower=True, overwrite_ab=True, overwrite_b=True, check_finite=False)
    filled[mask] = solved
    return filled


def _wide(mask: NDArray[np.bool_]) -> bool:
    """Whether a region is wider than high: pixels are then numbered down its columns, for narrower bands."""
    heights, widths = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return bool(widths[-1] - widths[0] > heights[-1] - heights[0])


def _turned(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the numbers of masked pixels, counted along rows, in the order in which columns count them."""
    number = np.zeros(mask.shape, np.int64)
    number[mask] = np.arange(int(mask.sum()))
    return np.asarray(number.T[mask.T])


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the pixels that have a neighbour after them along an axis, and these neighbours."""
    whole, before, after = slice(None), slice(None, -1), slice(1, None)
    return ((before,), (after,)) if axis == _DOWN else ((whole, before), (whole, after))


def _around(used: NDArray[np.bool_], size: int) -> slice:
    """Return the range of used positions with two more on either side, within the image."""
    positions = np.flatnonzero(used)
    return slice(max(0, int(positions[0]) - 2), min(size, int(positions[-1]) + 3))


def _edges(rows: slice, columns: slice, size: tuple[int, ...]) -> tuple[bool, bool, bool, bool]:
    """Whether a part of an image ends at the image's edge: above, below, left, right."""
    return rows.start == 0, rows.stop == size[0], columns.start == 0, columns.stop == size[1]


def _laplacian(shape: tuple[int, ...], edges: tuple[bool, bool, bool, bool]) -> sparse.csr_array:
    """Return degree less neighbours of every pixel of a part of an image, as a matrix.

    Pixels at a border of the part that is no edge of the image get the degree that they have in the image; their rows
    lack neighbours and are read nowhere, since they lie two pixels off the region.
    """
    height, width = shape
    steps = [
        sparse.diags_array([np.ones(count - 1), np.ones(count - 1)], offsets=[1, -1], shape=(count, count))
        for count in shape
    ]
    neighbours = sparse.kron(steps[0], sparse.eye_array(width)) + sparse.kron(sparse.eye_array(height), steps[1])
    degree = np.full(shape, 4.0)
    above, below, left, right = edges
    degree[0] -= above
    degree[-1] -= below
    degree[:, 0] -= left
    degree[:, -1] -= right
    return sparse.csr_array(sparse.diags_array(degree.ravel()) - neighbours)
