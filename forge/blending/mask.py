"""Face masks: five landmarks to a convex outline of the face, and the outline to a soft mask.

Lengths are in eye distances (between the middles of the eyes), so that a face of any size in a frame of any size is
treated alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def soft_mask(
    corners: Floats, erode: Floats, feather: Floats, sigma: Floats, displacement: Floats, side: int
) -> Floats:
    """Return masks of convex outlines: deformed, shrunk, then blurred at the rim.

    Args:
        corners: [N, E, 2] in pixels, clockwise as seen on the screen.
        erode: [N], how far the rim moves inwards, pixels.
        feather: [N, 2], half width of the blur's window along y and x, pixels.
        sigma: [N, 2], standard deviation of the Gaussian inside that window, pixels.
        displacement: [N, side, side, 2], from each pixel to the place it is read from, (x, y) in pixels.
        side: of the frame.

    Returns:
        float64 [N, side, side] in 0..1, exactly 0 farther from the outline than the largest move, the window and a
        pixel; 1 at the highest place.
    """
    ticks = np.arange(side) + 0.5  # centres of the pixels
    x, y = ticks[None, None, :] + displacement[..., 0], ticks[None, :, None] + displacement[..., 1]  # [N, side, side]
    # the signed distance to a convex outline is the largest of the distances to its edges' lines: exact inside and
    # beside an edge, too small only beyond a corner
    depth = np.full((len(corners), side, side), -np.inf)  # beyond the outline; negative inside
    edges = np.roll(corners, -1, axis=1) - corners  # [N, E, 2]
    # y points down and the corners run clockwise, so that (dy, -dx) points outwards
    normals = np.stack([edges[..., 1], -edges[..., 0]], axis=-1) / np.linalg.norm(edges, axis=-1, keepdims=True)
    offsets = (normals * corners).sum(-1)  # [N, E]; a point p is n.p - offset beyond the line
    for edge in range(corners.shape[1]):
        nx, ny, offset = (v[:, edge, None, None] for v in (normals[..., 0], normals[..., 1], offsets))
        np.maximum(depth, nx * x + ny * y - offset, out=depth)
    # a ramp one pixel wide around the shrunk rim, so that the mask does not jump with whole pixels
    hard = np.clip(0.5 - depth - erode[:, None, None], 0.0, 1.0)
    # [N, side, side] each
    rows, columns = (_windowed_gaussian(feather[:, axis], sigma[:, axis], side) for axis in (0, 1))
    soft = rows @ hard @ columns.swapaxes(1, 2)  # separable: down the columns, then along the rows
    # divided by the maximum as the repository does: a small face under a wide blur would else never reach 1
    highest = soft.max((1, 2), keepdims=True)
    return np.clip(soft / np.where(highest > 0, highest, 1.0), 0.0, 1.0)


def elastic_field(field: Floats, reach: Floats, side: int) -> Floats:
    """Return a smooth random move of every pixel, from one value a control point (Gaussian weights that sum to 1).

    Args:
        field: [N, 2, G, G] in -1..1, on a grid over the frame.
        reach: [N], the largest move in pixels; a typical one is a sixth of it.
        side: of the frame.

    Returns:
        [N, side, side, 2], x and y in pixels, each at most `reach`.
    """
    points = field.shape[-1]
    positions = (np.arange(side) + 0.5) / side * (points - 1)  # of the pixels, in steps between control points
    # [side, G]; one step is one standard deviation
    weights = np.exp(-0.5 * (positions[:, None] - np.arange(points)) ** 2)
    # weights that are positive and sum to 1 give averages: no move exceeds the largest value times reach
    weights /= weights.sum(1, keepdims=True)
    # [N, 2, side, side] to [N, side, side, 2]
    return np.asarray(np.moveaxis(weights @ field @ weights.T, 1, -1) * reach[:, None, None, None])


def _windowed_gaussian(half: Floats, sigma: Floats, side: int) -> Floats:
    """Return matrices [N, side, side] that blur a column of pixels with a Gaussian cut off at +-half; rows sum to 1."""
    from scipy.special import ndtr  # here, so that listing detectors, which reads the settings of blends, stays instant

    distance = (np.arange(side)[:, None] - np.arange(side))[None]  # [1, side, side]
    half, sigma = half[:, None, None], sigma[:, None, None]
    # the part of each pixel that lies inside the window, and the Gaussian's mass over it: windows of any width in
    # pixels, also below 1, where a sampled kernel of whole pixels would jump
    low, high = np.maximum(distance - 0.5, -half), np.minimum(distance + 0.5, half)
    weights = np.where(high > low, ndtr(high / sigma) - ndtr(low / sigma), 0.0)
    return np.asarray(weights / weights.sum(-1, keepdims=True))  # normalised, also where the frame cuts the window off
