"""From a fitted detector and forgeries with masks to rows of masks.parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation.localisation import COLUMNS, MEAN_MASK, packed, write_rows
from benchmarks.evaluation.pixels import LevelScale, PixelCounts
from detect.artifact import TrainedDetector
from forge.core.compute import Compute
from forge.core.errors import DetectorError
from forge.faces.faceset import FaceView, Images
from forge.tampering.base import BINARY

__all__ = ["pixel_rows", "write_rows"]

Maps = NDArray[np.float32]
MapsOf = Callable[[FaceView], Maps]
Part = tuple[str, FaceView]  # generator, "" for real images, and its images

_REAL = ""  # generator of real images in rows
_BLOCK = 256  # images at a time
_TRIED = 8  # images that show whether a detector has a gradient


def pixel_rows(
    trained: TrainedDetector,
    compute: Compute,
    *,
    source: Literal["map", "saliency"],
    training: str,
    val: Sequence[Part],
    test: Sequence[Part],
    masks: Sequence[FaceView],
) -> pd.DataFrame:
    """Return the rows of a detector, and of the mean training mask where there are training masks.

    Args:
        trained: the detector.
        compute: the device.
        source: the detector's maps, or the gradient of its score; of a detector without the latter there are no rows.
        training: name of its training forgeries.
        val: images that the scale of levels and the threshold follow from.
        test: images that are measured.
        masks: training images whose masks are averaged, a view a generator; empty: no control.

    Raises:
        DetectorError: maps of another shape, or with values that are no numbers.
    """

    def maps(view: FaceView) -> Maps:
        return np.concatenate([_checked(made(images, compute), images, family) for images in view.batches(_BLOCK)])

    detector, family = trained.detector, trained.detector.family
    made = detector.maps if source == "map" else detector.gradient_maps
    sources: list[tuple[str, str, MapsOf]] = [(trained.name, source, maps)]
    if source == "saliency":
        # what the class has, an instance may lack: a score of rounded values has no gradient, or 0 everywhere
        some = made(test[0][1].head(_TRIED).read(), compute)
        sources = [] if some is None or not some.any() else sources
    if masks:
        mean = np.mean([_truth(view, view.faces.card.name).mean(0) for view in masks], axis=0).astype(np.float32)
        sources.append((MEAN_MASK, "control", lambda view: np.repeat(mean[None], len(view), axis=0)))
    frames = [frame for name, drawn_from, maps_of in sources for frame in _measured(maps_of, val, test, detector=name,
              source=drawn_from, trained_on=training, seed=trained.seed)]  # fmt: skip
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def _measured(maps: MapsOf, val: Sequence[Part], test: Sequence[Part], **facts: object) -> Iterator[pd.DataFrame]:
    """Yield the rows of one source of maps, a frame for each split and generator."""
    of_val = [(generator, view, maps(view)) for generator, view in val]
    scale = LevelScale.of(np.concatenate([made.ravel() for _, _, made in of_val]))
    of_test = ((generator, view, maps(view)) for generator, view in test)
    for split, parts in (("val", of_val), ("test", of_test)):
        for generator, view, made in parts:
            altered, untouched = packed(PixelCounts.of(scale.levels(made), _truth(view, generator)))
            columns = {
                "sample_id": view.rows["id"].to_numpy(),
                "identity": view.rows["identity"].to_numpy(),
                "generator": generator,
                "split": split,
                "altered": altered,
                "untouched": untouched,
            }
            yield pd.DataFrame(facts | columns)


def _checked(made: Maps | None, images: Images, family: str) -> Maps:
    if made is None or made.shape != images.shape[:3] or not np.isfinite(made).all():
        got = "none" if made is None else f"shape {made.shape}, or values that are no numbers"
        raise DetectorError(f"{family} must return finite maps of shape {images.shape[:3]}; it returned {got}")
    return np.asarray(made, np.float32)


def _truth(view: FaceView, generator: str) -> NDArray[np.bool_]:
    """Return which pixels were altered, [n, H, W]."""
    if generator == _REAL:
        size = view.faces.resolution
        return np.zeros((len(view), size, size), bool)
    return np.asarray(view.read_masks() >= BINARY)
