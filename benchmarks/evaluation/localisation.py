"""Results of localisers: the pixel measures of each detector on each generator's test images, with intervals.

Rows are those of masks.parquet, one an image: its pixels by the level of the detector's map (see `pixels`), and the
edges of these levels. Everything here follows from them, so that published rows give the published numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from benchmarks.evaluation.pixels import (
    LEVELS,
    Floats,
    Ints,
    LevelScale,
    PixelCounts,
    average_precision,
    f1,
    false_alarm_area,
    iou,
    pixel_auc,
    threshold,
)
from benchmarks.evaluation.resampling import codes
from benchmarks.evaluation.results import Localisation, PixelValue
from benchmarks.evaluation.roc import Bools, auc
from benchmarks.protocol import ELSEWHERE, EXTERNAL_PREFIX, TrainSet
from forge.core.errors import CorruptError, InputError, short
from forge.core.files import replacing

CONSTANT = "constant map"  # control: every pixel has one value
MEAN_MASK = "mean training mask"  # control: every image has the mean of the training masks as its map
CONTROLS = (CONSTANT, MEAN_MASK)
RESAMPLES = 1000

COLUMNS = {
    "detector": pa.string(),
    "trained_on": pa.string(),
    "seed": pa.int64(),
    "source": pa.string(),  # of the map: "map" of the detector, "saliency" or "control"
    "sample_id": pa.string(),
    "identity": pa.string(),
    "generator": pa.string(),  # empty for real images
    "split": pa.string(),
    "pair": pa.string(),  # external pair that the image belongs to; empty: an image of the run
    "altered": pa.binary(),  # uint32 [256], little-endian: altered pixels by the level of the map
    "untouched": pa.binary(),
    "edges": pa.binary(),  # float16, little-endian, rising: as many edges as a level says lie at or below its values
}


def widest(trainings: Iterable[str]) -> str:
    """Return the training on most generators; one elsewhere counts as the widest; of equal ones the first."""
    return max(trainings, key=_width)


def _width(trained_on: str) -> tuple[bool, int]:
    training = TrainSet.parse(trained_on)
    return training.generators == (ELSEWHERE,), len(training.generators)


def packed(counts: PixelCounts) -> tuple[list[bytes], list[bytes]]:
    """Return the counts of each image as little-endian uint32 [256]: altered, and untouched pixels."""
    return (
        [row.astype("<u4").tobytes() for row in counts.altered],
        [row.astype("<u4").tobytes() for row in counts.untouched],
    )


def packed_edges(scale: LevelScale) -> bytes:
    """Return the edges of a scale as little-endian float16, which they are exactly."""
    return scale.edges.astype("<f2").tobytes()


def scale_of(rows: pd.DataFrame) -> LevelScale | None:
    """Return the scale of the levels of rows; None where an earlier version wrote them, without edges.

    Args:
        rows: of one detector, training and seed.

    Raises:
        CorruptError: there are several scales, or edges that do not rise.
    """
    packed_scales = set(rows["edges"]) - {None}
    if not packed_scales:
        return None
    joined = packed_scales.pop()
    edges = np.frombuffer(joined, "<f2").astype(np.float32) if len(joined) % 2 == 0 else np.array([np.nan])
    if packed_scales or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any() or len(edges) >= LEVELS:
        raise CorruptError("masks.parquet is damaged: column edges is not the scale of one detector")
    return LevelScale(edges)


def counts_of(rows: pd.DataFrame) -> PixelCounts:
    """Return the counts of rows.

    Raises:
        CorruptError: a row does not hold 256 levels.
    """
    sides = []
    for name in ("altered", "untouched"):
        joined = b"".join(rows[name])
        if len(joined) != 4 * LEVELS * len(rows):
            raise CorruptError(f"masks.parquet is damaged: column {name} does not hold {LEVELS} levels an image")
        sides.append(np.frombuffer(joined, "<u4").reshape(-1, LEVELS).astype(np.int64))
    return PixelCounts(*sides)


def write_rows(rows: pd.DataFrame, path: Path) -> None:
    """Write rows as Parquet, atomically; the same rows give the same bytes."""
    table = pa.Table.from_pandas(rows[list(COLUMNS)], pa.schema(COLUMNS.items()), preserve_index=False)
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(None), temporary, compression="zstd", compression_level=9)


def read_rows(path: Path, **values: str | int) -> pd.DataFrame:
    """Read what `write_rows` wrote; `edges` is None throughout where an earlier version wrote it.

    Args:
        path: of the file.
        values: column -> the value of the rows that are wanted; by default all rows.

    Raises:
        InputError: there is no such file.
        CorruptError: it is not readable, or lacks a column.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        wanted = [(name, "==", value) for name, value in values.items()] or None
        rows: pd.DataFrame = pq.read_table(path, filters=wanted).to_pandas()
    except Exception as error:
        raise CorruptError(f"{path} is damaged: {short(' '.join(str(error).split()))}") from error
    if "pair" not in rows:  # rows of an earlier version have no external pairs
        rows["pair"] = ""
    if "edges" not in rows:
        rows["edges"] = None
    if missing := [name for name in COLUMNS if name not in rows]:
        raise CorruptError(f"{path} is damaged: it has no column {missing[0]}")
    return rows


def map_name(detector: str, source: str) -> str:
    """Return the name of a detector in rows of maps: marked where the gradient of its score stands for a map."""
    return f"{detector} (saliency)" if source == "saliency" else detector


def localised(rows: pd.DataFrame) -> list[Localisation]:
    """Measure every detector on every generator that its maps were made of, all seeds together.

    The threshold of each fit is fixed on its validation images. A value is the mean over seeds; its interval is over
    people, the seeds held fixed. The control `constant map` is added.

    Args:
        rows: of masks.parquet, `val` and `test`.
    """
    results = []
    for (detector, trained_on), group in rows.groupby(["detector", "trained_on"], sort=True):
        results += _of_fits(str(detector), str(trained_on), group)
    return results + _of_fits(CONSTANT, ELSEWHERE, constant_rows(rows))


def constant_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the control `constant map` on the same images."""
    # one value everywhere: whatever was trained on what, the same images get the same
    images = rows.drop_duplicates(["seed", "pair", "generator", "split", "sample_id"])
    flat = dict(zip(("altered", "untouched"), packed(_flat(counts_of(images))), strict=True))
    return images.assign(detector=CONSTANT, trained_on=ELSEWHERE, source="control", **flat)


def _flat(counts: PixelCounts) -> PixelCounts:
    """Return the counts of the same images under a map of one value."""
    sides = []
    for side in (counts.altered, counts.untouched):
        sides.append(np.zeros_like(side))
        sides[-1][:, 0] = side.sum(1)
    return PixelCounts(*sides)


def _of_fits(detector: str, trained_on: str, rows: pd.DataFrame) -> list[Localisation]:
    """Measure the fits of a detector on one training set, one a seed."""
    test = rows[rows["split"] == "test"]
    fits: dict[int, MapFit] = {}
    for seed, group in rows.groupby("seed", sort=True):
        fits[int(str(seed))] = MapFit.of(group)
    results = []
    for generator in sorted({name for name in test["generator"].unique() if name}):
        parts = {seed: fit.part(generator) for seed, fit in fits.items()}
        real = {seed: fit.reals(generator) for seed, fit in fits.items()}
        forged = next(iter(parts.values()))
        altered = forged.counts.altered.sum(1)
        results.append(
            Localisation(
                detector=detector,
                trained_on=trained_on,
                tested_on=generator,
                source=str(rows["source"].iloc[0]),
                seeds=len(fits),
                images=len(forged.counts),
                undefined=int((altered == 0).sum()),
                f1=_value([part.mean(lambda c, t: f1(c, t)) for part in parts.values()]),
                iou=_value([part.mean(lambda c, t: iou(c, t)) for part in parts.values()]),
                auc=_value([part.mean(lambda c, _: pixel_auc(c)) for part in parts.values()]),
                average_precision=_value([part.mean(lambda c, _: average_precision(c)) for part in parts.values()]),
                pooled_auc=_value([part.pooled(pixel_auc) for part in parts.values()]),
                pooled_average_precision=_value([part.pooled(average_precision) for part in parts.values()]),
                false_alarm_area=_value([part.mean(false_alarm_area) for part in real.values()]),
                image_auc=_image_auc([(real[seed], parts[seed]) for seed in fits]),
            )
        )
    return results


def _value(over_seeds: list[tuple[float, Floats]]) -> PixelValue:
    """Return the mean over seeds with the percentile interval of the mean of their resamples."""
    mean = float(np.mean([value for value, _ in over_seeds]))
    if not np.isfinite(mean):
        return PixelValue(value=None, low=None, high=None)
    low, high = np.nanquantile(np.mean([resampled for _, resampled in over_seeds], axis=0), [0.025, 0.975])
    return PixelValue(value=mean, low=float(low), high=float(high))


class MapImages:
    """Test images of one generator, or the real ones, under the maps of one fit.

    Args:
        counts: of their pixels.
        identity: who is on them.
        level: the threshold of the fit.
    """

    def __init__(self, counts: PixelCounts, identity: ArrayLike, level: int) -> None:
        self.counts, self.level = counts, level
        self._unit: Ints = np.unique(codes(identity, len(counts)), return_inverse=True)[1]

    def _weights(self) -> Ints:
        """Return how often each resample draws each image, [resamples, n]: people are drawn, with all their images."""
        people = int(self._unit.max()) + 1 if len(self._unit) else 0
        draws = np.random.default_rng(0).multinomial(people, np.full(people, 1 / max(people, 1)), size=RESAMPLES)
        return draws[:, self._unit]

    def mean(self, measure: Callable[[PixelCounts, int], Floats]) -> tuple[float, Floats]:
        """Return the mean of a measure over the images where it is defined, and those of resamples; NaN: nowhere."""
        values = measure(self.counts, self.level)
        defined = np.isfinite(values)
        if not defined.any():
            return float("nan"), np.full(RESAMPLES, np.nan)
        weights = self._weights()
        with np.errstate(invalid="ignore"):
            resampled = weights[:, defined] @ values[defined] / weights[:, defined].sum(1)
        return float(values[defined].mean()), resampled

    def pooled(self, measure: Callable[[PixelCounts], Floats]) -> tuple[float, Floats]:
        """Return a measure of all pixels together, and those of resamples."""
        everything = np.ones((1, len(self.counts)), np.int64)
        return float(measure(self.counts.weighted(everything))[0]), measure(self.counts.weighted(self._weights()))


@dataclass(frozen=True)
class MapFit:
    """The maps of one fit on test images.

    Attributes:
        rows: of the test images.
        counts: of their pixels.
        level: threshold, fixed on validation images.
    """

    rows: pd.DataFrame
    counts: PixelCounts
    level: int

    @classmethod
    def of(cls, rows: pd.DataFrame) -> MapFit:
        """Fix the threshold on the rows of `val`, and keep those of `test`."""
        counts, split = counts_of(rows), rows["split"].to_numpy()
        level = threshold(counts[split == "val"])
        return cls(rows[split == "test"].reset_index(drop=True), counts[split == "test"], level)

    def part(self, generator: str) -> MapImages:
        """Return the images of one generator, or of the forged side of an external pair."""
        return self._images((self.rows["generator"] == generator).to_numpy())

    def reals(self, generator: str) -> MapImages:
        """Return the real images that a generator's are compared with: of an external pair its own."""
        pair = generator if generator.startswith(EXTERNAL_PREFIX) else ""
        return self._images(((self.rows["generator"] == "") & (self.rows["pair"] == pair)).to_numpy())

    def _images(self, chosen: Bools) -> MapImages:
        return MapImages(self.counts[chosen], self.rows["identity"].to_numpy()[chosen], self.level)


def _image_auc(pairs: list[tuple[MapImages, MapImages]]) -> float | None:
    """Return the AUC of the maxima of the maps, real and forged, the mean over seeds; None without images of both."""
    if any(not len(part.counts) for pair in pairs for part in pair):
        return None
    labels = [np.repeat([False, True], [len(real.counts), len(forged.counts)]) for real, forged in pairs]
    scores = [np.concatenate([real.counts.highest, forged.counts.highest]).astype(float) for real, forged in pairs]
    return float(np.mean([auc(label, score) for label, score in zip(labels, scores, strict=True)]))
