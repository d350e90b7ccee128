"""Luma: grey of colour images as ITU-R BT.601 defines it, as JPEG's Y is and as OpenCV reads an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)  # of gamma-coded R, G and B; they sum to 1, so that white stays white


def luminance(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return grey images [n, H, W] in 0..1 of RGB images [n, H, W, 3]."""
    weights = np.array(LUMA, np.float32) / 255  # 0..255 to 0..1
    return np.asarray(images.astype(np.float32) @ weights, np.float32)
