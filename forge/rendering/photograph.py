"""Photographs: pose, light, expression and camera of an image, combined with a person."""

from dataclasses import dataclass

import numpy as np

from forge.rendering import background, features, glasses, hair, surface
from forge.rendering.camera import Camera, encode, expose
from forge.rendering.canvas import Canvas
from forge.rendering.features import Expression
from forge.rendering.head import bare_head
from forge.rendering.noise import Array
from forge.rendering.person import Person
from forge.rendering.shading import Light, maps, shade, skin_colour
from forge.rendering.trace import View, trace

SMILE_FROM = 0.35  # a smile weaker than this is not called one, and is not drawn

_MOBILE = surface.box(-0.8, 0.8, -1.35, 0.4)  # where eyes, brows, mouth and the folds about them lie


@dataclass(frozen=True)
class Shot:
    """One exposure of a person: uint8 RGB picture, its JPEG file and quality, and what was drawn."""

    image: np.ndarray
    jpeg: bytes
    quality: int
    smiles: bool
    glasses: str


@dataclass(frozen=True)
class Sculpture:
    """All of a person that is the same in every picture: the canvas, and what shading looks up on it."""

    canvas: Canvas
    stack: Array


def sculpt(person: Person) -> Sculpture:
    """Make a person's head without eyes, brows and mouth, which move."""
    rng = np.random.default_rng(person.texture_seed)
    canvas = bare_head(person, rng)
    hair.beard(person, canvas, rng)
    hair.scalp_hair(person, canvas, rng)
    hair.occlude(canvas)
    return Sculpture(canvas, maps(canvas))


def _rotation(yaw: float, pitch: float, roll: float) -> Array:
    # yaw about the vertical first, then pitch, then roll in the picture
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turn: Array = (about_z @ about_x @ about_y).astype(np.float32)
    return turn


def _unit(x: float, y: float, z: float) -> Array:
    v = np.array((x, y, z))
    unit: Array = (v / np.linalg.norm(v)).astype(np.float32)
    return unit


def _pose(rng: np.random.Generator, size: int) -> View:
    # radians; at most 36 degrees of yaw, 16 of pitch, 14 of roll
    yaw = float(np.clip(rng.normal(0, 0.26), -0.62, 0.62))
    pitch = float(np.clip(rng.normal(0.03, 0.11), -0.25, 0.28))
    roll = float(np.clip(rng.normal(0, 0.08), -0.25, 0.25))
    scale = size * rng.uniform(0.35, 0.44)  # the head's half height in pixels
    # the face's middle, not the skull's, is what people frame
    middle = 0.27
    turn = _rotation(yaw, pitch, roll)
    lean = turn @ np.array((0, -middle, 0.35), np.float32)  # the face's middle, turned: the picture is framed about it
    shift = (-lean[0] * scale + size * rng.normal(0, 0.025), lean[1] * scale + size * rng.normal(0.0, 0.022))
    return View(turn, float(scale), (float(shift[0]), float(shift[1])), float(rng.uniform(4.5, 11)), size)


def _warmth(kelvin: float) -> Array:
    """Rough linear RGB of a light source, 1 in green; kelvin 2800 (bulb) .. 8000 (shade)."""
    # 1 at 5500 K; warmer light has more red and less blue
    t = np.log(kelvin / 5500)
    return np.array((np.exp(-0.55 * t), 1, np.exp(0.75 * t)), np.float32)


def _light(rng: np.random.Generator, around: Array) -> Light:
    """Draw the light; `around` [3] is the background's mean colour, which the shadows take up."""
    light = rng.choice(5, p=(0.36, 0.26, 0.16, 0.10, 0.12))
    # light 0: a key from about the front, and much ambient light
    side, high = rng.normal(0, 0.55), rng.uniform(0.15, 0.9)
    key, ambient, softness = 1.0, 0.42, 0.35
    if light == 1:  # a window at one side
        side, high, ambient, softness = rng.choice((-1, 1)) * rng.uniform(0.7, 1.7), rng.uniform(0.0, 0.6), 0.30, 0.45
    elif light == 2:  # sun or spot
        side, high, key, ambient, softness = rng.normal(0, 0.8), rng.uniform(0.5, 1.2), 1.3, 0.34, 0.16
    elif light == 3:  # flash beside the lens
        side, high, key, ambient, softness = rng.normal(0, 0.12), rng.uniform(0.0, 0.2), 1.2, 0.16, 0.2
    elif light == 4:  # overcast
        key, ambient, softness = 0.45, 0.85, 0.7
    colour_of = around / (around.mean() + 1e-3)
    neutral = 0.25 * colour_of + 0.75
    sky = ambient * neutral * _warmth(rng.uniform(4500, 7500))
    warm = _warmth(rng.uniform(4400, 7000) if light != 3 else 5600.0)
    rim = rng.uniform(0, 0.9) if rng.random() < 0.35 else 0.0
    return Light(
        key=_unit(side, high, 1.0),
        key_rgb=(key * warm).astype(np.float32),
        rim=_unit(-np.sign(side) * rng.uniform(0.7, 1.2), rng.uniform(0.1, 0.8), -rng.uniform(0.3, 0.9)),
        rim_rgb=(rim * _warmth(rng.uniform(4000, 7500))).astype(np.float32),
        sky_rgb=sky.astype(np.float32),
        ground_rgb=(sky * rng.uniform(0.35, 0.7) * np.array((1.08, 1, 0.9))).astype(np.float32),
        softness=float(softness),
    )


def _expression(rng: np.random.Generator, key: Array, turn: Array) -> Expression:
    smiling = rng.random() < 0.48
    smile = float(rng.uniform(0.5, 1.0)) if smiling else float(rng.uniform(0, 0.12))
    open_mouth = rng.random() < (0.62 if smiling else 0.10)
    part = float(rng.uniform(0.035, 0.085)) * (1 if smiling else 0.5) if open_mouth else 0.0
    yaw = float(np.arctan2(turn[0, 2], turn[2, 2]))  # of the head, radians, from the rotation's last column
    # eyes mostly return to the camera when the head turns away
    gaze = (-0.055 * np.sin(yaw) * rng.uniform(0.4, 1.2) + rng.normal(0, 0.006), rng.normal(0.0, 0.005))
    local = turn.T @ key  # towards the light, in head coordinates: reflections in the eyes lie there
    return Expression(
        smile=smile,
        part=part,
        lids=float(np.clip(rng.normal(1, 0.09), 0.72, 1.2)),
        gaze=(float(gaze[0]), float(gaze[1])),
        brows=float(rng.normal(0, 0.010)),
        sparkle=(float(np.clip(0.022 * local[0], -0.02, 0.02)), float(np.clip(0.006 + 0.016 * local[1], 0, 0.022))),
    )


def _camera(rng: np.random.Generator, size: int) -> Camera:
    gain = np.exp(rng.uniform(np.log(0.6), np.log(6)))  # ISO relative to a clean exposure
    return Camera(
        blur=float(rng.uniform(0.5, 1.0) * size / 160),  # 0.5..1 pixels in a picture of 160
        fringe=float(rng.uniform(0.15, 0.6)) if rng.random() < 0.3 else 0.0,
        # a sensor that is turned up `gain` times: shot noise variance is in proportion, read noise grows more slowly
        shot=float(2.2e-4 * gain),
        read=float(1.6e-3 * gain**0.8),
        balance=(float(np.exp(rng.normal(0, 0.035))), 1.0, float(np.exp(rng.normal(0, 0.045)))),
        contrast=float(rng.uniform(0, 0.55)),
        vignette=float(rng.uniform(0, 0.35)),
        quality=int(rng.integers(60, 96)),
        subsampling="4:4:4" if rng.random() < 0.2 else "4:2:0",
        noise_at=int(rng.integers(0, (1 << 21) - size * size)),  # chip has 2^21 values
    )


def photograph(person: Person, base: Sculpture, rng: np.random.Generator, size: int) -> Shot:
    """Take one picture of a person.

    Args:
        person: who.
        base: the person from `sculpt`; not changed.
        rng: generator keyed by (seed, image) alone.
        size: edge in pixels, even.

    Returns:
        The picture with its JPEG file.
    """
    scene = background.background(rng, size)
    view, camera = _pose(rng, size), _camera(rng, size)
    light = _light(rng, scene.mean(axis=(1, 2)))
    mood = _expression(rng, light.key, view.turn)
    worn = person.glasses if rng.random() < {"none": 0.0, "clear": 0.9, "sun": 0.65}[person.glasses] else "none"
    slant = float(rng.normal(0, 0.8))
    # only the rectangle that moves is painted and shaded anew; the rest is the sculpture's
    canvas = base.canvas.copy(_MOBILE)
    # a stream of its own: the same bristles in every picture of the person
    features.brows(person, mood, canvas, np.random.default_rng(person.texture_seed + 1))
    features.eyes(person, mood, canvas)
    features.mouth(person, mood, canvas)
    if worn != "none":
        glasses.cast_shadow(person, canvas)
    stack = base.stack.copy()
    stack[:, _MOBILE[0], _MOBILE[1]] = maps(canvas, _MOBILE)
    hits = trace(canvas.radius, view, view.turn.T @ light.key, light.softness)
    radiance = shade(stack, hits, light, view.turn)
    clothes = (0.22 * np.exp(rng.normal(0, 0.9)) * np.exp(rng.normal(0, 0.4, 3))).astype(np.float32)
    skin = skin_colour(np.full(1, person.melanin * 1.02, np.float32), np.full(1, 0.34, np.float32))[:, 0]
    at, body, body_alpha, body_z = background.shoulders(
        rng, view, light, skin, np.minimum(clothes, 0.8), -0.25 * float(view.turn[0, 1])
    )
    scene[:, at] += (body - scene[:, at]) * body_alpha
    head_z = np.full(size * size, -9, np.float32)  # -9: behind everything
    head_z[hits.index] = hits.z
    alpha = hits.alpha.copy()
    # the head hides the body and the body the head, by depth, softly over 0.04 head units
    low = hits.index >= at.start * size
    behind = body_z.ravel()[hits.index[low] - at.start * size] - hits.z[low]
    covered = body_alpha.ravel()[hits.index[low] - at.start * size]
    alpha[low] *= 1 - covered * np.clip(behind / 0.04 + 0.5, 0, 1)
    for plane, seen in zip(scene.reshape(3, -1), radiance, strict=True):
        hidden = plane[hits.index]
        plane[hits.index] = hidden + (seen - hidden) * alpha  # by the pixel's coverage: the outline is antialiased
    if worn != "none":
        tint = light.sky_rgb + 0.6 * light.key_rgb
        glasses.wear(
            person,
            view,
            scene,
            head_z.reshape(size, size),
            light.sky_rgb + 0.5 * light.key_rgb,
            tint,
            slant,
        )
    # the camera meters mostly on the face, but does not turn all skin to one grey
    luminance = float(np.mean(0.3 * radiance[0] + 0.6 * radiance[1] + 0.1 * radiance[2]))  # of the face's radiance
    # a face of luminance 0.27 is kept as it is; the power corrects 45 % of a deviation in stops
    scene *= np.float32(1.2 * np.exp(rng.normal(0, 0.16)) * (luminance / 0.27) ** -0.45)
    image = expose(scene, camera)
    return Shot(image, encode(image, camera), camera.quality, mood.smile > SMILE_FROM, worn)
