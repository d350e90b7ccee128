"""Shared parts of the quality metrics: checks of image arrays, frozen results, shares with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import stdtrit
from scipy.stats import binomtest

from forge.core.errors import InputError

MIN_IMAGES = 16

Features = NDArray[np.floating[Any]]  # [n, D], one row per image


class Result(BaseModel):
    """A measured result: frozen, and no field but the documented ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(Result):
    """A share of images with Wilson's 95 % interval."""

    hits: int
    n: int
    value: float = Field(description="hits / n, 0..1")
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int) -> Share:
        """Return the share of `hits` among `n` images (at least one)."""
        # Wilson's interval stays inside 0..1 and has a width also at 0 and n hits, where the normal one shrinks to a
        # point
        interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        return cls(hits=hits, n=n, value=hits / n, low=float(interval.low), high=float(interval.high))


class SeedMean(Result):
    """Mean over seeds with Student's 95 % interval of it; all else, the test images too, is held fixed."""

    value: float
    low: float
    high: float
    seeds: list[float] = Field(description="value of each seed")

    @classmethod
    def of(cls, values: Sequence[float]) -> SeedMean:
        """Return the mean of at least two values; of paired seeds give the differences."""
        mean = float(np.mean(values))
        # mean +- t s / sqrt(S) with S - 1 degrees of freedom: the deviation of few seeds is itself uncertain
        half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
        return cls(value=mean, low=mean - half, high=mean + half, seeds=[float(value) for value in values])


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


def luminance(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return grey images [n, H, W] in 0..1 of RGB images [n, H, W, 3], with the weights of ITU-R BT.601."""
    weights = np.array([0.299, 0.587, 0.114], np.float32) / 255  # 0..255 to 0..1
    return np.asarray(images.astype(np.float32) @ weights, np.float32)
