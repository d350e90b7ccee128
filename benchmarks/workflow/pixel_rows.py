"""From a fitted detector and forgeries with masks to rows of masks.parquet, and to the maps that a page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation.localisation import COLUMNS, MEAN_MASK, map_name, packed, packed_edges, write_rows
from benchmarks.evaluation.map_examples import MapExample, examples_of
from benchmarks.evaluation.pixels import Levels, LevelScale, PixelCounts, threshold
from detect.artifact import TrainedDetector
from forge.core.compute import Compute
from forge.core.errors import DetectorError
from forge.faces.faceset import FaceView, Images
from forge.tampering.base import BINARY

__all__ = ["ShownMaps", "checked_maps", "pixel_rows", "write_rows"]

Maps = NDArray[np.float32]
MapsOf = Callable[[FaceView], Maps]
Part = tuple[str, FaceView, str]  # generator, "" for real images; its images; external pair, "" for images of the run
_REAL = ""  # generator of real images in rows
_BLOCK = 256  # images at a time
_TRIED = 8  # images that show whether a detector has a gradient


@dataclass
class ShownMaps:
    """Maps of a detector that a page shows.

    Attributes:
        threshold: level from which on a pixel is taken for altered; -1: not fixed yet.
        examples: what is shown.
        levels: uint8 [H, W] of each.
    """

    threshold: int = -1
    examples: list[MapExample] = field(default_factory=list)
    levels: list[Levels] = field(default_factory=list)

    def add(self, levels: Levels, counts: PixelCounts, ids: Sequence[str], generator: str) -> None:
        """Choose among the test images of one generator."""
        for position, example in examples_of(counts, self.threshold, ids, generator):
            self.examples.append(example)
            self.levels.append(levels[position])


def pixel_rows(
    trained: TrainedDetector,
    compute: Compute,
    *,
    source: Literal["map", "saliency"],
    training: str,
    val: Sequence[Part],
    test: Sequence[Part],
    masks: Sequence[FaceView],
) -> tuple[pd.DataFrame, ShownMaps]:
    """Return the rows of a detector, and of the mean training mask where there are training masks; and maps to show.

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
        return np.concatenate([checked_maps(made(images, compute), images, family) for images in view.batches(_BLOCK)])

    detector, family = trained.detector, trained.detector.family
    made = detector.maps if source == "map" else detector.gradient_maps
    shown, facts = ShownMaps(), {"trained_on": training, "seed": trained.seed}
    frames: list[pd.DataFrame] = []
    # what the class has, an instance may lack: a score of rounded values has no gradient, or 0 everywhere
    some = None if source == "map" else made(test[0][1].head(_TRIED).read(), compute)
    if source == "map" or (some is not None and some.any()):
        name = map_name(trained.name, source)
        frames += _measured(maps, val, test, shown, detector=name, source=source, **facts)
    if masks:
        mean = np.mean([_truth(view, view.faces.card.name).mean(0) for view in masks], axis=0).astype(np.float32)

        def repeated(view: FaceView) -> Maps:
            return np.repeat(mean[None], len(view), axis=0)

        frames += _measured(repeated, val, test, ShownMaps(), detector=MEAN_MASK, source="control", **facts)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS)), shown


def _measured(
    maps: MapsOf, val: Sequence[Part], test: Sequence[Part], shown: ShownMaps, **facts: object
) -> Iterator[pd.DataFrame]:
    """Yield the rows of one source of maps, a frame for each split and generator; fill `shown`."""
    of_val = [(part, maps(part[1])) for part in val]
    scale = LevelScale.of(np.concatenate([made.ravel() for _, made in of_val]))
    edges = packed_edges(scale)
    of_test = ((part, maps(part[1])) for part in test)
    val_counts: list[PixelCounts] = []
    for split, parts in (("val", of_val), ("test", of_test)):
        for (generator, view, pair), made in parts:
            levels = scale.levels(made)
            counts = PixelCounts.of(levels, _truth(view, generator))
            if split == "val":
                val_counts.append(counts)
            else:
                if shown.threshold < 0:
                    shown.threshold = threshold(PixelCounts.joined(val_counts))
                if generator or not pair:  # untouched photos are those of the run
                    shown.add(levels, counts, [str(name) for name in view.rows["id"]], generator)
            altered, untouched = packed(counts)
            columns = {
                "sample_id": view.rows["id"].to_numpy(),
                "identity": view.rows["identity"].to_numpy(),
                "generator": generator,
                "pair": pair,
                "split": split,
                "altered": altered,
                "untouched": untouched,
                "edges": edges,
            }
            yield pd.DataFrame(facts | columns)


def checked_maps(made: Maps | None, images: Images, family: str) -> Maps:
    """Return the maps that a detector of a family made of images, float32 [n, H, W].

    Raises:
        DetectorError: none, of another shape, or with values that are no numbers.
    """
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
