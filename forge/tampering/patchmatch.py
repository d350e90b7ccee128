"""Filling a region with patches of the rest of the image: PatchMatch (Barnes et al. 2009) under Wexler et al. (2007).

From coarse to fine, and several times a level: every patch that overlaps the region looks for the most similar patch
outside of it, and every pixel of the region becomes the weighted mean of what these patches hold at its pixel. The
search draws offsets at random, passes good ones on to neighbours, and tries others around them at halving distances;
all patches at once, so that neighbours pass on the offsets of the round before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from forge.tampering.poisson import Floats, check_mask, harmonic_fill

Patches = NDArray[np.float32]
Indices = NDArray[np.int64]

_SMALLEST = 16  # side of the coarsest level in pixels, at least
_PASSES = 2  # of propagation and random search, each time patches are looked for
_ROUNDS = 3  # searches and votes a level
_STEPS = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])


def patchmatch_fill(
    image: NDArray[Any], mask: NDArray[np.bool_], source: np.random.Generator, *, patch: int = 5
) -> Floats:
    """Fill a region of an image.

    Args:
        image: [H, W, C], 0..255.
        mask: bool [H, W], the region.
        source: of random numbers.
        patch: side of a patch in pixels, odd.

    Returns:
        float64 [H, W, C]; equal to the image outside of the mask. Where no whole patch lies outside of the region, the
        harmonic fill.

    Raises:
        InputError: the mask is empty, covers all, or has another size.
    """
    check_mask(mask, image)
    levels = _pyramid(image.astype(np.float64), mask, patch)
    filled, nearest = harmonic_fill(levels[-1].image, levels[-1].mask), None
    for number, level in enumerate(reversed(levels)):
        if number:
            enlarged = filled.repeat(2, 0).repeat(2, 1)[: level.mask.shape[0], : level.mask.shape[1]]
            filled = np.where(level.mask[..., None], enlarged, level.image)
        if level.sources.any():
            search = _Search(level, patch, source)
            filled, nearest = search.fill(filled, nearest)
    return filled


@dataclass(frozen=True)
class _Level:
    """An image at one scale.

    Attributes:
        image: [H, W, C].
        mask: bool [H, W], the region.
        sources: bool [H, W], middles of patches that lie outside of the region and inside the image.
    """

    image: Floats
    mask: NDArray[np.bool_]
    sources: NDArray[np.bool_]


def _level(image: Floats, mask: NDArray[np.bool_], patch: int) -> _Level:
    return _Level(image, mask, binary_erosion(~mask, np.ones((patch, patch)), border_value=0))


def _pyramid(image: Floats, mask: NDArray[np.bool_], patch: int) -> list[_Level]:
    """Return the levels, the finest first; a coarse pixel is the mean of its known ones."""
    levels = [_level(image, mask, patch)]
    while min(mask.shape) >= 2 * _SMALLEST and min(mask.shape) % 2 == 0 and max(mask.shape) % 2 == 0:
        known = (~mask)[..., None].astype(np.float64)
        height, width = (side // 2 for side in mask.shape)
        # [h, 2, w, 2, C]
        sums = (image * known).reshape(height, 2, width, 2, -1).sum((1, 3))
        counts = known.reshape(height, 2, width, 2, 1).sum((1, 3))
        image, mask = sums / np.maximum(counts, 1), counts[..., 0] == 0
        if not mask.any():
            break  # the region is thinner than two pixels here
        levels.append(_level(image, mask, patch))
    return levels


class _Search:
    """Nearest patches of one level.

    Args:
        level: the image at that scale.
        patch: side of a patch.
        source: of random numbers.
    """

    def __init__(self, level: _Level, patch: int, source: np.random.Generator) -> None:
        self.level, self.half, self.source = level, patch // 2, source
        self.size = np.array(level.mask.shape)
        # patches that overlap the region, [n, 2]: row and column of their middle
        overlap = binary_dilation(level.mask, np.ones((patch, patch)))
        self.targets: Indices = np.argwhere(overlap)
        self.number = np.full(level.mask.shape, -1)
        self.number[overlap] = np.arange(len(self.targets))
        self.choices: Indices = np.argwhere(level.sources)

    def fill(self, filled: Floats, coarse: tuple[Indices, Indices] | None) -> tuple[Floats, tuple[Indices, Indices]]:
        """Return the filled image, and the middles [H, W] (row, column) of the patches that were used.

        Args:
            filled: the image with a first guess in the region, [H, W, C].
            coarse: the middles that the coarser level used.
        """
        origins = self._begin(coarse)
        for _ in range(_ROUNDS):
            patches = self._patches(filled)
            origins, distance = self._improve(origins, patches)
            filled = self._vote(filled, origins, distance)
        used = np.zeros((2, *self.level.mask.shape), np.int64)
        used[:, self.targets[:, 0], self.targets[:, 1]] = origins.T
        return filled, (used[0], used[1])

    def _begin(self, coarse: tuple[Indices, Indices] | None) -> Indices:
        """Return a first source of each target [n, 2]: that of the coarser level, or any."""
        drawn = self.choices[self.source.integers(len(self.choices), size=len(self.targets))]
        if coarse is None:
            return drawn
        row, column = np.minimum(self.targets // 2, np.array(coarse[0].shape) - 1).T
        middles = np.column_stack([coarse[0][row, column], coarse[1][row, column]])
        # twice the offset of the coarse patch; 0 where the coarse target did not overlap
        known = np.asarray(middles.any(1))
        offset = 2 * (middles - np.column_stack([row, column]))
        candidate = self.targets + offset
        usable = known & self._usable(candidate)
        return np.where(usable[:, None], candidate, drawn)

    def _usable(self, middles: Indices) -> NDArray[np.bool_]:
        inside = np.all((middles >= 0) & (middles < self.size), axis=1)
        row, column = np.where(inside[:, None], middles, 0).T
        return np.asarray(inside & self.level.sources[row, column])

    def _patches(self, image: Floats) -> Patches:
        """Return all patches as rows, [H, W, C * patch * patch]; edges of the image are repeated."""
        padded = np.pad(image.astype(np.float32), ((self.half, self.half), (self.half, self.half), (0, 0)), mode="edge")
        windows = sliding_window_view(padded, (2 * self.half + 1,) * 2, axis=(0, 1))
        return np.ascontiguousarray(windows).reshape(*image.shape[:2], -1)

    def _improve(self, origins: Indices, patches: Patches) -> tuple[Indices, Patches]:
        """Return better sources of the targets, and their mean squared differences [n]."""
        wanted = patches[self.targets[:, 0], self.targets[:, 1]]
        distance = self._distances(origins, wanted, patches)

        def consider(candidate: Indices, usable: NDArray[np.bool_]) -> None:
            rows = np.flatnonzero(usable)
            closer = self._distances(candidate[rows], wanted[rows], patches)
            better = rows[closer < distance[rows]]
            distance[better] = closer[closer < distance[rows]]
            origins[better] = candidate[better]

        origins = origins.copy()
        for _ in range(_PASSES):
            for step in _STEPS:
                beside = self.targets + step
                inside = np.all((beside >= 0) & (beside < self.size), axis=1)
                neighbour = self.number[tuple(np.where(inside[:, None], beside, 0).T)]
                known = inside & (neighbour >= 0)
                # the neighbour's source, one step back
                candidate = origins[np.where(known, neighbour, 0)] - step
                consider(candidate, known & self._usable(candidate))
            reach = float(self.size.max())
            while reach >= 1:
                candidate = origins + np.rint(self.source.uniform(-reach, reach, origins.shape)).astype(np.int64)
                consider(candidate, self._usable(candidate))
                reach /= 2
        return origins, distance

    def _distances(self, middles: Indices, wanted: Patches, patches: Patches) -> Patches:
        difference = patches[middles[:, 0], middles[:, 1]] - wanted
        return np.asarray(np.einsum("np,np->n", difference, difference) / difference.shape[1])

    def _vote(self, filled: Floats, origins: Indices, distance: Patches) -> Floats:
        """Set each pixel of the region to the mean over the patches that hold it, similar ones weighing more."""
        # Wexler's sigma: three quarters of the patches are nearer
        scale = max(float(np.percentile(distance, 75)), 1.0)
        weight = np.exp(-distance.astype(np.float64) / (2 * scale))
        sums, total = np.zeros(filled.shape), np.zeros(filled.shape[:2])
        for down in range(-self.half, self.half + 1):
            for right in range(-self.half, self.half + 1):
                step = np.array([down, right])
                pixel, origin = self.targets + step, origins + step
                inside = np.all((pixel >= 0) & (pixel < self.size), axis=1)
                # targets differ, and so do places one step off: each pixel occurs once
                at = tuple(pixel[inside].T)
                sums[at] += weight[inside, None] * self.level.image[tuple(origin[inside].T)]
                total[at] += weight[inside]
        voted = sums / np.maximum(total, np.finfo(float).tiny)[..., None]
        return np.where(self.level.mask[..., None], voted, filled)
