"""Glasses: two lenses on a bent sheet before the eyes, and the arms to the ears."""

import numpy as np

from forge.rendering import surface
from forge.rendering.canvas import Canvas, colour, ramp
from forge.rendering.noise import Array
from forge.rendering.person import Person
from forge.rendering.trace import View


def _sheet(person: Person) -> tuple[float, float]:
    """Height of the lenses' centre and depth of the sheet at the bridge, head units."""
    return person.eye_height - 0.035, person.depth + 0.085  # a little below the middle of the eyes, and before the face


def _lens(person: Person, x: Array, y: Array) -> Array:
    """Return the signed distance to the nearer lens's rim on the sheet, about exact near the rim, negative inside."""
    # a superellipse |u|^n + |v|^n = 1 (2 round, larger squarer); both lenses at once by |x|
    wide, high = person.frame_size
    centre, _ = _sheet(person)
    u = np.abs(np.abs(x) - np.float32(0.045 + wide)) * np.float32(1 / wide)
    v = np.abs(y - np.float32(centre)) * np.float32(1 / high)
    n = np.float32(person.frame_shape)
    # times the smaller half axis: about a length near the rim
    result: Array = ((u**n + v**n + 1e-9) ** np.float32(1 / n) - 1) * np.float32(min(wide, high))
    return result


def cast_shadow(person: Person, canvas: Canvas) -> None:
    """The rims' soft shadow on cheeks and nose."""
    at = surface.box(-0.62, 0.62, -0.5, 0.12)
    distance = _lens(person, canvas.x[at] * 1.03, canvas.y[at] + 0.03)
    canvas.cavity[at] *= 1 - 0.30 * np.exp(-np.square(distance / (0.022 + person.frame_thickness)))
    if person.glasses == "sun":
        canvas.cavity[at] *= 1 - 0.45 * ramp(distance, 0.04, -0.03)


def wear(person: Person, view: View, scene: Array, head_z: Array, glare: Array, tint: Array, tilt: float) -> None:
    """Put the person's glasses into the picture.

    Args:
        person: who wears them.
        view: the camera.
        scene: linear RGB [3, size, size], changed in place.
        head_z: camera z of the head at each pixel, very negative where there is none, [size, size].
        glare: colour of what the lenses mirror, [3].
        tint: colour of the light on the frame, [3].
        tilt: slant of the mirrored edge.
    """
    centre, front = _sheet(person)
    wide, high = person.frame_size
    outer = 0.045 + 2 * wide
    sag = 0.30
    hinge = front - sag * outer**2  # depth of the sheet where the arms begin
    # a box around the glasses, projected: only its pixels are computed
    corners = np.array(
        [
            [s * (outer + 0.06), centre + v, z]
            for s in (-1, 1)
            for v in (-high - 0.06, high + 0.06)
            for z in (front, -0.1)
        ],
        np.float32,
    ).T
    px, py, _ = view.project(corners)
    c0, c1 = max(0, int(px.min()) - 2), min(view.size, int(px.max()) + 3)
    r0, r1 = max(0, int(py.min()) - 2), min(view.size, int(py.max()) + 3)
    if c1 - c0 < 4 or r1 - r0 < 4:  # nearly edge-on or outside the picture
        return
    columns, rows = view.plane()
    x, y = columns[None, c0:c1], rows[r0:r1, None]
    # intersect the rays with the sheet z = front - sag x² in head coordinates; three fixed-point steps are enough
    into = view.turn.T  # inverse of a rotation
    # where each ray crosses the camera's plane z = 0, in head coordinates
    start = into[:, 0, None, None] * x + into[:, 1, None, None] * y
    way = into[:, 2, None, None] * np.float32(view.distance) - start
    depth: Array | float = front - 0.02
    for _ in range(3):
        gx, gy, _gz = start + way * ((depth - start[2]) / way[2])
        depth = front - sag * gx * gx
    distance = _lens(person, gx, gy)
    fuzz = 0.7 / view.scale  # 0.7 pixels in head units: edges are as soft as the picture can show
    thick = person.frame_thickness
    inside = ramp(distance, fuzz, -fuzz)
    patch = scene[:, r0:r1, c0:c1]
    edge = ramp((gx * tilt + gy - centre) / high + 0.3 * np.sin(gx * 5 + tilt), -0.2, 0.9)
    if person.glasses == "sun":
        dark = colour(np.asarray(person.frame_rgb, np.float32) * 0.25) + colour((0.012, 0.012, 0.014))
        patch += (dark * (1 - 0.4 * edge) + colour(glare) * (0.02 + 0.10 * edge) - patch) * inside * 0.96
    else:
        patch += (colour(glare) * np.float32(0.55) - patch) * inside * (0.015 + 0.085 * edge)
    rim = ramp(np.abs(distance) - thick, fuzz, -fuzz)
    bridge = ramp(np.abs(gy - centre - 0.045 - 0.03 * np.cos(gx * 20)) - thick * 0.9, fuzz, -fuzz) * ramp(
        np.abs(gx), 0.07, 0.05
    )
    wings = ramp(np.abs(gy - centre - 0.55 * high) - 1.3 * thick, fuzz, -fuzz) * ramp(
        np.abs(gx), outer - 0.03, outer - 0.01
    )
    wings = wings * ramp(np.abs(gx), outer + 0.05, outer + 0.04)
    if person.frame_rimless:
        rim = rim * 0.22
    frame = np.maximum(np.maximum(rim, bridge), wings)
    shine = 0.75 + 0.5 * ramp(distance, -thick, thick) * ramp(gy, centre, centre + high)
    lit = colour(person.frame_rgb) * colour(tint) * shine + colour(tint) * (
        0.02 + 0.05 * np.exp(-np.square((distance + 0.4 * thick) / 0.007))
    )
    patch += (lit - patch) * frame * 0.97
    for side in (-1, 1):
        ends = np.array(
            [
                [side * (outer + 0.02), side * (person.width + 0.04)],
                [centre + 0.55 * high, centre + 0.08],
                [hinge, -0.02],
            ],
            np.float32,
        )
        ex, ey, ez = view.project(ends)
        ax, ay = (np.arange(c0, c1) + 0.5 - ex[0])[None, :], (np.arange(r0, r1) + 0.5 - ey[0])[:, None]
        dx, dy = ex[1] - ex[0], ey[1] - ey[0]
        # nearest place on the arm's line, 0 at the hinge, 1 at the ear
        along = np.clip((ax * dx + ay * dy) / (dx * dx + dy * dy + 1e-3), 0, 1)
        off = np.hypot(ax - along * dx, ay - along * dy)
        near = ez[0] + along * (ez[1] - ez[0]) + 0.03  # camera z along the arm, 0.03 nearer to the camera
        # hidden where the head is nearer to the camera
        arm = ramp(off, thick * view.scale + 0.6, thick * view.scale - 0.6) * ramp(
            near - head_z[r0:r1, c0:c1], -0.01, 0.02
        )
        arm = (arm * ramp(along, 1.0, 0.96)).astype(np.float32)
        patch += (colour(person.frame_rgb) * colour(tint) * np.float32(0.85) - patch) * arm * 0.95
