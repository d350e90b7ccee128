"""Regions of an image that are altered: outlines of faces and their parts, free shapes, brush strokes, as soft masks.

Points are (x, y) in pixels counted from the corner of the frame, so that the middle of the first pixel is at 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from forge.tampering.landmarks import OUTLINES, TEMPLATE, Floats, PlacedFace

RegionName = Literal["face", "eyes", "nose", "mouth", "ellipse", "bezier", "polygon", "strokes"]

_OVERSAMPLING = 4  # outlines are drawn this much larger, and a pixel's weight is the share that lies inside
_CORNERS = 48  # of round outlines
_JITTER = 0.15  # parts are larger or smaller by up to this share, along each axis
_REACH = (0.12, 0.88)  # where free shapes have their middle, shares of the side
_PLACES = 8  # that are tried for a shape that leaves the features of a face alone
# ellipses around the parts in eye distances: middle and half axes
_ELLIPSES = {
    "eyes": [((-0.5, -0.04), (0.36, 0.24)), ((0.5, -0.04), (0.36, 0.24))],
    "nose": [((0.0, float(TEMPLATE[2, 1]) - 0.12), (0.32, 0.42))],
    "mouth": [((0.0, float(TEMPLATE[3:, 1].mean())), (0.52, 0.28))],
}

_FEATURES = np.array([ellipse for part in _ELLIPSES.values() for ellipse in part])  # [E, 2, 2], middle and half axes


@dataclass(frozen=True)
class Region:
    """A part of the frame.

    Attributes:
        name: what it is.
        outlines: closed polygons, each [n, 2] in pixels; their union is the region.
        strokes: lines of points [n, 2] in pixels, with their width.
    """

    name: str
    outlines: tuple[Floats, ...] = ()
    strokes: tuple[tuple[Floats, float], ...] = field(default=())

    def moved(self, affine: Floats) -> Region:
        """Return the region under an affine map [3, 2] from (x, y, 1) to pixels."""
        scale = math.sqrt(abs(np.linalg.det(affine[:2])))
        return Region(
            self.name,
            tuple(outline @ affine[:2] + affine[2] for outline in self.outlines),
            tuple((points @ affine[:2] + affine[2], width * scale) for points, width in self.strokes),
        )

    @property
    def rim(self) -> Floats:
        """Points [n, 2] on its outlines, or along its strokes."""
        return np.concatenate([*self.outlines, *(points for points, _ in self.strokes)])

    def avoids_features(self, face: PlacedFace, affine: Floats | None = None) -> NDArray[np.bool_]:
        """Whether eyes, nose and mouth lie outside of it, as they do for an average face.

        Args:
            face: where it is.
            affine: maps [..., 3, 2] that move the region first; None: where it is.

        Returns:
            bool [...], one answer a map; of no dimensions without maps.
        """
        middle = self.rim.mean(0)
        # points on the rim and inside of it
        points = np.concatenate([middle + share * (self.rim - middle) for share in (1.0, 0.7, 0.4, 0.0)])
        if affine is not None:
            points = points @ affine[..., :2, :] + affine[..., 2:, :]
        # in eye distances, each axis [..., 1, P] against ellipses [E, 1]
        offsets = ((points - face.affine[2]) @ face.inverse)[..., None, :, :]
        across, down = (
            ((offsets[..., axis] - _FEATURES[:, :1, axis]) / _FEATURES[:, 1:, axis]) ** 2 for axis in (0, 1)
        )
        return np.asarray((across + down).min((-2, -1)) > 1)

    def beside_features(self, face: PlacedFace, side: int, source: np.random.Generator) -> Region | None:
        """Return the region at the first of some random places where it leaves eyes, nose and mouth alone; None: none.

        Args:
            face: where it is.
            side: of the frame in pixels.
            source: of random numbers.
        """
        if self.avoids_features(face):
            return self
        moves = source.uniform(*_REACH, (_PLACES, 2)) * side - self.rim.mean(0)
        maps = np.concatenate([np.broadcast_to(np.eye(2), (_PLACES, 2, 2)), moves[:, None]], 1)  # [places, 3, 2]
        fits = self.avoids_features(face, maps)
        return self.moved(maps[int(fits.argmax())]) if fits.any() else None

    def coverage(self, side: int) -> Floats:
        """Return the share of each pixel that lies inside, [side, side] in 0..1."""
        canvas = Image.new("L", (side * _OVERSAMPLING,) * 2)
        pen = ImageDraw.Draw(canvas)
        for outline in self.outlines:
            # a pixel of the canvas counts as inside where its middle is
            pen.polygon([tuple(point) for point in (outline * _OVERSAMPLING - 0.5).tolist()], fill=255)
        for points, width in self.strokes:
            corners, radius = points * _OVERSAMPLING - 0.5, width * _OVERSAMPLING / 2
            line = [tuple(point) for point in corners.tolist()]
            pen.line(line, fill=255, width=max(1, round(2 * radius)), joint="curve")
            for x, y in (line[0], line[-1]):
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        return np.asarray(canvas.reduce(_OVERSAMPLING), np.float64) / 255

    def mask(self, side: int, feather: float = 0.0) -> Floats:
        """Return the region as weights [side, side] in 0..1.

        Args:
            side: of the frame.
            feather: standard deviation of the Gaussian that softens the rim, pixels.
        """
        covered = self.coverage(side)
        return np.asarray(gaussian_filter(covered, feather)) if feather > 0 else covered


def draw_region(
    name: RegionName, face: PlacedFace, side: int, area: tuple[float, float], source: np.random.Generator
) -> Region:
    """Draw a region.

    Args:
        name: of the face or a part of it, whose place and size follow the landmarks; or a free shape.
        face: where the face is.
        side: of the frame in pixels.
        area: smallest and largest share of the frame that a free shape covers, as if all of it lay inside.
        source: of random numbers.
    """
    if name == "face":
        outline = OUTLINES[int(source.random() < 0.5)]
        middle = outline.mean(0)
        return Region(name, (face.at((outline - middle) * source.uniform(0.8, 1.0) + middle),))
    if name in _ELLIPSES:
        ellipses = _ELLIPSES[name]
        if name == "eyes":
            # both, or one of them
            which = int(source.integers(3))
            ellipses = ellipses if which == 2 else [ellipses[which]]
        size = 1 + source.uniform(-_JITTER, _JITTER, 2)
        return Region(name, tuple(face.at(np.array(c) + _circle() * np.array(r) * size) for c, r in ellipses))
    # in equal numbers over the orders of magnitude: small regions are as frequent as large ones
    wanted = math.exp(source.uniform(*np.log(area))) * side**2
    middle = source.uniform(*_REACH, 2) * side
    if name == "strokes":
        return _strokes(middle, wanted, side, source)
    if name == "ellipse":
        points = _circle() * np.array([1.0, source.uniform(0.5, 1.0)])
    else:
        points = _star(int(source.integers(5, 10)), source)
        if name == "bezier":
            points = _rounded(points)
    angle = source.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return Region(name, (points @ turn * math.sqrt(wanted / enclosed(points)) + middle,))


def enclosed(points: Floats) -> float:
    """Return the area that a closed polygon [n, 2] encloses."""
    x, y = points.T
    after_x, after_y = (np.concatenate([axis[1:], axis[:1]]) for axis in (x, y))
    return float(abs(x @ after_y - y @ after_x) / 2)  # the shoelace formula


def _circle() -> Floats:
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _star(corners: int, source: np.random.Generator) -> Floats:
    """Return a polygon around 0 whose corners lie at rising angles, so that it never crosses itself."""
    angles = (np.arange(corners) + source.uniform(-0.35, 0.35, corners)) * (2 * np.pi / corners)
    return np.asarray(source.uniform(0.45, 1.0, (corners, 1)) * np.column_stack([np.cos(angles), np.sin(angles)]))


def _rounded(points: Floats, steps: int = 8) -> Floats:
    """Return a closed chain of cubic Bezier curves through points; tangents are (next - last) / 2 (Catmull, Rom)."""
    after, before = np.roll(points, -1, 0), np.roll(points, 1, 0)
    first = points + (after - before) / 6  # inner control points of the curve from each point to the next
    second = after - (np.roll(points, -2, 0) - points) / 6
    t = (np.arange(steps) / steps)[:, None, None]
    curve = (1 - t) ** 3 * points + 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second + t**3 * after
    return np.asarray(curve.swapaxes(0, 1).reshape(-1, 2))


def _strokes(middle: Floats, wanted: float, side: int, source: np.random.Generator) -> Region:
    """Draw one to three brush strokes whose lengths times widths are the wanted area."""
    count = int(source.integers(1, 4))
    lines = []
    for _ in range(count):
        steps = source.normal(0, 0.12, (4, 2)).cumsum(0) * side
        lines.append(np.clip(middle + steps - steps.mean(0) + source.normal(0, 0.08, 2) * side, 1, side - 1))
    length = sum(float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines)
    width = min(max(wanted / max(length, 1.0), 1.5), 0.2 * side)
    return Region("strokes", strokes=tuple((line, width) for line in lines))
