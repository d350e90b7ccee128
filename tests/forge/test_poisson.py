"""Harmonic, biharmonic and Poisson fills against dense solutions of their equations, written down pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from forge.core.errors import InputError
from forge.tampering.poisson import biharmonic_fill, harmonic_fill, poisson_blend

HEIGHT, WIDTH = 11, 13


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def masks() -> dict[str, np.ndarray]:
    empty = np.zeros((HEIGHT, WIDTH), bool)
    pixel, borders, islands, ring, holey, wide, corner = (empty.copy() for _ in range(7))
    pixel[4, 6] = True
    borders[0], borders[-1], borders[:, 0], borders[:, -1] = True, True, True, True
    islands[1:4, 1:3], islands[6:10, 8:12], islands[10, 0] = True, True, True
    ring[2:9, 2:9] = True
    ring[4:7, 4:7] = False
    holey[:] = np.random.default_rng(3).random((HEIGHT, WIDTH)) < 0.7
    wide[3:5, 1:-1] = True
    corner[:3, :4] = True
    return {
        "pixel": pixel, "borders": borders, "islands": islands, "ring": ring, "holey": holey, "wide": wide,
        "corner": corner,
    }  # fmt: skip


def neighbours(y: int, x: int):
    return [
        (y + dy, x + dx)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
        if 0 <= y + dy < HEIGHT and 0 <= x + dx < WIDTH
    ]


def dense(target: np.ndarray, mask: np.ndarray, step) -> np.ndarray:
    """Perez et al. 2003, equation 7; `step(p, q)` is the wanted difference of two neighbours, [3]."""
    pixels = [tuple(p) for p in np.argwhere(mask)]
    at = {p: n for n, p in enumerate(pixels)}
    matrix, right = np.zeros((len(pixels),) * 2), np.zeros((len(pixels), 3))
    for n, p in enumerate(pixels):
        for q in neighbours(*p):
            matrix[n, n] += 1
            right[n] += step(p, q)
            if q in at:
                matrix[n, at[q]] -= 1
            else:
                right[n] += target[q]
    filled = target.astype(float)
    filled[mask] = np.linalg.solve(matrix, right)
    return filled


@pytest.mark.parametrize("name", masks())
def test_fills_solve_their_equations(name):
    mask, target, source = masks()[name], picture(0), picture(1).astype(float)
    old = target.astype(float)

    def mixed(p, q):
        ours, theirs = source[p] - source[q], old[p] - old[q]
        return np.where(abs(theirs) > abs(ours), theirs, ours)

    for filled, step in (
        (harmonic_fill(target, mask), lambda p, q: 0),
        (poisson_blend(target, source, mask), lambda p, q: source[p] - source[q]),
        (poisson_blend(target, source, mask, mixed=True), mixed),
    ):
        np.testing.assert_allclose(filled, dense(target, mask, step), atol=1e-8)
        assert np.array_equal(filled[~mask], old[~mask])


@pytest.mark.parametrize("name", masks())
def test_biharmonic_fills_have_the_least_laplacians(name):
    mask, target = masks()[name], picture(2)
    laplacian = np.zeros((HEIGHT * WIDTH,) * 2)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            for a, b in neighbours(y, x):
                laplacian[y * WIDTH + x, y * WIDTH + x] += 1
                laplacian[y * WIDTH + x, a * WIDTH + b] -= 1
    flat, pixels = mask.ravel(), target.reshape(-1, 3).astype(float)
    best = np.linalg.lstsq(laplacian[:, flat], -laplacian[:, ~flat] @ pixels[~flat], rcond=None)[0]
    filled = biharmonic_fill(target, mask)
    np.testing.assert_allclose(filled[mask], best, atol=1e-6)
    assert np.array_equal(filled[~mask], target[~mask].astype(float))


def test_what_needs_no_change_is_not_changed():
    mask, image = masks()["islands"], picture(4)
    for source in (image, image.astype(float) + 40):  # a constant has no gradients
        np.testing.assert_allclose(poisson_blend(image, source, mask), image, atol=1e-9)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    inner = np.zeros((HEIGHT, WIDTH), bool)
    inner[3:8, 3:9] = True
    for values, fill in ((2 * x - 3 * y, harmonic_fill), (x * x - y * y + x * y, biharmonic_fill)):
        planes = np.repeat(values[..., None], 3, axis=2)
        np.testing.assert_allclose(fill(planes, inner), planes, atol=1e-8)


def test_nothing_moves():
    mask = masks()["holey"]
    mask[5, 7] = True
    source = np.zeros((HEIGHT, WIDTH, 3))
    source[5, 7] = 200
    blended = poisson_blend(np.full((HEIGHT, WIDTH, 3), 20.0), source, mask)
    assert np.unravel_index(blended[..., 0].argmax(), mask.shape) == (5, 7)


def cloned(image, mask):
    return poisson_blend(image, image, mask)


@pytest.mark.parametrize("fill", [harmonic_fill, biharmonic_fill, cloned])
def test_masks_that_there_is_nothing_to_do_with_are_refused(fill):
    with pytest.raises(InputError, match="mask is empty"):
        fill(picture(0), np.zeros((HEIGHT, WIDTH), bool))
    with pytest.raises(InputError, match="covers all"):
        fill(picture(0), np.ones((HEIGHT, WIDTH), bool))
    with pytest.raises(InputError, match="a mask of 5 x 4 px does not fit an image of 13 x 11 px"):
        fill(picture(0), np.ones((4, 5), bool))
