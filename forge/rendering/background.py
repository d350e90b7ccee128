"""Surroundings of the head: a background out of focus, and shoulders in clothes."""

import numpy as np

from forge.rendering.canvas import bump, colour, ramp
from forge.rendering.noise import Array, window
from forge.rendering.shading import Light, cosine, diffuse
from forge.rendering.trace import View, enlarge

_GRID = 40  # backgrounds are painted this small and enlarged: cheap, and out of focus


def _palette(rng: np.random.Generator, saturation: float = 0.25) -> Array:
    """Return a random linear colour [3, 1, 1]: log-normal brightness, moderate saturation."""
    tone = 0.28 * np.exp(rng.normal(0, 0.6))  # linear light, median 0.28
    return colour(tone * np.exp(rng.normal(0, saturation, 3)))


def _room(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Return a wall with a few rectangles: doors, shelves, windows, pictures."""
    scene = np.broadcast_to(_palette(rng, 0.10), (3, _GRID, _GRID)).copy()
    for _ in range(int(rng.integers(3, 11))):
        cx, cy = rng.uniform(-1, 1, 2)
        w, h = rng.uniform(0.08, 0.6, 2)
        edge = ramp(np.abs(x - cx), w + 0.04, w) * ramp(np.abs(y - cy), h + 0.04, h)
        scene += (_palette(rng) * np.float32(rng.uniform(0.5, 1.8)) - scene) * edge
    result: Array = scene
    return result


def _outdoors(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Sky over foliage, a street or a meadow."""
    horizon = rng.uniform(-0.5, 0.6)
    sky = colour((0.55, 0.66, 0.85)) * np.float32(rng.uniform(0.6, 1.6)) * (0.8 + 0.25 * y)
    far = np.array((rng.uniform(0.05, 0.25), rng.uniform(0.10, 0.25), rng.uniform(0.03, 0.15)), np.float32)
    texture = window("blotch", rng, _GRID, _GRID)
    land = colour(far) * np.exp(0.55 * texture + 0.25 * window("cloud", rng, _GRID, _GRID))
    share = ramp(y + 0.10 * texture + 0.06 * np.sin(7 * x + rng.uniform(0, 6)), horizon - 0.08, horizon + 0.08)
    result: Array = land + (sky - land) * share
    return result


def _bokeh(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Dark surroundings with discs of light."""
    scene = _palette(rng) * np.float32(0.5) * (1 + 0.3 * y) * np.exp(0.3 * window("blotch", rng, _GRID, _GRID))
    for _ in range(int(rng.integers(8, 26))):
        cx, cy = rng.uniform(-1.1, 1.1, 2)
        r = rng.uniform(0.06, 0.2)
        disc = ramp(np.hypot(x - cx, y - cy), r + 0.03, r - 0.03)
        scene = scene + _palette(rng, 0.35) * np.float32(rng.uniform(0.5, 2.5)) * disc
    result: Array = scene
    return result


def background(rng: np.random.Generator, size: int) -> Array:
    """Return a background, linear RGB [3, size, size]."""
    axis = np.linspace(-1, 1, _GRID, dtype=np.float32)  # -1..1
    x, y = axis[None, :], -axis[:, None]  # [1, 40] and [40, 1]; y up
    choice = rng.random()
    # a plain wall with a gradient, a room, outdoors, lights
    if choice < 0.30:
        slope = rng.normal(0, 0.35, 2)
        scene = _palette(rng, 0.15) * np.exp(slope[0] * x + slope[1] * y).astype(np.float32)
    elif choice < 0.62:
        scene = _room(rng, x, y)
    elif choice < 0.86:
        scene = _outdoors(rng, x, y)
    else:
        scene = _bokeh(rng, x, y)
    result = np.maximum(enlarge(scene, size), np.float32(0.002))
    grain = 0.05 * window("cloud", rng, size, size)
    if choice < 0.30 and rng.random() < 0.6:
        grain = grain + np.float32(rng.uniform(0.0, 0.06)) * window(
            str(rng.choice(("blotch", "curl", "pores"))), rng, size, size
        )
    result *= 1 + grain
    return result


def shoulders(
    rng: np.random.Generator, view: View, light: Light, skin: Array, clothes: Array, sway: float
) -> tuple[slice, Array, Array, Array]:
    """Return the upper body: an ellipsoid in clothes with an open collar.

    Args:
        rng: this picture's generator (folds, pattern, collar).
        view: the camera.
        light: the picture's light.
        skin: linear colour of the chest, [3].
        clothes: linear colour of the clothes, [3].
        sway: where the neck meets the body, head units right of the head's origin.

    Returns:
        The rows it lies in, its radiance [3, rows, cols], its coverage and its camera z [rows, cols].
    """
    columns, rows = view.plane()
    # the first row that is 1.02 head units below the brow or lower; no body is drawn above it
    from_row = int(np.searchsorted(-rows, 1.02))
    at = slice(from_row, view.size)
    x, y = columns[None, :] - np.float32(sway), rows[at][:, None]  # [1, W], [rows, 1]
    # centre height, half axes across, up and to the front, and depth of the centre, head units
    cy, sx, sy, sz, back = -2.70, 1.66, 1.36, 0.66, -0.24
    u, v = x / np.float32(sx), (y - np.float32(cy)) / np.float32(sy)
    # 1 - u^2 - v^2 of the ellipsoid: above 0 inside its outline
    # trapezius: the outline rises towards the neck
    inside = 1 - u * u * (1 + 0.15 * u * u) - v * v + 0.42 * np.exp(-np.square(x / 0.42)) * ramp(v, 0.2, 1.0)
    depth = np.sqrt(np.maximum(inside, 1e-4))  # z of the front surface over its half axis
    z = back + sz * depth
    alpha = np.clip(inside * np.float32(0.6 * view.scale), 0, 1)  # a ramp about as wide as a pixel
    folds = window("lock", rng, view.size, view.size)[: x.shape[1], : y.shape[0]].T
    # gradient of the ellipsoid's equation, tilted by folds
    n = np.stack([u / sx + 0.10 * folds, v / sy + 0.06 * folds, depth / sz + 0 * folds])
    n *= 1 / np.sqrt(np.einsum("ijk,ijk->jk", n, n))
    wide, deep = rng.uniform(0.40, 0.62), rng.uniform(0.12, 0.75)
    collar = np.square(x / np.float32(wide)) + np.square((y + 1.26) / np.float32(deep * 0.55 + 0.10))
    cloth = ramp(collar, 0.94, 1.06)
    base = colour(clothes) * (1 + 0.10 * folds)
    if rng.random() < 0.3:
        period = rng.uniform(0.05, 0.16)
        stripe = np.sin((y if rng.random() < 0.5 else x) * np.float32(6.283 / period) + 0.8 * folds)  # 2 pi / period
        base = base * (1 + np.float32(rng.uniform(0.2, 0.7)) * np.tanh(3 * stripe))
    albedo = colour(skin) + (base - colour(skin)) * cloth
    flat = n.reshape(3, -1)
    shadow = 1 - 0.55 * bump(x, y, 0, -1.30, 0.5, 0.25)  # darker below the chin
    shadow = shadow * (1 - 0.35 * np.exp(-np.square((collar - 1.0) / 0.10)))
    lit = diffuse(cosine(light.key, flat), cosine(light.rim, flat), flat[1], shadow.ravel(), shadow.ravel(), light)
    return at, (albedo * lit.reshape(3, *x.shape[:0], *n.shape[1:])).astype(np.float32), alpha, z  # [3, rows, W]
