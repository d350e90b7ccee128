"""Shape of a bare head: skull, jaw, neck, ears, the relief of the face, and its pigments."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from forge.rendering import surface
from forge.rendering.canvas import Canvas, bump, ramp
from forge.rendering.noise import Array, window
from forge.rendering.person import Person

SQUARENESS = 2.3  # exponent of the head's horizontal cross-section; 2 would be an ellipse


def _profile(knots: list[tuple[float, float]]) -> Array:
    """Return a smooth curve of V through about the given (V, value) knots, as [ROWS, 1]."""
    V = surface.axes().V
    points = sorted(knots)
    # knots in ascending V, as np.interp needs them
    values = np.interp(V, [k[0] for k in points], [k[1] for k in points])
    smooth: Array = gaussian_filter1d(values, 5.0, mode="nearest").astype(np.float32)[:, None]
    return smooth


def _skull(person: Person) -> Array:
    """Radius of skull, jaw and neck without any facial relief."""
    ax = surface.axes()
    w, jaw, d = person.width, person.width * person.jaw, person.depth
    chin = -1.10 - person.chin_length
    cheek = 0.006 * person.flesh
    wide = _profile(
        [
            (1.2, w * 1.02),
            (0.3, w * 1.02),
            (0, w),
            (-0.3, 0.995 * w + cheek),
            (-0.55, 0.5 * w + 0.49 * jaw + cheek),
            (-0.78, 0.93 * jaw + cheek),
            (-0.95, 0.82 * jaw),
            (chin + 0.06, 0.68 * jaw),
            (-1.8, 0.5 * jaw),
        ]
    )
    front = _profile(
        [
            (1.2, d),
            (0.25, d * 1.0),
            (0, d * 1.0),
            (-0.3, d * 0.97),
            (-0.55, d),
            (-0.75, d * 1.015),
            (-1.0, d * 0.985),
            (chin, d * 0.97),
            (-1.8, d * 0.9),
        ]
    )
    # [ROWS, COLS]: the face's profile before, the skull's behind
    deep = np.where(ax.cos > 0, front, np.float32(0.86)) + np.zeros_like(wide)
    # superellipse (|x| / wide)^n + (|z| / deep)^n = 1 in polar form: radius = (...)^(-1 / n)
    section = (np.abs(ax.sin) / wide) ** SQUARENESS + (np.abs(ax.cos) / deep) ** SQUARENESS
    flat = section ** np.float32(-1 / SQUARENESS)
    height = 0.85 * person.forehead
    # above the brow an ellipse from that radius to the skull's height; below, rise is 0
    face = 1 / np.sqrt((ax.flat / flat) ** 2 + (ax.rise / height) ** 2)
    # the neck is a cylinder whose axis lies behind the head's
    back, thick = -0.14, person.neck
    # a circle of radius `thick` around (0, back), in polar form from the head's axis
    neck = back * ax.cos + np.sqrt(np.maximum(thick**2 - (back * ax.sin) ** 2, 1e-3))
    neck = neck + 0.16 * ramp(ax.V, -1.35, -1.85)[:, None]
    # the lower edge of the jaw climbs from the chin to the ear
    turn = ramp(np.abs(ax.azimuth), 0.15, 1.55)
    edge = (chin - 0.03) + (0.44 - 0.04 * person.flesh) * turn
    share = ramp(ax.level - edge, -0.075, 0.05)  # 1 above the jaw's edge, 0 below
    radius: Array = (neck + (face - neck) * share).astype(np.float32)
    return radius


def _ears(person: Person, canvas: Canvas) -> None:
    ax = surface.axes()
    size = 0.03 if person.ears_covered else 0.115 * person.ear
    for side in (-1, 1):
        cols = slice(0, surface.COLS // 2) if side < 0 else slice(surface.COLS // 2, surface.COLS)
        rows = slice(*(int(np.searchsorted(-ax.V, -v)) for v in (0.12, -0.52)))
        at = (rows, cols)
        a = side * ax.azimuth[cols][None, :]
        y = ax.V[rows][:, None]
        lean = a - 1.62 - 0.12 * (y + 0.2)  # distance from the ear's line, which slants backwards
        shell = (
            np.exp(-np.square(lean / 0.14)) * ramp(np.abs(y + 0.2), 0.27, 0.15) * (0.75 + 0.25 * ramp(y, -0.4, -0.05))
        )
        canvas.radius[at] += size * shell
        canvas.blood[at] += 0.25 * shell
        canvas.cavity[at] *= 1 - 0.5 * np.exp(-np.square((lean + 0.17) / 0.07)) * ramp(np.abs(y + 0.2), 0.22, 0.1)


def _face_relief(person: Person, canvas: Canvas) -> None:
    """Brow ridge, sockets, cheekbones, temples, chin: everything but nose, eyes and mouth."""
    at = surface.box(-0.6, 0.6, -1.3, 0.5)
    x, y = np.abs(canvas.x[at]), canvas.y[at]
    relief = -0.050 * bump(x, y, person.eye_distance - 0.01, person.eye_height - 0.005, 0.135, 0.085)
    relief -= 0.035 * bump(x, y, 0.13, person.eye_height + 0.0, 0.06, 0.10)
    relief += 0.026 * person.brow_ridge * bump(x, y, 0.25, 0.0, 0.15, 0.05)
    relief += 0.034 * person.cheek * bump(x, y, 0.40, -0.42, 0.14, 0.13)
    relief -= (0.012 - 0.012 * person.flesh) * bump(x, y, 0.42, -0.72, 0.11, 0.14)
    relief -= 0.028 * bump(x, y, 0.55, 0.10, 0.10, 0.16)
    chin = -1.01 - person.chin_length
    relief += 0.050 * bump(x, y, 0.0, chin, 0.13 * person.chin_width, 0.075)
    relief -= 0.028 * bump(x, y, 0.0, -0.90, 0.15, 0.035)
    relief += 0.030 * bump(x, y, 0.0, -0.72, 0.20, 0.12)
    relief += 0.012 * max(person.flesh, 0) * bump(x, y, 0.33, -0.85, 0.12, 0.12)
    canvas.radius[at] += relief


def _nose(person: Person, canvas: Canvas) -> None:
    at = surface.box(-0.36, 0.36, -0.72, 0.06)
    x, y = canvas.x[at], canvas.y[at]
    ax = np.abs(x)
    base = -0.545 * person.nose_length
    tip = base + 0.045
    # along the ridge: t = 0 at the root between the eyes, 1 at the tip
    t = np.clip((y + 0.08) / (tip + 0.08), 0, 1)
    ridge = (0.045 + 0.135 * t**1.4 + 0.03 * person.nose_hump * np.sin(np.pi * t)) * person.nose_height
    breadth = 0.047 + (0.050 + 0.012 * person.nose_tip) * t * person.nose_width
    # the wings end a little higher than the tip
    floor = base + 1.1 * x * x
    under = ramp(y, floor - 0.042, floor + 0.030) * ramp(y, 0.07, -0.10)
    relief = ridge * np.exp(-0.5 * (x / breadth) ** 2) * under**1.3  # Gaussian across the ridge
    relief += 0.045 * person.nose_tip * person.nose_height * bump(x, y, 0, tip, 0.058, 0.05)
    wing = 0.112 * person.nose_width
    relief += 0.070 * bump(ax, y, wing, base + 0.03, 0.040, 0.042)
    canvas.radius[at] += relief
    groove = bump(ax, y, wing + 0.052, base + 0.03, 0.016, 0.045)
    nostril = bump(ax, y, 0.062 * person.nose_width, base + 0.002, 0.022, 0.013)
    canvas.radius[at] -= 0.012 * groove + 0.008 * nostril
    canvas.cavity[at] *= (1 - 0.30 * groove) * (1 - 0.50 * nostril)
    canvas.blood[at] += (0.13 + 0.12 * person.redness) * bump(x, y, 0, tip, 0.10, 0.09)
    canvas.gloss[at] += 0.55 * bump(x, y, 0, tip + 0.01, 0.05, 0.05) + 0.2 * bump(x, y, 0, -0.3, 0.03, 0.15)


def _wrinkles(person: Person, canvas: Canvas, rng: np.random.Generator) -> None:
    """Forehead lines, crow's feet and bags: grooves whose depth grows with age."""
    age = person.age
    if age < 0.12:
        return
    at = surface.box(-0.5, 0.5, 0.05, 0.5)
    x, y = canvas.x[at], canvas.y[at]
    lines = np.zeros_like(x)
    for k in range(int(rng.integers(2, 5))):
        level = 0.14 + 0.085 * k + rng.normal(0, 0.01)
        curve = level + 0.03 * np.cos(x * 9 + rng.uniform(-1, 1)) - 0.06 * x * x
        lines += rng.uniform(0.5, 1) * np.exp(-np.square((y - curve) / 0.014)) * ramp(np.abs(x), 0.42, 0.2)
    canvas.radius[at] -= 0.007 * age * lines
    canvas.cavity[at] *= 1 - 0.22 * age * np.minimum(lines, 1)
    at = surface.box(-0.62, 0.62, -0.45, 0.0)
    x, y = np.abs(canvas.x[at]), canvas.y[at]
    out = x - person.eye_distance - person.eye_size
    # fans of lines from the corner of the eye outwards
    feet = np.exp(-np.square((out - 0.07) / 0.045)) * (0.5 + 0.5 * np.cos((y - person.eye_height) * 150 + 18 * out))
    feet *= ramp(np.abs(y - person.eye_height), 0.10, 0.03)
    bag = bump(x, y, person.eye_distance, person.eye_height - 0.125, 0.11, 0.018)
    canvas.radius[at] += 0.006 * age * (bag - feet)
    lower = bump(x, y, person.eye_distance, person.eye_height - 0.155, 0.12, 0.014)
    canvas.radius[at] -= 0.010 * age * lower
    canvas.cavity[at] *= (1 - 0.18 * age * lower) * (1 - 0.2 * age * feet)


def _pigments(person: Person, canvas: Canvas, rng: np.random.Generator) -> None:
    rows, cols = canvas.radius.shape
    blotch, pores = window("blotch", rng, rows, cols), window("pores", rng, rows, cols)
    cloud = window("cloud", rng, rows, cols)  # three scales of texture: blotches, pores and slow clouds
    canvas.melanin += person.melanin * (1 + 0.045 * cloud + 0.03 * blotch) + 0.010 * pores + 0.012 * blotch
    canvas.blood += 0.26 + 0.18 * person.redness + 0.035 * blotch + 0.03 * cloud + 0.014 * pores
    canvas.gloss += 0.42 + 0.06 * pores
    canvas.radius += (0.0007 + 0.0012 * person.age) * pores + 0.0013 * person.age * blotch
    at = surface.box(-0.62, 0.62, -1.2, 0.55)
    x, y = np.abs(canvas.x[at]), canvas.y[at]
    canvas.blood[at] += (0.10 + 0.16 * person.redness) * bump(x, y, 0.38, -0.45, 0.13, 0.12)
    canvas.blood[at] += 0.06 * bump(x, y, 0, -1.05, 0.12, 0.08)
    under_eye = bump(x, y, person.eye_distance - 0.03, person.eye_height - 0.10, 0.09, 0.035)
    canvas.melanin[at] += (0.05 + 0.08 * person.age) * under_eye
    canvas.blood[at] += 0.07 * under_eye
    canvas.gloss[at] += 0.25 * bump(x, y, 0.0, 0.22, 0.22, 0.13) + 0.2 * bump(x, y, 0.37, -0.33, 0.08, 0.06)
    if person.freckles:
        spots = ramp(window("pores", rng, *x.shape), 1.1, 2.0) * (bump(x, y, 0.22, -0.36, 0.22, 0.13) + 0.25)
        canvas.melanin[at] += 0.30 * person.freckles * spots
    spotted = rng.poisson(0.8 + 2.5 * person.age)
    # moles, more with age
    for _ in range(int(spotted)):
        mx, my = rng.uniform(-0.45, 0.45), rng.uniform(-1.0, 0.35)
        at = surface.box(mx - 0.06, mx + 0.06, my - 0.06, my + 0.06)
        size = rng.uniform(0.008, 0.02)
        mole = bump(canvas.x[at], canvas.y[at], mx, my, size, size)
        canvas.melanin[at] += rng.uniform(0.15, 0.5) * mole


def bare_head(person: Person, rng: np.random.Generator) -> Canvas:
    """Return the head without eyes, brows, mouth, hair or beard.

    Args:
        person: the identity.
        rng: generator of this person's textures.

    Returns:
        A canvas with radius, pigments, gloss and cavities.
    """
    radius = _skull(person)
    x, y, _ = surface.positions(radius)
    blank = [np.zeros(radius.shape, np.float32) for _ in range(5)]
    canvas = Canvas(
        x, y, radius, blank[0], blank[1], np.zeros((3, *radius.shape), np.float32), blank[2], blank[3], blank[4],
        np.ones(radius.shape, np.float32),
    )  # fmt: skip
    _face_relief(person, canvas)
    _nose(person, canvas)
    _ears(person, canvas)
    _wrinkles(person, canvas, rng)
    _pigments(person, canvas, rng)
    # the neck lies in the shade of the head
    canvas.cavity *= 1 - 0.12 * ramp(surface.axes().V, -1.12, -1.3)[:, None]
    return canvas
