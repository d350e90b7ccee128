"""Landmarks of faces, and the template that is laid over them: from eye distances to pixels, with outlines of the face.

Lengths are in eye distances (between the middles of the eyes), so that a face of any size in a frame of any size is
treated alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forge.faces.crop import FaceCrop, FaceFinder
from forge.faces.faceset import Images

Floats = NDArray[np.float64]

SIDE = 80  # faces are searched in copies of this side: in 64 px MTCNN misses more, in 128 px it takes twice as long
FINDER = FaceCrop(threshold=0.9, detector_side=SIDE, min_face=36)
TEMPLATE = FaceCrop(eye_distance=1.0, eye_height=0.0).template - [0.5, 0.0]  # landmarks around the middle of the eyes
# landmarks without a detected face, in fractions of the frame: between the means of 256 FairFace photos (eyes .36
# apart, .30 from the top) and of 256 rendered people (.24, .45)
AVERAGE = FaceCrop(eye_distance=0.3, eye_height=0.38).template

# outlines in the coordinates of TEMPLATE, the half right of the nose from the top down; the other half mirrors it
_JAW = [(1.06, -0.1), (1.05, 0.2), (1.0, 0.6), (0.9, 1.0), (0.72, 1.36), (0.45, 1.66), (0.16, 1.8)]
_HALVES = {
    "brows": [(0.3, -0.52), (0.75, -0.5), (0.98, -0.36), *_JAW],  # what 68 landmarks enclose
    "forehead": [(0.3, -1.0), (0.7, -0.82), (0.95, -0.45), *_JAW],  # what 81 do
}
OUTLINES = np.array([[*half, *((-x, y) for x, y in reversed(half))] for half in _HALVES.values()])  # [2, E, 2]

_SMALLEST, _LARGEST = 0.06, 0.8  # eye distance of a face that can be, in sides of the frame
_MOST_SQUEEZED = 3.0  # a profile is this much narrower than a full face
# rows (x, y, 1) of the template times the wanted map give the landmarks; the pseudo-inverse solves that by least
# squares for any face with one product
_TO_AFFINE = np.linalg.pinv(np.column_stack([TEMPLATE, np.ones(5)]))  # [3, 5]


def find_landmarks(read: Callable[[int], Images], count: int, on_done: Callable[[int], None]) -> Floats:
    """Find the main face of each image; costs far more than blending, so done once per set.

    Args:
        read: gives the images from a position on, some at a time, uint8 [n, H, H, 3].
        count: images in all.
        on_done: called with the number of images done.

    Returns:
        [count, 5, 2]: x and y in pixels of eyes, nose and corners of the mouth; NaN where no face was found.
    """
    finder = FaceFinder(FINDER)
    points = np.full((count, 5, 2), np.nan)
    done = 0
    while done < count:
        images = read(done)
        enlarged = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
        for number, landmarks in enumerate(finder.find(enlarged)):
            if landmarks is not None:
                # pixels of the enlarged copy to pixels of the image
                points[done + number] = landmarks * (images.shape[1] / SIDE)
        done += len(images)
        on_done(done)
    return points


@dataclass(frozen=True)
class PlacedFace:
    """A face in its frame; see `PlacedFaces`.

    Attributes:
        affine: [3, 2], from (x, y, 1) in eye distances to pixels.
        unit: the eye distance in pixels.
        average: whether no face is known and the average one stands in.
    """

    affine: Floats
    unit: float
    average: bool

    @cached_property
    def inverse(self) -> Floats:
        """Return the inverse of the linear part, [2, 2], from pixels to eye distances."""
        return np.asarray(np.linalg.inv(self.affine[:2]))

    def at(self, points: Floats) -> Floats:
        """Return the pixels [n, 2] of points [n, 2] in eye distances around the middle of the eyes."""
        return np.asarray(points @ self.affine[:2] + self.affine[2])

    def onto(self, other: PlacedFace) -> Floats:
        """Return the affine map [3, 2] from pixels (x, y, 1) of this face's frame to those of another face's."""
        linear = self.inverse @ other.affine[:2]
        return np.vstack([linear, other.affine[2] - self.affine[2] @ linear])


@dataclass(frozen=True)
class PlacedFaces:
    """Faces in their frames.

    Attributes:
        affine: [N, 3, 2], from (x, y, 1) in eye distances to pixels.
        unit: [N], the eye distance in pixels.
        average: bool [N], where no face is known and the average one stands in.
    """

    affine: Floats
    unit: Floats
    average: NDArray[np.bool_]

    def __getitem__(self, number: int) -> PlacedFace:
        """Return one of the faces."""
        return PlacedFace(self.affine[number], float(self.unit[number]), bool(self.average[number]))

    def outline(self, upper_edge: NDArray[np.int64]) -> Floats:
        """Return the corners of the convex face outlines in pixels, [N, E, 2]; `upper_edge` [N]: 0 brows, 1 hair."""
        # [N, E, 2] @ [N, 2, 2] + [N, 1, 2]
        return np.asarray(OUTLINES[upper_edge] @ self.affine[:, :2] + self.affine[:, 2:])


def fit_template(landmarks: Floats, side: int) -> PlacedFaces:
    """Lay the template over landmarks by the least-squares affine map.

    Args:
        landmarks: [N, 5, 2] in pixels, NaN where there is no face.
        side: of the frame in pixels.

    Returns:
        The faces; landmarks that no face can have (mirrored, outside, tiny, squeezed) count as no face.
    """
    fallback = _TO_AFFINE @ (AVERAGE * side)  # [3, 2], the average face in a frame of this side
    known = np.asarray(np.isfinite(landmarks).all((1, 2)))  # [N]
    # NaN are replaced before the product, not after it: 0 times NaN is NaN, and it would spread over the row
    affine = np.where(known[:, None, None], _TO_AFFINE @ np.where(known[:, None, None], landmarks, 0.0), fallback)
    # singular values [N, 2], largest first: pixels an eye distance, along the most and the least stretched direction
    sizes = np.linalg.svd(affine[:, :2], compute_uv=False)
    unit = np.sqrt(sizes.prod(1))  # geometric mean of the two, the root of |det|
    # row 2 is the middle of the eyes, row 1 the step of one eye distance downwards
    centre = affine[:, 2] + affine[:, 1] / 2  # about the nose
    possible = (
        known
        & (np.linalg.det(affine[:, :2]) > 0)  # turned, but not mirrored
        & (unit > _SMALLEST * side)
        & (unit < _LARGEST * side)
        & (sizes[:, 0] < _MOST_SQUEEZED * sizes[:, 1])  # not seen nearly from the side
        & ((centre > 0) & (centre < side)).all(1)
    )
    affine = np.where(possible[:, None, None], affine, fallback)
    unit = np.where(possible, unit, np.sqrt(abs(np.linalg.det(fallback[:2]))))
    return PlacedFaces(affine, unit, ~possible)
