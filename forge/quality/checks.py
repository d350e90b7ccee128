"""Checks of images and features before they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError

MIN_IMAGES = 16

Features = NDArray[np.floating[Any]]  # [n, D], one row per image


def check_images(sets: Mapping[str, NDArray[Any]], *, equal_n: bool = False, min_images: int = MIN_IMAGES) -> None:
    """Refuse what no metric can use: each set must be uint8 [n, H, H, 3], all of one size.

    Args:
        sets: image arrays by the name an error calls them.
        equal_n: all sets must have the same number of images.
        min_images: fewest images per set.

    Raises:
        InputError: wrong type or shape, too few images, different resolutions or counts.
    """
    for name, images in sets.items():
        # floats are refused rather than guessed at: 0..1 and 0..255 cannot be told apart for sure
        if images.dtype != np.uint8:
            raise InputError(f"{name} images are {images.dtype}; give uint8 pixels in 0..255")
        if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
            raise InputError(f"{name} images have the shape {images.shape}; give square RGB images [n, H, H, 3]")
        if len(images) < min_images:
            raise InputError(f"{name} has {len(images)} images; measuring needs at least {min_images}, make more")
    sides = {name: images.shape[1] for name, images in sets.items()}
    if len(set(sides.values())) > 1:
        listed = ", ".join(f"{name} {side} px" for name, side in sides.items())
        raise InputError(f"the sets differ in resolution ({listed}); prepare or synthesize them at the same size")
    counts = {name: len(images) for name, images in sets.items()}
    if equal_n and len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"the sets differ in their number of images ({listed}); draw the same number from each")


def check_features(sets: Mapping[str, NDArray[Any]], *, min_images: int = MIN_IMAGES) -> None:
    """Refuse feature arrays that are not finite [n, D] with one D and at least `min_images` rows.

    Raises:
        InputError: see above.
    """
    for name, features in sets.items():
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
            raise InputError(f"{name} features are {features.dtype} {features.shape}; give floats [n, D]")
        if len(features) < min_images:
            raise InputError(
                f"{name} has {len(features)} rows of features; at least {min_images} are needed, add images"
            )
        if not np.isfinite(features).all():
            raise InputError(f"{name} features are not finite; check the extractor")
    widths = {name: features.shape[1] for name, features in sets.items()}
    if len(set(widths.values())) > 1:
        raise InputError(f"the features differ in dimension ({widths}); extract both with the same extractor")
