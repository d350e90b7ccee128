"""Sphere tracing of the radius map, coarse then fine: the point of the head that each pixel sees."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from forge.rendering import surface
from forge.rendering.canvas import clip
from forge.rendering.noise import Array

COARSENESS = 3  # pixels an edge of the cells in which rays are first traced


@dataclass(frozen=True)
class View:
    """A camera in front of a head.

    Attributes:
        turn: rotation from head to camera coordinates, [3, 3]. Camera coordinates are x right, y up, z to the camera.
        scale: pixels per head unit at the head's axis.
        shift: where the head's origin is in the picture, pixels right and down of the centre.
        distance: from the camera to the head's axis, head units.
        size: the picture's edge in pixels.
    """

    turn: Array
    scale: float
    shift: tuple[float, float]
    distance: float
    size: int

    def plane(self, cells: int = 0) -> tuple[Array, Array]:
        """Camera x [cols] and y [rows] on the plane z = 0 of the centres of the pixels, or of `cells` cells an edge."""
        cells = cells or self.size
        centre = (np.arange(cells, dtype=np.float32) + 0.5) * (self.size / cells) - self.size / 2
        return ((centre - self.shift[0]) / self.scale).astype(np.float32), (
            (self.shift[1] - centre) / self.scale
        ).astype(np.float32)

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """Picture column, row (pixels) and camera z of head points [3, ...]."""
        x, y, z = np.einsum("ij,j...->i...", self.turn, points)
        zoom = self.scale * self.distance / (self.distance - z)  # perspective: nearer points are larger
        return x * zoom + self.shift[0] + self.size / 2, self.size / 2 + self.shift[1] - y * zoom, z


@dataclass(frozen=True)
class Hits:
    """Hit points of K pixels.

    Attributes:
        index: flat pixel number, [K] int64.
        grid: map coordinates, [K, 2].
        alpha: how much of the pixel the head covers, [K].
        z: camera z of the point, [K].
        to_eye: direction to the camera in head coordinates, [3, K].
        shadow: visibility of the key light, 0..1, [K].
    """

    index: np.ndarray
    grid: Array
    alpha: Array
    z: Array
    to_eye: Array
    shadow: Array


def _rays(view: View, x: Array, y: Array) -> tuple[Array, Array]:
    """Return points on the plane z = 0 and unit directions to the camera, in head coordinates, [3, N] each."""
    # the plane z = 0 of the camera, turned into head coordinates by the inverse rotation
    start = view.turn.T[:, :1] * x + view.turn.T[:, 1:2] * y
    length = 1 / np.sqrt(x * x + y * y + np.float32(view.distance**2))  # 1 over the length of the way to the camera
    eye = view.turn.T[:, 2:] * np.float32(view.distance)
    return start, (eye - start) * length


def enlarge(values: Array, size: int) -> Array:
    """Return the bilinear enlargement of [C, n, n] to [C, size, size], cell centres aligned.

    Written out because torch's differs in the last bit with the number of threads.
    """
    n = values.shape[-1]
    at = np.clip((np.arange(size) + 0.5) * (n / size) - 0.5, 0, n - 1)
    low = np.minimum(at.astype(np.int64), n - 2)
    part = (at - low).astype(np.float32)
    rows = values[:, low]
    rows += (values[:, low + 1] - rows) * part[:, None]
    result: Array = rows.take(low, axis=2)
    result += (rows.take(low + 1, axis=2) - result) * part
    return result


def _height(radius: Array, start: Array, way: Array, t: Array) -> Array:
    # nearest texels are enough for a march in cells of three pixels; the last steps interpolate
    """Return the height of points above the surface (negative inside), to the nearest texel."""
    p = start + t * way
    grid, distance = surface.locate(p[0], p[1], p[2])
    height: Array = distance - surface.sample_near(radius, grid)
    return height


def _march(radius: Array, start: Array, way: Array) -> tuple[Array, Array]:
    """Walk each ray to its first crossing of the surface, or to where it comes closest.

    Steps follow the height above the surface until a ray is inside, then bisect: cliffs such as the rim of long hair
    have no useful height.

    Args:
        radius: the surface.
        start: a point on each ray, [3, N].
        way: unit directions towards the camera, [3, N].

    Returns:
        The parameter of the crossing or of the nearest approach, and 1 where there is a crossing or one within a
        pixel, both [N].
    """
    t = np.full(start.shape[1], 1.0, np.float32)  # one head unit before the plane; rays walk away from the camera
    outer, inner = t, np.full_like(t, -9)  # -9: not inside yet
    nearest, nearest_t = np.full_like(t, 9), t
    for _ in range(12):
        f = _height(radius, start, way, t)
        inside = f < 0
        inner = np.where(inside, t, inner)
        outer = np.where(inside, outer, t)
        closer = f < nearest
        nearest, nearest_t = np.where(closer, f, nearest), np.where(closer, t, nearest_t)
        # 0.8 of the height along the radius, which is never less than the distance to the surface. Once inside: half
        # way between the last point outside and the last one inside
        t = np.where(inner > -9, np.float32(0.5) * (outer + inner), t - clip(np.float32(0.8) * f, 0.04, 0.3))
    crossed = inner > -9
    return np.where(crossed, t, nearest_t), crossed.astype(np.float32)


def trace(radius: Array, view: View, light: Array, softness: float) -> Hits:
    """Find the surface under every pixel, and whether the key light reaches it.

    Args:
        radius: the head's surface, [ROWS, COLS].
        view: the camera; its size must be even.
        light: unit direction to the key light in head coordinates, [3].
        softness: width of the light's penumbra, about 0.1 hard .. 0.6 soft.

    Returns:
        The covered pixels; those on the outline count partly.
    """
    cells = view.size // COARSENESS
    x, y = (axis.ravel() for axis in np.meshgrid(*view.plane(cells)))
    start, way = _rays(view, x, y)
    best_t, hit = _march(radius, start, way)
    shadow = np.ones_like(best_t)
    # height above the surface on the way to the light, over the width of the penumbra there: below 0 in full shadow
    for reach in (0.06, 0.14, 0.30):
        f = _height(radius, start + np.float32(reach) * light[:, None], way, best_t)
        np.minimum(shadow, f * np.float32(1 / (softness * reach + 0.012)) + 0.75, out=shadow)
    shadow = np.clip(shadow, 0, 1)
    # a ray that lost its way under the chin is surrounded by rays that did not
    padded = np.pad(hit.reshape(cells, cells), 1, mode="edge")
    # closing: a maximum filter, then a minimum filter
    hit = minimum_filter(maximum_filter(padded, 3), 3)[1:-1, 1:-1].ravel()
    coarse = enlarge(np.stack([best_t, hit, shadow]).reshape(3, cells, cells), view.size).reshape(3, -1)
    index = np.flatnonzero(coarse[1] > 0)
    t, solid, shadow = (plane.take(index) for plane in coarse)
    columns, rows = view.plane()
    start, way = _rays(view, columns[index % view.size], rows[index // view.size])
    for _ in range(2):  # Newton-like steps towards the surface, from the coarse result
        p = start + t * way
        grid, distance = surface.locate(p[0], p[1], p[2])
        f = distance - surface.sample(radius[None], grid)[0]
        t = t - clip(np.float32(0.75) * f, -0.10, 0.05)
    # inside the outline every pixel is covered, also where a steep wall keeps the last steps from converging
    alpha = np.maximum(np.clip(1.1 - f * np.float32(0.8 * view.scale), 0, 1), np.clip(6 * solid - 5, 0, 1))
    p = start + t * way
    z = view.turn[2, 0] * p[0] + view.turn[2, 1] * p[1] + view.turn[2, 2] * p[2]
    return Hits(index, grid, alpha, z, way, shadow)
