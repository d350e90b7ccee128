"""Six changes that a photo meets on its way and that leave its content as it was: is the verdict the same after them?

Chosen as the mildest form of each operation that photos on the web have gone through: saving again in an editor (JPEG
90), a messenger (JPEG 70), a web page (WebP 80), showing it smaller and saving that (scaled), slight loss of focus
(blur) and grain (noise). Each is fixed: the same photo gives the same six images on every call. They are applied to the
part of the photo that the detector sees, at the photo's own resolution, before it is reduced to the detector's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from forge.faces.crop import FaceCrop, Landmarks, align, similarity
from forge.faces.imaging.decode import centre_square, resize

LARGEST_SIDE = 1080  # pixels; what is larger is reduced first, as sharing does, which also bounds the time
_SCALE = 0.75
_BLUR_SIGMA = 0.8  # pixels
_NOISE_SIGMA = 3.0  # grey levels of 255
_NOISE_SIDE = 256  # pixels of the pattern, which is repeated


def _coded(form: str, **options: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, form, **options)
        with Image.open(file, formats=(form,)) as opened:
            return opened.convert("RGB")

    return change


def _scaled(image: Image.Image) -> Image.Image:
    width, height = (max(1, round(side * _SCALE)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(_BLUR_SIGMA))


@functools.cache
def _noise() -> NDArray[np.int16]:
    # the stream of RandomState is frozen (NEP 19), that of a Generator is not: no version of NumPy changes a verdict
    values = np.random.RandomState(20).normal(0, _NOISE_SIGMA, (_NOISE_SIDE, _NOISE_SIDE, 3))
    return np.rint(values).astype(np.int16)


def _grained(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.int16)
    height, width = (-(-side // _NOISE_SIDE) for side in pixels.shape[:2])  # repeats, rounded up
    pattern = np.tile(_noise(), (height, width, 1))[: pixels.shape[0], : pixels.shape[1]]
    return Image.fromarray(np.clip(pixels + pattern, 0, 255).astype(np.uint8))


# key in files -> change of an RGB image into one of the same size
REENCODINGS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg90": _coded("JPEG", quality=90),
    "jpeg70": _coded("JPEG", quality=70),
    "webp80": _coded("WEBP", quality=80, method=2),  # method: effort of the search for a smaller file
    "scaled": _scaled,
    "blurred": _blurred,
    "noise": _grained,
}
TITLES: Mapping[str, str] = {
    "jpeg90": "JPEG 90",
    "jpeg70": "JPEG 70",
    "webp80": "WebP 80",
    "scaled": f"scaling to {100 * _SCALE:.0f} % and back",
    "blurred": f"blur of {_BLUR_SIGMA:g} px",
    "noise": f"noise of {_NOISE_SIGMA:g} grey levels",
}


def reencoded(
    image: Image.Image, resolution: int, landmarks: Landmarks | None = None, crop: FaceCrop | None = None
) -> NDArray[np.uint8]:
    """Return what a detector sees of a photo after each of `REENCODINGS`.

    Args:
        image: the photo, RGB.
        resolution: of the detector, pixels.
        landmarks: of the face that is judged, [5, 2] in pixels of the photo; None: the largest square in the middle.
        crop: how faces are aligned; needed with `landmarks`.

    Returns:
        uint8 [6, resolution, resolution, 3], in the order of `REENCODINGS`.
    """
    if landmarks is None or crop is None:
        left, top, side = centre_square(image)
        square = image.crop((left, top, left + side, top + side))
        part = _bounded(square, resolution)
        return np.stack([resize(change(part), resolution) for change in REENCODINGS.values()])
    part, points = _around(image, landmarks, crop, resolution)
    return np.stack([align(change(part), points, resolution, crop) for change in REENCODINGS.values()])


def _bounded(image: Image.Image, resolution: int) -> Image.Image:
    longest, limit = max(image.size), max(LARGEST_SIDE, 2 * resolution)
    if longest <= limit:
        return image
    width, height = (max(1, round(side * limit / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _around(image: Image.Image, landmarks: Landmarks, crop: FaceCrop, resolution: int) -> tuple[Image.Image, Landmarks]:
    """Return the part of a photo that the aligned face needs, and the landmarks in it."""
    a, b = similarity(crop.template, landmarks)
    corners = np.array([a * corner + b for corner in (0, 1, 1j, 1 + 1j)])  # of the output's square, in the photo
    # filters of the changes and of the alignment reach a few pixels beyond the square
    left, top = (max(0, int(axis.min()) - 16) for axis in (corners.real, corners.imag))
    right, bottom = (
        min(side, int(axis.max()) + 17) for side, axis in zip(image.size, (corners.real, corners.imag), strict=True)
    )
    part = image.crop((left, top, right, bottom))
    small = _bounded(part, resolution)
    ratio = np.array(small.size) / np.array(part.size)
    return small, (landmarks - np.array([left, top])) * ratio
