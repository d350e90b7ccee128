"""Hair: scalp hair and beards as a thick, streaky shell of the head's surface."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from forge.rendering import surface
from forge.rendering.canvas import Canvas, bump, colour, ramp
from forge.rendering.noise import TILE, Array, tile, window
from forge.rendering.person import Person

_Knots = tuple[tuple[float, float], ...]
_CROPPED: _Knots = (
    (0, 0.41), (0.45, 0.42), (0.72, 0.37), (0.98, 0.20), (1.12, -0.02), (1.24, -0.20), (1.33, -0.24), (1.45, 0.10),
    (1.8, 0.07), (2.0, -0.5), (3.15, -0.8),
)  # fmt: skip
_FLOWING: _Knots = (
    (0, 0.43),
    (0.4, 0.41),
    (0.7, 0.28),
    (0.88, 0.04),
    (0.96, -0.35),
    (1.0, -0.9),
    (1.0, -1.9),
    (3.15, -2.6),
)
_FRINGED: _Knots = (
    (0, 0.06),
    (0.5, 0.06),
    (0.75, 0.0),
    (0.9, -0.25),
    (0.98, -0.6),
    (1.02, -1.1),
    (1.02, -1.9),
    (3.15, -2.6),
)
_TIED: _Knots = (
    (0, 0.42),
    (0.5, 0.41),
    (0.8, 0.33),
    (1.05, 0.16),
    (1.22, 0.0),
    (1.4, 0.08),
    (1.8, 0.06),
    (2.1, -0.6),
    (3.15, -0.8),
)
_RING: _Knots = (
    (0, 1.3),
    (0.95, 1.3),
    (1.08, 0.5),
    (1.22, -0.1),
    (1.33, -0.2),
    (1.45, 0.10),
    (1.8, 0.07),
    (2.0, -0.5),
    (3.15, -0.8),
)


@dataclass(frozen=True)
class _Style:
    """A cut: its edge as (|azimuth|, V) knots, thickness on top and at the sides, and texture.

    `ends` is the V below which hair is cut off; `fray` how ragged the edge is; `curl` 0 straight .. 1 curly.
    """

    edge: _Knots
    top: float
    side: float
    fray: float = 0.03
    curl: float = 0.0
    ends: float = -3.0
    sweep: float = 0.0
    cover: float = 1.0


_STYLES = {
    "ring": _Style(_RING, 0.02, 0.035, fray=0.07, cover=0.9),
    "buzz": _Style(_CROPPED, 0.012, 0.010, fray=0.04, cover=0.85),
    "short": _Style(_CROPPED, 0.08, 0.035, fray=0.05),
    "parted": _Style(_CROPPED, 0.11, 0.05, fray=0.04, sweep=1.0),
    "quiff": _Style(_CROPPED, 0.21, 0.03, fray=0.05, sweep=0.4),
    "curly": _Style(_CROPPED, 0.20, 0.13, fray=0.07, curl=1.0),
    "mane": _Style(_FLOWING, 0.10, 0.07, fray=0.05, curl=0.2),
    "bob": _Style(_FLOWING, 0.10, 0.11, fray=0.03, ends=-0.92, sweep=0.5),
    "fringe": _Style(_FRINGED, 0.10, 0.10, fray=0.05),
    "long": _Style(_FLOWING, 0.08, 0.07, fray=0.03, sweep=0.5),
    "wavy": _Style(_FLOWING, 0.12, 0.14, fray=0.05, curl=0.45, sweep=0.5),
    "updo": _Style(_TIED, 0.05, 0.035, fray=0.03, sweep=0.3),
    "bun": _Style(_TIED, 0.045, 0.03, fray=0.03),
}


def _combed(name: str, rng: np.random.Generator, shear: Array, stretch: float = 1.0) -> Array:
    """Return a tile read along strands that lean by `shear` columns, [ROWS, COLS]."""
    top, left = rng.integers(0, TILE, 2)
    rows = (np.arange(surface.ROWS) * stretch).astype(np.int64) + top
    cols = (np.arange(surface.COLS)[None, :] + shear).astype(np.int64) + left
    combed: Array = tile(name)[rows[:, None] % TILE, cols % TILE]
    return combed


def scalp_hair(person: Person, canvas: Canvas, rng: np.random.Generator) -> None:
    """Grow the person's hair on the canvas: its body, edge, strands and colour."""
    if person.style == "bald":
        return
    style = _STYLES[person.style]
    ax = surface.axes()
    V = ax.V[:, None]
    # a ragged parting line: the hairline is not symmetric where hair is swept to one side
    sweep = style.sweep * math.copysign(1, person.parting)
    turn = np.abs(ax.azimuth - 0.10 * sweep)
    edge = np.interp(turn, [k[0] for k in style.edge], [k[1] for k in style.edge])  # V of the hairline in each column
    recede = 0.09 * max(0.0, person.age - 0.2) if person.gender == "male" else 0.0
    edge = edge + person.hairline + recede * (1 + 1.2 * np.exp(-np.square((turn - 0.55) / 0.2))) * (turn < 1.2)
    edge = edge - 0.05 * sweep * np.sin(ax.azimuth) * (turn < 1.0)
    edge = gaussian_filter1d(edge, 2.0)
    slope = np.gradient(edge, ax.azimuth.astype(np.float64))
    # signed distance to the hairline: height above it over the slant's length, as for any graph V = edge(azimuth)
    distance = ((V - edge) / np.sqrt(1 + np.square(slope))).astype(np.float32)
    if style.ends > -2:
        distance = np.minimum(distance, V - np.float32(style.ends) + 0.02 * np.cos(3 * ax.azimuth))
    rows = np.arange(surface.ROWS, dtype=np.float32)[:, None]
    # how far strands wave from side to side, in columns
    wave = (5 * style.curl + 3.0 * person.waviness * (style.side > 0.05)) * np.sin(rows / 11 + 3 * np.cos(ax.azimuth))
    lean = rows * (0.55 * sweep * np.exp(-np.square(ax.azimuth / 1.2)))[None, :] + wave
    strand, lock = _combed("strand", rng, lean), _combed("lock", rng, lean)
    if style.curl:
        curl = window("curl", rng, surface.ROWS, surface.COLS)
        strand = strand + style.curl * (1.1 * curl - 0.6 * strand)
        lock = lock + style.curl * (0.5 * window("blotch", rng, surface.ROWS, surface.COLS) + 0.6 * curl - 0.4 * lock)
    # strands meet at the crown, where their noise would stand up as spikes
    lock = lock * (1 - 0.8 * ramp(V, 0.7, 1.1))
    # the silhouette stays smooth; only where hair ends on skin do strands fray
    frayed = distance + style.fray * (0.35 * strand + 0.5 * lock)
    mask = ramp(frayed, -0.02, 0.04 + 0.6 * style.fray)
    on_top = ramp(V, -0.05, 0.75)  # 0 at the height of the brow, 1 towards the crown
    thick = person.hair_volume * (style.side + (style.top - style.side) * on_top)
    if person.style in ("parted", "quiff"):
        thick = thick * (1 + 0.25 * np.tanh(4 * (ax.azimuth * math.copysign(1, person.parting))))
    # a root: steep at the edge, full thickness further in
    body = np.sqrt(np.clip((distance + 0.02) / (0.08 + 0.6 * thick), 0, 1))
    shell = canvas.radius
    if style.edge[-1][1] < -1.5:
        # long hair hangs from the temples instead of following jaw and neck
        anchor = canvas.radius[int(np.searchsorted(-ax.V, 0.15))][None, :]
        hang = anchor * (1 + 0.14 * person.hair_volume * ramp(V, -0.3, -1.2) - 0.10 * ramp(V, -1.2, -1.8))
        # its front is a cliff: it rises only where hair is already opaque, or the cliff would be painted as skin
        hang = canvas.radius + (np.maximum(hang, canvas.radius) - canvas.radius) * ramp(distance, 0.05, 0.45)
        shell = np.where(V < -0.15, hang, canvas.radius)
    # thickness, modulated by locks and strands
    relief = thick * (1 + (0.05 + 0.13 * style.curl) * lock) + 0.003 * lock + (0.0015 + 0.012 * style.curl) * strand
    grown = shell + body * np.maximum(relief, 0.006)
    if person.style in ("bun", "updo"):
        tilt = 1.15 if person.style == "bun" else 1.9
        # cosine of the angle to the knot's direction
        towards = ax.rise * np.sin(tilt) + ax.flat * ax.cos * np.cos(tilt)
        grown += 0.30 * person.hair_volume**0.5 * ramp(towards, 0.90, 0.975) * (1 + 0.06 * strand)
    canvas.radius += ramp(distance, -0.03, 0.03) * (grown - canvas.radius)
    grey = 0.25 * window("pores", rng, *mask.shape) if person.hair_colour == "grey" else 0.0
    tone = np.exp((0.15 if person.hair_colour in ("grey", "blond") else 0.22) * strand + 0.15 * lock + grey) * (
        0.72 + 0.28 * ramp(distance, 0.0, 0.25)
    )
    opaque = mask * style.cover
    if style.cover < 0.95:
        opaque = opaque * np.clip(0.78 + 0.25 * window("bristle", rng, *mask.shape), 0, 1)
    full = (slice(None), slice(None))
    canvas.paint(full, opaque, (colour(person.hair_rgb) * tone).astype(np.float32))
    # coverage is squared: a thin edge is still lit as skin
    canvas.fibre += (mask - canvas.fibre) * mask * (1 - 0.5 * style.curl) * style.cover
    canvas.gloss += mask * ((0.55 + 0.2 * strand) * (1 - 0.5 * style.curl) - canvas.gloss)
    canvas.cavity *= 1 - mask * np.clip(
        0.08 - (0.08 + 0.12 * style.curl) * lock - (0.05 + 0.10 * style.curl) * strand, 0, 0.65
    )
    # the shell shades the skin just outside its edge
    if style.top > 0.03:
        canvas.cavity *= 1 - 0.30 * (1 - mask) * ramp(distance, -0.11, -0.0)


def beard(person: Person, canvas: Canvas, rng: np.random.Generator) -> None:
    """Stubble, a moustache or a full beard on the lower face."""
    if person.beard == "none":
        return
    ax = surface.axes()
    at = surface.box(-0.75, 0.75, -1.5, -0.2)
    x, y = canvas.x[at], canvas.y[at]
    a = np.abs(ax.azimuth[at[1]])[None, :]
    level = -0.755 + person.mouth_height  # V of the line between the lips
    coarse, fine = window("bristle", rng, *x.shape), window("pores", rng, *x.shape)
    patch = window("blotch", rng, *x.shape)
    lip_edge = level + 0.075 * person.lip_upper
    wings = np.minimum(1, np.abs(x) / (person.mouth_width + 0.06))
    moustache = ramp(y, lip_edge - 0.035 - 0.09 * wings**2, lip_edge + 0.005 - 0.08 * wings**2)
    moustache = moustache * ramp(
        y, -0.555 * person.nose_length - 0.10 * wings**2, -0.60 * person.nose_length - 0.12 * wings**2
    )
    moustache = moustache * ramp(np.abs(x), person.mouth_width + 0.075, person.mouth_width - 0.01)
    # upper edge of the beard by azimuth
    cheek = np.interp(a, [0.0, 0.34, 0.6, 0.95, 1.2, 1.4], [-0.86, -0.83, -0.74, -0.55, -0.25, -0.15])
    jaw = ramp(y + 0.02 * patch, cheek + 0.05, cheek - 0.07) * ramp(y, -1.42, -1.22) * ramp(a, 1.50, 1.38)
    jaw = jaw * (1 - bump(x, y, 0, level - 0.05, person.mouth_width * 0.85, 0.055))
    # the bare patch beside the lower lip
    jaw = jaw * (1 - 0.5 * bump(np.abs(x), y, 0.17, level - 0.12, 0.05, 0.035))
    area = moustache if person.beard == "moustache" else np.maximum(moustache, jaw)
    area = area.astype(np.float32)
    shade = np.asarray(person.hair_rgb, np.float32) * (0.7 if person.hair_colour != "grey" else 0.85)
    if person.style == "bald" and person.hair_colour == "none":
        shade = shade * np.float32(0.9)
    if person.beard == "stubble":
        alpha = np.clip(area * (0.34 + 0.16 * coarse + 0.08 * fine), 0, 0.75)
        length = 0.004
    else:
        alpha = np.clip(area * 1.25 * (0.86 + 0.22 * coarse + 0.08 * patch), 0, 0.97)
        length = 0.035 if person.beard == "moustache" else 0.045 + 0.02 * person.hair_volume
    canvas.radius[at] += area * length * (1 + 0.22 * coarse + 0.12 * patch)
    tone = np.exp(0.22 * coarse + 0.16 * fine + 0.10 * patch)
    canvas.paint(at, alpha.astype(np.float32), (colour(shade) * tone).astype(np.float32))
    canvas.gloss[at] *= 1 - 0.75 * alpha
    if person.beard != "stubble":
        canvas.cavity[at] *= 1 - area * np.clip(0.08 - 0.14 * coarse, 0, 0.4)


def occlude(canvas: Canvas) -> None:
    """Darken what lies lower than its surroundings: the ambient occlusion of the whole relief.

    Occlusion is taken as proportional to blurred height minus height at two scales, on a map of half the resolution.
    """
    coarse = canvas.radius[::2, ::2]  # a quarter of the texels
    shade = np.zeros_like(coarse)
    for sigma, strength in ((2.0, 2.2), (6.0, 1.6)):
        # hollows up to 0.14 deep darken, ridges brighten a little
        shade += strength * np.clip(gaussian_filter(coarse, sigma) - coarse, -0.02, 0.14)
    light = np.clip(1 - shade, 0.35, 1.05).repeat(2, axis=0).repeat(2, axis=1)
    canvas.cavity *= gaussian_filter(light, 0.8)  # smooths the doubled texels
