"""Find the face and put eyes and mouth where they always are.

The detector is MTCNN (Zhang, K. et al.: Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks. IEEE Signal Processing Letters 2016) as packaged by facenet-pytorch, whose weights are inside the package.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forge.core.errors import UnknownNameError
from forge.faces.imaging.decode import Square, Unusable
from forge.faces.imaging.masks import halved

# eyes, nose and corners of the mouth in units of the distance of the eyes, from the middle of the eyes: the mean of
# 395 FairFace photos as MTCNN sees them, after Procrustes alignment, made symmetric
_SHAPE = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, 0.57), (-0.45, 1.058), (0.45, 1.058)])
_MARGIN = 0.3  # around the photo in which the face is searched, as a fraction of its longest side
_MOST_PIXELS_PER_OUTPUT_PIXEL = 16  # along each side

Landmarks = NDArray[np.float64]  # [5, 2], x and y in pixels: left eye, right eye, nose, left and right mouth corner


@dataclass(frozen=True)
class FaceCrop:
    """Settings of the face detection and crop; recorded in the card.

    Attributes:
        threshold: least probability of a face, 0..1.
        eye_distance: between the eyes, as a fraction of the output's width. 0.4 keeps chin, ears and most of the
            forehead, and fits into photos that are cut tightly (FairFace).
        eye_height: of the eyes from the top, as a fraction of the output's height.
        detector_side: photos are shrunk to this longest side in pixels before the face is searched.
        min_face: least width of a face in pixels after that.
        most_outside: reject when a larger fraction of the output lies outside the photo; the rest is mirrored.
        enlarged: None: the face is turned upright and put where the template has it. A number: the square around the
            detected box, so many times as large as its longer side, as it stands in the photo.
    """

    threshold: float = 0.95
    eye_distance: float = 0.4
    eye_height: float = 0.34
    detector_side: int = 160
    min_face: int = 24
    most_outside: float = 0.15
    enlarged: float | None = None

    def describe(self) -> dict[str, Any]:
        """Return JSON values for the card."""
        values = asdict(self)
        if self.enlarged is None:  # sets of earlier versions have no such value
            del values["enlarged"]
        return {"detector": "MTCNN of facenet-pytorch", "margin": _MARGIN, **values}

    @property
    def template(self) -> Landmarks:
        """Positions of the five landmarks in the output, in fractions of its side."""
        return np.array([0.5, self.eye_height]) + self.eye_distance * _SHAPE


CROPS = {"none": None, "face": FaceCrop(), "ff++": FaceCrop(enlarged=1.3)}  # by name; "none" finds no face


def check_crop(crop: str) -> None:
    """Refuse a crop that is not known.

    Raises:
        UnknownNameError: not in `CROPS`; carries the nearest.
    """
    if crop not in CROPS:
        raise UnknownNameError("crop", crop, list(CROPS))


def enlarged_box(box: NDArray[np.float64], size: tuple[int, int], scale: float = 1.3) -> Square:
    """Return the square around a face as FaceForensics++ cuts it, within the photo.

    Roessler et al.: FaceForensics++: Learning to Detect Manipulated Facial Images. ICCV 2019, `get_boundingbox` of
    `classification/detect_from_video.py`: a side of `scale` times the longer side of the detected box, about the box's
    middle, moved inwards at the upper left and shrunk at the lower right edge of the photo. Theirs are boxes of dlib,
    here they are of MTCNN, which reach higher up the forehead.

    Args:
        box: left, top, right and lower edge in pixels.
        size: width and height of the photo.
        scale: of the longer side.
    """
    x1, y1, x2, y2 = (int(edge) for edge in box)
    side = int(max(x2 - x1, y2 - y1) * scale)
    left, top = max((x1 + x2) // 2 - side // 2, 0), max((y1 + y2) // 2 - side // 2, 0)
    return Square(left, top, min(side, size[0] - left, size[1] - top))


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        box: left, top, right and bottom edge in pixels of the photo; may reach beyond it.
        landmarks: [5, 2], as `align` takes them.
        edges: float64 [4], the same box to a tenth of a pixel of the search, as `enlarged_box` takes it.
    """

    box: tuple[int, int, int, int]
    landmarks: Landmarks
    edges: NDArray[np.float64]


class FaceFinder:
    """Finds the faces of each photo; loads torch and the detector when made.

    Args:
        crop: settings.
    """

    def __init__(self, crop: FaceCrop) -> None:
        from facenet_pytorch import MTCNN  # imports torch, which only face detection needs

        self.crop = crop
        self._margin = round(crop.detector_side * _MARGIN)  # in pixels of the shrunk photo
        self._network = MTCNN(min_face_size=crop.min_face, device="cpu").eval()

    def chances(self, images: Sequence[Image.Image]) -> list[float]:
        """Return the probability of the surest face in each image, 0..1; 0 where there is no candidate at all."""
        canvases = np.stack([self._canvas(image, self._scale(image)) for image in images])
        return [max((float(chance) for _, chance, _ in faces), default=0.0) for faces in self._candidates(canvases)]

    def find(self, images: Sequence[Image.Image]) -> list[Landmarks | None]:
        """Return the landmarks of the main face of each image, in its pixels; None where there is no face."""
        return [faces[0].landmarks if faces else None for faces in self.find_all(images)]

    def find_all(self, images: Sequence[Image.Image]) -> list[list[Face]]:
        """Return every face of each image, the main one first: large and in the middle."""
        scales = [self._scale(image) for image in images]
        canvases = np.stack([self._canvas(image, scale) for image, scale in zip(images, scales, strict=True)])
        with _one_thread():
            detections = self._detect(canvases)
        out: list[list[Face]] = []
        for image, scale, faces in zip(images, scales, detections, strict=True):
            boxes, points = faces or (np.empty((0, 4)), np.empty((0, 5, 2)))
            # what is cut is coarser than float noise: the result must not depend on what else is in the batch
            out.append(
                [
                    Face(
                        tuple(np.rint(boxes[i] * scale).astype(int).tolist()),
                        np.round(points[i], 1) * scale,
                        np.round(boxes[i], 1) * scale,
                    )
                    for i in _by_prominence(boxes, image, scale)
                ]
            )
        return out

    def _scale(self, image: Image.Image) -> float:
        return max(1.0, max(image.size) / self.crop.detector_side)  # at least 1: small photos are not enlarged

    def _canvas(self, image: Image.Image, scale: float) -> NDArray[np.uint8]:
        # facenet-pytorch cuts a candidate box at the picture's edge and stretches what is left, which shifts the
        # landmarks of faces near an edge by up to a fifth of the face; a margin keeps boxes whole
        side = self.crop.detector_side + 2 * self._margin
        canvas = Image.new("RGB", (side, side), (128, 128, 128))  # mid-grey around the photo
        width, height = (max(1, round(edge / scale)) for edge in image.size)
        # reducing_gap: a fast box reduction first, to three times the size or more, then the filter
        small = image if scale == 1 else image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
        canvas.paste(small, (self._margin, self._margin))
        return np.asarray(canvas)

    def _detect(self, canvases: NDArray[np.uint8]) -> list[tuple[NDArray[np.float64], Landmarks] | None]:
        """Return boxes [n, 4] and landmarks [n, 5, 2] of the faces above the threshold, photo by photo."""
        faces_by_image: list[tuple[NDArray[np.float64], Landmarks] | None] = []
        for faces in self._candidates(canvases):
            sure = [(box, points) for box, chance, points in faces if chance >= self.crop.threshold]
            if not sure:
                faces_by_image.append(None)
                continue
            # back to the photo without its margin
            boxes, points = (np.asarray(values, float) - self._margin for values in zip(*sure, strict=True))
            faces_by_image.append((boxes, points))
        return faces_by_image

    def _candidates(self, canvases: NDArray[np.uint8]) -> list[list[tuple[Any, float, Any]]]:
        """Return the box, probability and landmarks of every candidate, photo by photo, in pixels of the canvas."""
        try:
            detections = self._network.detect(canvases, landmarks=True)
        except (RuntimeError, IndexError, ValueError):
            # facenet-pytorch fails on a batch when a candidate box of one photo lies wholly outside it
            # one by one, so that only the photo at fault has no face
            if len(canvases) == 1:
                return [[]]
            return [self._candidates(canvases[i : i + 1])[0] for i in range(len(canvases))]
        return [
            [] if boxes is None else list(zip(boxes, chances, points, strict=True))
            for boxes, chances, points in zip(*detections, strict=True)
        ]


# once a process: the detector's weights are loaded for its first chunk alone
@functools.cache
def finder_for(crop: FaceCrop) -> FaceFinder:
    """Return the face finder of these settings."""
    return FaceFinder(crop)


def _by_prominence(boxes: NDArray[np.float64], image: Image.Image, scale: float) -> list[int]:
    """Return the order of faces from the main one on: by their side less their distance from the centre."""
    side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array(image.size) / scale / 2
    return [int(i) for i in np.argsort(np.hypot(*centre.T) - side, kind="stable")]


@contextmanager
def _one_thread() -> Iterator[None]:
    # several processes share the cores, and sums in another order would give other last digits
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def align(
    image: Image.Image,
    landmarks: Landmarks,
    resolution: int,
    crop: FaceCrop,
    *,
    resampling: tuple[Image.Resampling, Image.Resampling] = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS),
) -> NDArray[np.uint8]:
    """Rotate, scale and shift a photo so that its landmarks meet the template, antialiased.

    Args:
        image: RGB.
        landmarks: [5, 2] in its pixels.
        resolution: of the result.
        crop: the template.
        resampling: filters that turn and that shrink the photo.

    Returns:
        uint8 [resolution, resolution, 3].

    Raises:
        Unusable: "too small" when the face would have to be enlarged; "face cut off".
    """
    # w = a z + b with z in the unit square of the output and w in the photo's pixels
    a, b = similarity(crop.template, landmarks)
    side = abs(a)  # of the output, in the photo's pixels
    if side < resolution:  # enlarged faces are blurred, which a detector could tell
        raise Unusable("too small", f"the face's square is {side:.0f} pixels wide, {resolution} are needed")
    outside = _outside(a, b, image.size)
    if outside > crop.most_outside:
        raise Unusable("face cut off", f"{outside:.0%} of the face's square lie outside the photo")
    # the photo is read at about its own density and shrunk afterwards: bicubic sampling at the output's density would
    # alias
    fine = resolution * min(math.ceil(side / resolution), _MOST_PIXELS_PER_OUTPUT_PIXEL)
    part, left, top = _padded(image, a, b)
    step, shift = a / fine, b - complex(left, top)  # a step of one fine pixel, and the origin within the part
    # PIL maps pixels of the output to the photo: x' = a x + b y + c, y' = d x + e y + f
    affine = (step.real, -step.imag, shift.real, step.imag, step.real, shift.imag)
    turned = part.transform((fine, fine), Image.Transform.AFFINE, affine, resampling[0])
    return np.asarray(turned.resize((resolution, resolution), resampling[1]))


def align_mask(mask: NDArray[np.bool_], landmarks: Landmarks, resolution: int, crop: FaceCrop) -> NDArray[np.uint8]:
    """Turn, scale and shift a mask as `align` does its photo.

    Args:
        mask: bool [H, W].
        landmarks: [5, 2] in pixels of the photo.
        resolution: of the result.
        crop: the template.

    Returns:
        uint8 [resolution, resolution], 255 where at least half of the pixel is altered, else 0.
    """
    image = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
    filters = Image.Resampling.BILINEAR, Image.Resampling.BOX
    return halved(align(image, landmarks, resolution, crop, resampling=filters)[..., 0])


def similarity(template: Landmarks, landmarks: Landmarks) -> tuple[complex, complex]:
    """Least-squares similarity transform w = a z + b from template to landmarks, points as complex numbers x + iy.

    a = sum conj(z - mean z) (w - mean w) / sum |z - mean z|^2 (Umeyama 1991 for the plane, without reflection).
    """
    z, w = (points[:, 0] + 1j * points[:, 1] for points in (template, landmarks))  # [5] each
    centred = z - z.mean()
    # the argument of a turns, its modulus scales; a mirror image cannot be written so
    a = (centred.conj() * (w - w.mean())).sum() / (abs(centred) ** 2).sum()
    return complex(a), complex(w.mean() - a * z.mean())


def _outside(a: complex, b: complex, size: tuple[int, int]) -> float:
    """Return the fraction of the output square that lies outside a photo of this size, on a 32 x 32 grid."""
    ticks = (np.arange(32) + 0.5) / 32  # centres of the cells
    points = a * (ticks[None, :] + 1j * ticks[:, None]) + b
    inside = (points.real >= 0) & (points.real <= size[0]) & (points.imag >= 0) & (points.imag <= size[1])
    return float(1 - inside.mean())


def _padded(image: Image.Image, a: complex, b: complex) -> tuple[Image.Image, int, int]:
    """Return the part of a photo that the output square needs, mirrored beyond its edges, and where it begins."""
    corners = np.array([a * corner + b for corner in (0, 1, 1j, 1 + 1j)])  # of the unit square
    # bicubic reaches two pixels beyond; one to spare
    left, top = (math.floor(axis.min()) - 3 for axis in (corners.real, corners.imag))
    right, bottom = (math.ceil(axis.max()) + 3 for axis in (corners.real, corners.imag))
    width, height = image.size
    inner = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    pad = ((inner[1] - top, bottom - inner[3]), (inner[0] - left, right - inner[2]), (0, 0))
    return Image.fromarray(np.pad(np.asarray(image.crop(inner)), pad, mode="symmetric")), left, top
