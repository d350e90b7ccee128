"""Moving features of a face: eyes, brows and mouth, painted anew for every picture."""

from dataclasses import dataclass

import numpy as np

from forge.rendering import surface
from forge.rendering.canvas import Canvas, bump, clip, colour, ramp
from forge.rendering.noise import Array, window
from forge.rendering.person import Person


@dataclass(frozen=True)
class Expression:
    """Expression of a face in one picture.

    Attributes:
        smile: 0 neutral .. 1 broad.
        part: how far the lips are open, head units.
        lids: opening of the eyes relative to the person's own.
        gaze: where the eyes look, head units right and up.
        brows: how far the brows are raised, head units.
        sparkle: offset of the light's reflection in the eyes, head units right and up.
    """

    smile: float
    part: float
    lids: float
    gaze: tuple[float, float]
    brows: float
    sparkle: tuple[float, float]


def eyes(person: Person, mood: Expression, canvas: Canvas) -> None:
    """Eyeballs, iris, lids, lashes and crease of both eyes.

    A head is symmetric, so lids are worked out for the eye on the right of the picture and mirrored; irises are not.
    """
    cx, cy, half = person.eye_distance, person.eye_height, person.eye_size
    right = surface.box(cx - 0.27, cx + 0.30, cy - 0.20, cy + 0.22)
    out, y = canvas.x[right] - cx, canvas.y[right] - cy  # out: towards the temple
    y = y - np.float32(person.eye_tilt) * out
    lids = person.eye_open * mood.lids * (1 - 0.22 * mood.smile)  # eyes narrow in a smile
    # the lens shape of the opening: 1 in the middle, 0 at both corners
    along = np.maximum(1 - np.square((out + 0.008) / half), 0)
    upper = 0.062 * lids * (along * (1 - 0.9 * out)) ** np.float32(0.62)  # highest on the side of the nose
    lower = -0.040 * (0.55 + 0.45 * lids) * along ** np.float32(0.75)
    # both distances to a lid positive: within the opening
    opening = ramp(np.minimum(upper - y, y - lower), -0.004, 0.014)
    # eyeball: redder in the corners, darker there and under the upper lid
    corner = np.square(clip(np.abs(out) / half, 0, 1))
    shade = (0.45 + 0.55 * ramp(upper - y, 0.0, 0.045)) * (1 - 0.45 * corner)
    white = colour((0.44, 0.40, 0.38)) * (1 - colour((0.0, 0.18, 0.18)) * corner) * shade
    # lids: a fold above, lashes on the rim
    fold = upper + np.float32(0.028 + 0.02 * person.crease)  # height of the fold above the lid
    # strengths 0..1 of crease, upper lashes and lower lashes
    crease = np.exp(-np.square((y - fold) / 0.011)) * ramp(np.abs(out), half + 0.045, half - 0.02) * person.crease
    lash = np.exp(-np.square((y - upper - 0.002) / (0.0105 + 0.006 * person.liner))) * ramp(along, 0.0, 0.15)
    lash *= np.minimum((0.62 + 0.38 * person.liner) * (1 + 0.3 * np.sign(out)), 0.95)
    low = np.exp(-np.square((y - lower + 0.003) / 0.009)) * ramp(along, 0, 0.3) * ramp(out, -0.1, 0.1)
    low *= 0.30 + 0.3 * person.liner
    bulge = 0.045 * bump(out, y, 0, 0.005, 0.085, 0.065) - 0.010 * crease
    red, brown = 0.10 * bump(out, y, 0, 0, half, 0.07), 0.035 * bump(out, y, 0, 0.05, half, 0.04)
    for side, at in ((1, right), (-1, surface.mirrored(right))):
        # writing through a flipped view keeps one set of formulas for both eyes
        turned = (slice(None), slice(None, None, side))
        canvas.radius[at] += bulge[turned]
        canvas.cavity[at] *= (1 - 0.38 * crease)[turned]
        canvas.blood[at] += red[turned]
        canvas.melanin[at] += brown[turned]
        canvas.gloss[at] += (opening * (0.12 - canvas.gloss[at][turned]))[turned]
        canvas.paint(at, opening[turned], white[:, :, ::side])
        _iris(person, mood, canvas, side, (opening * (1 - lash))[turned], shade[turned])
        canvas.paint(at, lash[turned], colour((0.014, 0.010, 0.009)))
        canvas.paint(at, low[turned], colour((0.03, 0.018, 0.015)))


def _iris(person: Person, mood: Expression, canvas: Canvas, side: int, opening: Array, shade: Array) -> None:
    """Iris, pupil and the light's reflection; `opening` and `shade` belong to the rectangle of `eyes`."""
    cx, cy = side * person.eye_distance, person.eye_height
    whole = surface.box(person.eye_distance - 0.27, person.eye_distance + 0.30, cy - 0.20, cy + 0.22)
    whole = whole if side > 0 else surface.mirrored(whole)
    at = surface.box(cx - 0.12, cx + 0.12, cy - 0.09, cy + 0.09)
    cut = tuple(slice(a.start - w.start, a.stop - w.start) for a, w in zip(at, whole, strict=True))
    opening, shade = opening[cut], shade[cut]
    # from the pupil, which gaze moves
    ix, iy = canvas.x[at] - np.float32(cx + mood.gaze[0]), canvas.y[at] - np.float32(cy + mood.gaze[1] + 0.006)
    distance = np.sqrt(ix * ix + iy * iy)  # from the pupil's centre, head units
    r = 0.061  # radius of the iris, 0.061 head units are 7 mm
    ring = 1 - 0.6 * ramp(distance, 0.66 * r, r)
    glow = 0.75 + 0.9 * ramp(-iy, 0.0, r)  # light from above is refracted to the lower half
    pupil = ramp(distance, 0.018, 0.032)
    iris = colour(person.iris) * (ring * glow * pupil * (0.4 + 0.6 * shade)) + np.float32(0.006)
    canvas.paint(at, opening * ramp(distance, r + 0.008, r - 0.008), iris)  # soft by 0.008 at its rim
    catch = bump(ix, iy, mood.sparkle[0], mood.sparkle[1], 0.011, 0.011)
    canvas.paint(at, opening * catch * np.float32(0.85), colour((1.3, 1.3, 1.3)))


def brows(person: Person, mood: Expression, canvas: Canvas, rng: np.random.Generator) -> None:
    """Both brows: bristles inside a tapering arch."""
    grey = person.hair_colour == "grey"
    shade = np.asarray(person.hair_rgb) * (0.55 if grey else 0.62) * np.asarray((1.0, 0.92, 0.88))
    shade = np.minimum(shade, (0.11, 0.07, 0.045)) if not grey else shade * 0.6
    cx, cy = person.eye_distance - 0.015, -0.018 + person.brow_height + mood.brows
    right = surface.box(cx - 0.26, cx + 0.26, cy - 0.12, cy + 0.15)
    out, y = canvas.x[right] - np.float32(cx), canvas.y[right] - np.float32(cy)
    t = clip((out + 0.185) / 0.385, 0, 1)  # 0 at the inner end, 1 at the outer one
    arch = person.brow_arch * np.sin(np.pi * t ** np.float32(1.25)) * 1.2 + 0.02 * (t - 0.4)
    thick = (0.034 - 0.019 * t) * person.brow_thickness
    # exp(-q^4): flat across the brow, steep at its edges
    body = np.exp(-np.square(np.square((y - arch) / thick))) * ramp(out, -0.215, -0.15) * ramp(out, 0.225, 0.10)
    hairs = window("bristle", rng, *out.shape) + 0.5 * window("pores", rng, *out.shape)
    alpha = clip(body * (0.74 + 0.30 * hairs), 0, 0.94)
    for side, at in ((1, right), (-1, surface.mirrored(right))):
        canvas.paint(at, alpha[:, ::side], colour(shade))
        canvas.radius[at] += (0.008 * body)[:, ::side]
        canvas.gloss[at] *= (1 - 0.7 * body)[:, ::side]


def mouth(person: Person, mood: Expression, canvas: Canvas) -> None:
    """Lips, teeth and the folds a smile draws."""
    smile = mood.smile
    half = person.mouth_width * (1 + 0.20 * smile)  # a smile widens the mouth
    level = -0.755 + person.mouth_height
    at = surface.box(-0.70, 0.70, level - 0.30, level + 0.60)
    x, y = canvas.x[at], canvas.y[at] - level
    ax = np.abs(x)
    canvas.radius[at] += 0.050 * smile * bump(ax, y, 0.35, 0.30, 0.11, 0.085)
    canvas.blood[at] += 0.06 * smile * bump(ax, y, 0.35, 0.30, 0.11, 0.085)
    fold_x = 0.125 + 0.30 * (0.20 - y) + (0.05 * smile + 0.03) * np.sin(np.clip((0.2 - y) / 0.25, 0, 1) * np.pi)
    fold = np.exp(-np.square((ax - fold_x) / 0.030)) * ramp(y, -0.16, 0.0) * ramp(y, 0.26, 0.14)
    strength = 0.18 + 0.55 * smile + 0.55 * person.age
    canvas.radius[at] -= 0.008 * strength * fold
    canvas.cavity[at] *= 1 - 0.14 * strength * fold
    at = surface.box(-0.42, 0.42, level - 0.2, level + 0.2)
    x, y = canvas.x[at], canvas.y[at] - level
    t2 = np.square(x / half)  # squared place across the mouth, 1 at the corners
    along = np.maximum(1 - t2, 0)
    # the line between the lips: a small peak in the middle, corners up with the smile
    line = (0.012 * np.exp(-np.square(x / 0.05)) - 0.008) + smile * 0.062 * np.minimum(t2, 1.2) - 0.02 * smile
    gap = mood.part * along**0.7
    top_edge, low_edge = line + 0.3 * gap, line - 0.7 * gap  # the gap opens mostly downwards
    bow = along**0.75 * (  # Cupid's bow: a dip in the middle between two peaks
        1 - 0.24 * np.exp(-np.square(x / 0.030)) + 0.10 * np.exp(-np.square((np.abs(x) - 0.06) / 0.04))
    )
    full = 1 - 0.22 * smile
    upper = top_edge + 0.056 * person.lip_upper * full * bow
    lower = low_edge - 0.072 * person.lip_lower * full * along**0.6
    in_upper = np.minimum(upper - y, y - top_edge)  # distance to the nearer edge of each lip, positive inside
    in_lower = np.minimum(low_edge - y, y - lower)
    lip = np.maximum(ramp(in_upper, -0.010, 0.012), ramp(in_lower, -0.012, 0.014))
    canvas.radius[at] += (
        0.030 * (np.sqrt(np.clip(in_upper, 0, None)) + 1.15 * np.sqrt(np.clip(in_lower, 0, None))) * 3.4 * 0.5
    )
    canvas.blood[at] += lip * (0.42 + 0.75 * person.lipstick)
    canvas.melanin[at] += lip * (0.06 + 0.10 * person.melanin - 0.25 * person.lipstick * person.melanin)
    canvas.gloss[at] += lip * (0.30 + 0.6 * person.lipstick)
    # inside: teeth, dark towards the corners and under the upper lip
    inside = ramp(np.minimum(top_edge - y, y - low_edge), -0.002, 0.012) * (gap > 0.012)  # only where lips are apart
    if mood.part > 0.012:
        teeth = ramp(np.abs(x), half * 0.93, half * 0.5) * ramp(top_edge - y, -0.004, 0.018)
        teeth *= ramp(y - low_edge, -0.005, 0.03 + 0.2 * max(0.0, mood.part - 0.09))
        # seams every 0.075 head units
        seams = 1 - 0.16 * np.exp(-np.square((np.mod(x + 0.0375, 0.075) - 0.0375) / 0.008))
        canvas.paint(at, inside, (colour((0.035, 0.012, 0.010)) + 0 * inside).astype(np.float32))
        canvas.paint(
            at, inside * teeth, (colour((0.60, 0.555, 0.48)) * seams * (0.55 + 0.45 * teeth)).astype(np.float32)
        )
        canvas.cavity[at] *= 1 - 0.35 * inside * (1 - teeth)
    seam = np.exp(-np.square((y - top_edge) / 0.010)) * ramp(t2, 1.06, 0.9)
    canvas.paint(at, (0.70 * seam * (1 - 0.5 * inside)).astype(np.float32), colour((0.05, 0.018, 0.015)))
    corner = bump(np.abs(x), y, half, float(smile * 0.045), 0.022, 0.020)
    canvas.radius[at] -= 0.022 * corner
    canvas.cavity[at] *= 1 - 0.30 * corner
    canvas.cavity[at] *= 1 - 0.28 * np.exp(-np.square((y - lower + 0.028) / 0.022)) * ramp(t2, 0.9, 0.1)
    canvas.radius[at] -= 0.007 * bump(x, y, 0, 0.13, 0.022, 0.045)
