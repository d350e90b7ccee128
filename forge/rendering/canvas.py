"""Layers painted on a head's surface map: height, skin pigments, and opaque things that lie on the skin."""

from dataclasses import dataclass

import numpy as np

from forge.rendering.noise import Array
from forge.rendering.surface import Box


@dataclass
class Canvas:
    """Maps of one head, each [ROWS, COLS] but for `cover`; painters change them in place.

    Attributes:
        x, y: where a texel of the bare head lies seen from the front, in head units; painters place features with it.
        radius: the map of `surface`.
        melanin, blood: pigments, 0 none; they become a colour only at the end.
        cover, opacity: colour [3, ROWS, COLS], not premultiplied, and how much of the skin it hides.
        gloss: strength of the highlight, 1 for oily skin.
        fibre: 1 where the surface is hair (lit as strands).
        cavity: 1 in the open, 0 where no light reaches.
    """

    x: Array
    y: Array
    radius: Array
    melanin: Array
    blood: Array
    cover: Array
    opacity: Array
    gloss: Array
    fibre: Array
    cavity: Array

    def copy(self, at: Box) -> "Canvas":
        """A canvas to paint on inside the rectangle `at`; outside of it only the radius is defined (it saves time)."""
        fresh = []
        for name in ("melanin", "blood", "cover", "opacity", "gloss", "fibre", "cavity"):
            old = getattr(self, name)
            new = np.empty_like(old)
            new[..., at[0], at[1]] = old[..., at[0], at[1]]
            fresh.append(new)
        return Canvas(self.x, self.y, self.radius.copy(), *fresh)

    def paint(self, at: Box, alpha: Array, rgb: Array) -> None:
        """Lay a colour over the rectangle `at`.

        Args:
            at: rows and columns.
            alpha: opacity 0..1, shaped like the rectangle.
            rgb: linear colour, [3, 1, 1] or [3, rows, cols].
        """
        # "over" for colours that are not premultiplied (Porter and Duff 1984): the new layer's part of the joint
        # opacity a + o (1 - a) is a over that; 1e-4 where both are 0
        self.cover[:, at[0], at[1]] += (rgb - self.cover[:, at[0], at[1]]) * np.minimum(
            alpha / (self.opacity[at] * (1 - alpha) + alpha + 1e-4), 1
        )
        self.opacity[at] += (1 - self.opacity[at]) * alpha  # o + (1 - o) a


def colour(rgb: tuple[float, float, float] | list[float] | Array) -> Array:
    """Return a linear RGB colour as [3, 1, 1] float32."""
    return np.asarray(rgb, np.float32).reshape(3, 1, 1)


def bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """Gaussian exp(-((x - cx)/sx)²/2 - ((y - cy)/sy)²/2)."""
    u = (x - np.float32(cx)) * np.float32(0.70710678 / sx)  # 1 / sqrt(2)
    v = (y - np.float32(cy)) * np.float32(0.70710678 / sy)
    power = u * u + v * v
    np.negative(power, out=power)
    result: Array = np.exp(power, out=power)
    return result


def clip(value: Array, low: float, high: float) -> Array:
    """np.clip without its overhead, which is most of its price on small rectangles."""
    result: Array = np.minimum(np.maximum(value, np.float32(low)), np.float32(high))
    return result


def ramp(value: Array, low: float | Array, high: float | Array) -> Array:
    """Smooth step from 0 at `low` to 1 at `high` (cubic); low may exceed high."""
    k = 1 / (high - low)
    # t = (value - low) / (high - low), in place: this runs dozens of times a picture
    t = np.asarray(value * np.asarray(k, np.float32), np.float32)
    t -= np.asarray(low * k, np.float32)
    np.maximum(t, 0, out=t)
    np.minimum(t, 1, out=t)
    result: Array = t * t  # t^2 (3 - 2 t)
    t *= -2
    t += 3
    result *= t
    return result
