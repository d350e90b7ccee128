"""Sliced Wasserstein distance between the patches of two sets of images, level by level of a Laplacian pyramid.

Karras et al.: Progressive Growing of GANs. ICLR 2018, section 5. Positions are drawn for each image, channels are
normalised set by set (so a cast of colour or a change of contrast common to all images is not seen).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from forge.core.compute import derive_seed
from forge.core.errors import InputError
from forge.faces.faceset import Images
from forge.quality.checks import check_images
from forge.quality.metric import QualityMetric, Row, Sides
from forge.quality.result import Result

PATCH = 7  # side of a patch, as in the paper
_IMAGES_AT_ONCE = 128
_DIRECTIONS_AT_ONCE = 64
_CELLS = 2**16  # as many as uint16 can count

Floats = NDArray[np.float32]


class SlicedWasserstein(Result):
    """Distances x 1000, 0 for equal sets; they shrink with n, so compare at equal n only."""

    levels: dict[int, float] = Field(description="side of the pyramid's level in pixels -> distance")
    mean: float = Field(description="over the levels")
    n: int = Field(description="images per side")
    patches: int = Field(description="an image and level")
    directions: int


def sliced_wasserstein(
    candidate: Images,
    reference: Images,
    *,
    seed: int = 0,
    patches: int = 128,
    directions: int = 512,
    smallest: int = 16,
) -> SlicedWasserstein:
    """Return the mean L1 distance between sorted projections of 7 x 7 x 3 patches, times 1000.

    Args:
        candidate: uint8 [n, H, H, 3].
        reference: uint8 [n, H, H, 3].
        seed: of positions (the same ones on both sides) and directions.
        patches: drawn from each image and level.
        directions: on the unit sphere, for each level.
        smallest: the pyramid ends before it becomes smaller than this.

    Raises:
        InputError: unusable images, unequal n, or smaller than a patch.
    """
    check_images({"candidate": candidate, "reference": reference}, equal_n=True)
    side, depth = candidate.shape[1], 0
    if side < PATCH:
        raise InputError(f"the images have {side} px; sliced Wasserstein needs at least {PATCH}")
    levels: dict[int, float] = {}
    while True:
        # one stream a level: deeper levels draw the same whether or not there are finer ones
        rng = np.random.default_rng(derive_seed(seed, "sliced-wasserstein", depth))
        corners = rng.integers(0, side - PATCH + 1, (2, len(candidate), patches))  # [y or x, n, patches]
        axes = rng.standard_normal((directions, PATCH * PATCH * 3)).astype(np.float32)  # [512, 147]
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)  # Gaussian vectors of length 1 are uniform on the sphere
        last = side % 2 == 1 or side // 2 < smallest  # an odd side cannot be halved and doubled back
        # the same places on both sides, [n * patches, 147] each
        a, b = (_descriptors(images, depth, corners, last=last) for images in (candidate, reference))
        levels[side] = 1000 * _mean_distance(a, b, axes)
        if last:
            break
        side, depth = side // 2, depth + 1
    return SlicedWasserstein(
        levels=levels,
        mean=float(np.mean(list(levels.values()))),
        n=len(candidate),
        patches=patches,
        directions=directions,
    )


def _mean_distance(a: Floats, b: Floats, axes: Floats) -> float:
    """Return the mean Wasserstein-1 distance of the projections of [m, 147] descriptors on [k, 147] directions.

    The mean difference of sorted values is the area between the distribution functions. Counting in 65,536 cells gives
    it several times as fast as sorting; rounding averages out (on faces the mean agreed to six digits).
    """
    total = 0.0
    x, y = np.empty((2, _DIRECTIONS_AT_ONCE, len(a)), np.float32)  # reused by every block of directions: [64, m]
    for start in range(0, len(axes), _DIRECTIONS_AT_ONCE):
        some = axes[start : start + _DIRECTIONS_AT_ONCE]
        np.matmul(some, a.T, out=x[: len(some)])  # [k, 147] @ [147, m]
        np.matmul(some, b.T, out=y[: len(some)])
        total += sum(wasserstein_1(*pair) for pair in zip(x[: len(some)], y[: len(some)], strict=True))
    return total / len(axes)


def wasserstein_1(x: Floats, y: Floats) -> float:
    """Wasserstein-1 distance of two samples of one number, both [m], on a grid of 65,536 cells over their range."""
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    if low == high:
        return 0.0
    scale = (_CELLS - 1) / (high - low)  # cells per unit
    # rounded to the nearest cell
    counts = [np.bincount(((values - low) * scale + 0.5).astype(np.uint16), minlength=_CELLS) for values in (x, y)]
    # integral of |F_x - F_y|: the difference of cumulative counts, times the width 1 / scale, over the m values
    return float(np.abs(np.cumsum(counts[0] - counts[1])).sum() / (scale * len(x)))


def _descriptors(images: Images, depth: int, corners: NDArray[np.int64], *, last: bool) -> Floats:
    """Patches of one level of all images, [n * patches, 147], each channel with mean 0 and deviation 1."""
    count, patches = corners.shape[1:]
    out = np.empty((count, patches, 3, PATCH, PATCH), np.float32)
    for start in range(0, count, _IMAGES_AT_ONCE):
        some = slice(start, start + _IMAGES_AT_ONCE)
        level = images[some].astype(np.float32)
        for _ in range(depth):  # Gaussian level
            level = shrink(level)
        if not last:
            level = level - enlarge(shrink(level))  # Laplacian level: what the next coarser one does not hold
        windows = sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))  # a view, [n, H - 6, W - 6, 3, 7, 7]
        out[some] = windows[np.arange(len(level))[:, None], corners[0, some], corners[1, some]]  # [n, patches, 3, 7, 7]
    # of each channel over the whole set, float64 sums
    mean = out.mean(axis=(0, 1, 3, 4), keepdims=True, dtype=np.float64).astype(np.float32)
    out -= mean
    # einsum squares and sums without a second array of this size
    deviation = np.sqrt(np.einsum("npcyx,npcyx->c", out, out, dtype=np.float64) / (out.size / 3))
    # a constant channel stays 0 instead of becoming NaN
    out /= np.where(deviation > 0, deviation, 1).astype(np.float32)[:, None, None]
    return out.reshape(count * patches, -1)


def _smooth(images: Floats, axis: int) -> Floats:
    """Binomial filter (1, 4, 6, 4, 1) / 16 along one axis, mirrored at the edges."""
    pad = [(0, 0)] * 4
    pad[axis] = (2, 2)
    padded = np.moveaxis(np.pad(images, pad, mode="reflect"), axis, 0)
    out = padded[:-4] + padded[4:]
    out += 4 * (padded[1:-3] + padded[3:-1])
    out += 6 * padded[2:-2]
    out /= 16
    return np.moveaxis(out, 0, axis)


def shrink(images: Floats) -> Floats:
    """Return the next level of the Gaussian pyramid: [n, H, H, 3] to [n, H/2, H/2, 3] (Burt and Adelson 1983)."""
    rows = _smooth(images, 1)[:, ::2]  # every second row: smoothed before it is dropped, or fine detail would alias
    return _smooth(rows, 2)[:, :, ::2]


def enlarge(images: Floats) -> Floats:
    """Return a level of the Gaussian pyramid brought back to twice its size: zeros between, smoothed, times four."""
    n, h, w, c = images.shape
    # three of four values are zeros, hence the factor four; even sides keep data on even places also when mirrored
    rows = np.zeros((n, 2 * h, w, c), np.float32)
    rows[:, ::2] = images
    rows = _smooth(rows, 1)
    both = np.zeros((n, 2 * h, 2 * w, c), np.float32)
    both[:, :, ::2] = rows
    return 4 * _smooth(both, 2)


class SlicedWassersteinMetric(QualityMetric):
    """Sliced Wasserstein distance of patches."""

    id = "sliced_wasserstein"
    title = "sliced Wasserstein"

    def measure(self, sides: Sides) -> SlicedWasserstein:
        """See `sliced_wasserstein`."""
        return sliced_wasserstein(sides.candidate, sides.reference, seed=sides.seed)

    def rows(self, ours: SlicedWasserstein, floor: SlicedWasserstein, n: int) -> list[Row]:
        """Return the mean over the levels."""
        return [Row("sliced Wasserstein x 1000", ours.mean, floor.mean, "lower", n)]
