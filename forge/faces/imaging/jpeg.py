"""JPEG: encoding and decoding an image; quantisation tables by quality, and the quality of given tables."""

from __future__ import annotations

import functools
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# ITU-T T.81 annex K, tables K.1 and K.2, row by row
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE = np.full((8, 8), 99)  # K.2 is 99 but for its upper left quarter
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def coded(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode an image [H, W, 3] as JPEG with Pillow and decode it again; chroma at 4:2:0."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file, formats=("JPEG",)) as opened:
        return np.asarray(opened)


def estimate_jpeg_quality(tables: tuple[tuple[int, ...], ...]) -> int:
    """Estimate the quality setting a JPEG was saved with from its quantisation tables.

    The quality whose tables under the scaling of the Independent JPEG Group's library (`jpeg_quality_scaling`:
    s = 5000 / q below 50, else 200 - 2 q; entry = clip(round(base * s / 100), 1, 255)) lie nearest in the L1 norm:
    exact for files of libjpeg and Pillow, an approximation for cameras and Photoshop, which use tables of their own.

    Args:
        tables: the luminance table and perhaps the chrominance table, each 64 entries row by row.

    Returns:
        1..100.
    """
    return _nearest_quality(tables[:2])


@functools.lru_cache(maxsize=1024)
def _nearest_quality(tables: tuple[tuple[int, ...], ...]) -> int:
    distance = np.zeros(100)
    for reference, table in zip(ijg_tables(), tables, strict=False):  # a grey JPEG has one table
        distance += np.abs(reference - np.array(table)).sum(axis=1)
    return int(distance.argmin()) + 1  # qualities begin at 1


@functools.cache
def ijg_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the luminance and chrominance tables of the qualities 1..100, each [100, 64]."""
    quality = np.arange(1, 101)
    # whole numbers, as libjpeg divides: 5000 / q is rounded down
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None]
    luminance, chrominance = (
        np.clip((base.reshape(1, 64) * scale + 50) // 100, 1, 255) for base in (_LUMINANCE, _CHROMINANCE)
    )
    return luminance, chrominance
