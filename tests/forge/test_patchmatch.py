"""PatchMatch: textures are continued, the search comes near the exact nearest patches, the rest of the image stays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from forge.core.errors import InputError
from forge.tampering.patchmatch import _level, _Search, patchmatch_fill
from forge.tampering.poisson import harmonic_fill

SIDE = 48


def hole(side: int = SIDE) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return (y - 22) ** 2 + (x - 25) ** 2 < 49


def stripes() -> np.ndarray:
    columns = np.where(np.arange(SIDE) // 3 % 2, 220, 40)
    return np.repeat(np.tile(columns, (SIDE, 1))[..., None], 3, axis=2).astype(np.uint8)


def test_a_texture_goes_on_where_a_smooth_fill_has_none():
    image, mask = stripes(), hole()
    error = {
        name: abs(filled[mask] - image[mask]).mean()
        for name, filled in (
            ("patches", patchmatch_fill(image, mask, np.random.default_rng(0))),
            ("smooth", harmonic_fill(image, mask)),
        )
    }
    assert error["patches"] < 8 and error["smooth"] > 40


def test_the_rest_stays_and_the_seed_decides():
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    first, again, other = (patchmatch_fill(image, hole(), np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(first[~hole()], image[~hole()].astype(float)) and 0 <= first.min() <= first.max() <= 255


def test_the_search_comes_near_the_nearest_patches():
    noise = np.random.default_rng(2).normal(0, 60, (SIDE, SIDE, 3))
    image = np.clip(128 + 3 * gaussian_filter(noise, (2, 2, 0)), 0, 255)
    level = _level(image, hole(), 5)
    search = _Search(level, 5, np.random.default_rng(0))
    patches = search._patches(image)
    origins = search._begin(None)
    for _ in range(4):
        origins, distance = search._improve(origins, patches)
    wanted = patches[search.targets[:, 0], search.targets[:, 1]]
    known = patches[search.choices[:, 0], search.choices[:, 1]]
    squares = (wanted**2).sum(1)[:, None] + (known**2).sum(1) - 2 * wanted @ known.T
    nearest = squares.min(1) / wanted.shape[1]
    drawn = squares.mean() / wanted.shape[1]
    assert (distance >= nearest - 0.1).all()
    assert np.median(distance) - np.median(nearest) < 0.1 * (drawn - np.median(nearest))
    assert level.sources[origins[:, 0], origins[:, 1]].all()


@pytest.mark.parametrize("side", [9, 17, 30])
def test_holes_at_borders_and_without_whole_patches_are_filled(side):
    image = np.random.default_rng(3).integers(0, 256, (side, side, 3), dtype=np.uint8)
    for rows, columns in ((slice(0, 4), slice(0, 4)), (slice(None), slice(0, side - 2)), (slice(4, 5), slice(4, 5))):
        mask = np.zeros((side, side), bool)
        mask[rows, columns] = True
        filled = patchmatch_fill(image, mask, np.random.default_rng(0))
        assert np.isfinite(filled).all() and np.array_equal(filled[~mask], image[~mask].astype(float))


def test_an_empty_and_a_full_mask_are_refused():
    for mask in (np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)):
        with pytest.raises(InputError, match="the mask"):
            patchmatch_fill(stripes(), mask, np.random.default_rng(0))
