"""Pictures of faces inside the page: display copies, small enough to mail."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from forge.faces.imaging.grids import grid

_LARGEST = 96  # pixels of a face on the page
_QUALITY = 88


def data_uri(image: np.ndarray) -> str:
    """Encode a picture as a WebP data URI.

    Args:
        image: uint8 [H, W, 3].
    """
    return _encode(Image.fromarray(smaller(image[None], _LARGEST)[0]))


def grid_uri(faces: np.ndarray, *, columns: int = 8) -> str:
    """A grid of faces as a WebP data URI; faces over 96 px are made smaller.

    Args:
        faces: uint8 [n, H, W, 3].
        columns: faces a row.
    """
    return _encode(grid(smaller(faces, _LARGEST), columns=columns))


def file_uri(file: Path, *, side: int = 512) -> str:
    """A picture file as a WebP data URI, made smaller where it is wider or higher than `side` pixels."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)  # keeps the aspect ratio, never enlarges
    return _encode(picture)


def map_uri(colours: np.ndarray) -> str:
    """A map of few colours as a lossless WebP data URI, at its own size.

    Args:
        colours: uint8 [H, W, 3].
    """
    return _encode(Image.fromarray(colours), lossless=True)


def smaller(faces: np.ndarray, side: int) -> np.ndarray:
    """Shrink faces that are larger than `side` pixels; others are returned as they are."""
    # One resolution for a whole set, so that one test is enough.
    if max(faces.shape[1:3]) <= side:
        return faces
    return np.stack(
        [np.asarray(Image.fromarray(face).resize((side, side), Image.Resampling.LANCZOS)) for face in faces]
    )


def _encode(picture: Image.Image, *, lossless: bool = False) -> str:
    data = io.BytesIO()
    picture.save(data, format="WEBP", quality=_QUALITY, method=4, lossless=lossless)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
