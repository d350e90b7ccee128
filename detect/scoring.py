"""Detector x FaceSet -> scores: streamed in constant memory, one row an image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from detect.data.views import View, generator_of, resolution_of
from detect.detectors.base import Scores
from detect.scorers import Scored, Scorer
from detect.training.calibration import Calibration
from forge.core.compute import Compute
from forge.core.errors import CorruptError, DetectorError, InputError, quoted, short
from forge.core.files import replacing
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.faceset import FaceView, Images
from forge.faces.parallel import read_ahead

BATCH = {"cpu": 256, "cuda": 2048}  # images read at a time: a GPU waits for each batch
BATCH_BYTES = 64 << 20  # but never more than this
_ROW_GROUP = 1 << 20  # rows that are written at a time, Parquet's own default
LARGEST = float(np.finfo(np.float32).max)  # of a score: reports keep float32 where that is enough

SCORE_COLUMNS = {
    "detector": pa.string(),
    "trained_on": pa.string(),  # generators seen in training, joined by "+"
    "seed": pa.int64(),  # of the fit
    "sample_id": pa.string(),  # the image's id within its set
    "identity": pa.string(),
    "source": pa.string(),  # name of the set
    "generator": pa.string(),  # empty for real faces
    "split": pa.string(),
    "perturbation": pa.string(),  # "none" for clean images
    "label": pa.int8(),  # 1 = forged
    "score": pa.float64(),  # higher for forged
    "probability": pa.float64(),  # calibrated on val
}


def score_view(
    detector: Scorer,
    view: View,
    compute: Compute,
    *,
    batch: int | None = None,
    perturb: Callable[[Images], Images] | None = None,
    on_progress: OnProgress = silent,
) -> Scores:
    """Score every image of a view, in its order.

    Args:
        detector: a fitted one.
        view: images of the fitted resolution.
        compute: device and precision; with precision "auto" a network uses that of its fit.
        batch: images read at a time; by default what suits the device and 64 MB.
        perturb: what happens to the images first; keeps shape and type.
        on_progress: called with each progress event.

    Returns:
        float64 [len(view)].

    Raises:
        InputError: the images have another resolution.
        DetectorError: a score is not finite or beyond `LARGEST`, or the detector returned another number of scores.
    """
    # no resizing here: a detector decides itself (`input_size`) what becomes of images of another size
    if resolution_of(view) != detector.resolution:
        raise InputError(
            f"{detector.family} was fitted at {detector.resolution} px and cannot score {resolution_of(view)} px "
            "images; prepare or synthesize them at its resolution, or fit it at theirs"
        )
    scores = np.empty(len(view))
    done = 0
    if batch is None:
        # 3 bytes a pixel: at 1,024 px a batch on a GPU is 21 images, not 2,048
        batch = max(1, min(BATCH[compute.torch_device.type], BATCH_BYTES // (3 * resolution_of(view) ** 2)))
    batches = view.batches(batch)
    # on a GPU the next batch is read while this one is computed
    for images in read_ahead(batches) if compute.torch_device.type == "cuda" else batches:
        part = detector.score(perturb(images) if perturb else images, compute)
        if part.shape != (len(images),):
            raise DetectorError(f"{detector.family} returned scores of shape {part.shape} for {len(images)} images")
        if not (usable := np.abs(part) <= LARGEST).all():  # false for NaN too
            first = int(np.flatnonzero(~usable)[0])
            name, value = view.rows["id"].iloc[done + first], part[first]
            reason = f"is beyond {LARGEST:.3g}" if np.isfinite(value) else "is no number"
            raise DetectorError(f"{detector.family} gave image {quoted(str(name))} the score {value:g}, which {reason}")
        scores[done : done + len(part)] = part
        done += len(part)
        on_progress(ProgressEvent(done, len(view)))
    return scores


def score_table(
    trained: Scored,
    view: FaceView,
    compute: Compute,
    *,
    label: int | None = None,
    source: str | None = None,
    generator: str | None = None,
    perturbation: str = "none",
    perturb: Callable[[Images], Images] | None = None,
    batch: int | None = None,
    on_progress: OnProgress = silent,
) -> pd.DataFrame:
    """Score a view into rows: the columns of `SCORE_COLUMNS`, then the set's attributes.

    Args:
        trained: a fitted detector.
        view: images of one set.
        compute: device and precision.
        label: 1 forged, 0 real; by default what the set's card says.
        source: name of the set in the table; by default its card's.
        generator: name of the generator; by default its card's provenance, empty for real faces.
        perturbation: name of what `perturb` does.
        perturb: what happens to the images first.
        batch: images read at a time; by default what suits the device and 64 MB.
        on_progress: called with each progress event.

    Raises:
        InputError: the images have another resolution, or an attribute has the name of a score column.
        BenchError: a score is not finite.
    """
    card = view.faces.card
    if clash := sorted(set(card.attributes) & set(SCORE_COLUMNS)):
        raise InputError(
            f"set {quoted(card.name)} has an attribute {quoted(clash[0])}, the name of a score column; rename it"
        )
    # finite and one per image: `score_view` has raised otherwise
    scores = score_view(trained.detector, view, compute, batch=batch, perturb=perturb, on_progress=on_progress)
    # not `rows`: those of a million images, digests of their files included, are 400 MB
    rows = view.columns(["id", "identity", "split", *card.attributes])
    columns = {
        "detector": trained.name,
        "trained_on": trained.trained_on,
        "seed": trained.seed,
        "sample_id": rows["id"].array,  # as Arrow holds them: a Python string each would take four times the memory
        "identity": rows["identity"].to_numpy() if rows["identity"].isna().all() else rows["identity"].array,
        "source": card.name if source is None else source,
        "generator": generator_of(card) if generator is None else generator,
        "split": rows["split"].array,
        "perturbation": perturbation,
        # a label that is given counts before the kind of the set
        "label": (card.kind == "forged") if label is None else label,
        "score": scores,
        "probability": trained.calibration.probability(scores),
    }
    table = pd.DataFrame(columns | {name: rows[name].to_numpy() for name in card.attributes}, index=range(len(rows)))
    return table.astype({"seed": "int64", "label": "int8"})


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Lay score rows of several views one below the other."""
    return pd.concat(tables, ignore_index=True)


def on_grid(table: pd.DataFrame, calibration: Calibration, step: float) -> pd.DataFrame:
    """Round the scores of one fit, with their probabilities, to steps of at most so much in log odds.

    Args:
        table: rows of one fit.
        calibration: of the fit.
        step: see `Calibration.on_grid`.
    """
    scores = calibration.on_grid(table["score"].to_numpy(), step)
    return table.assign(score=scores, probability=calibration.probability(scores))


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Score rows with float32 precision wherever that changes no rank; networks compute with no more.

    Rounding keeps the order of scores but can make two of them equal: 1e9 + s / 1000 and 1e-50 s lose all ranks.
    The scores of one fit under one perturbation and split are rounded together, and keep float64 where two that differ
    would become equal. Metrics of ranks (AUC, EER, AP, TPR at an FPR) are those of the float64 scores either way.
    """
    scores = table["score"].to_numpy(dtype=np.float64)
    # to float32 and back: what a reader of the file would get
    with np.errstate(over="ignore", under="ignore"):
        single = scores.astype(np.float32).astype(np.float64)
    keys = [name for name in ("detector", "trained_on", "seed", "split", "perturbation") if name in table]
    groups = table.groupby(keys, sort=False).ngroup().to_numpy()
    # by group, and within it by score: only neighbours can become equal by rounding
    order = np.lexsort((scores, groups))
    # neighbours of one group that differ, and of these the pairs that rounding makes equal
    neighbours = (groups[order][1:] == groups[order][:-1]) & (scores[order][1:] != scores[order][:-1])
    merged = neighbours & (single[order][1:] == single[order][:-1])
    # one merged pair keeps the whole group exact, so that all its ranks come from one precision; so does an overflow
    kept = np.isin(groups, np.unique(groups[order][1:][merged])) | ~np.isfinite(single)
    probability = table["probability"].astype("float32").astype("float64")
    return table.assign(score=np.where(kept, scores, single), probability=probability)


def write_scores(table: pd.DataFrame, path: Path) -> None:
    """Write score rows as Parquet, atomically; the same rows give the same bytes.

    Raises:
        InputError: a score column is missing.
    """
    if missing := [name for name in SCORE_COLUMNS if name not in table.columns]:
        raise InputError(f"scores have no column {quoted(missing[0])}; they need {', '.join(SCORE_COLUMNS)}")
    with replacing(path) as temporary:
        parts = _parts(table)
        first = next(parts)
        # bytes of like weight side by side: half the size, where values have the precision of float32
        floats = [name for name in first.column_names if pa.types.is_float64(first.schema.field(name).type)]
        others = [name for name in first.column_names if name not in floats]
        with pq.ParquetWriter(
            temporary,
            first.schema,
            compression="zstd",
            compression_level=9,
            use_dictionary=others,
            use_byte_stream_split=floats,
        ) as writer:
            for part in itertools.chain([first], parts):
                writer.write_table(part)


def _parts(table: pd.DataFrame) -> Iterator[pa.Table]:
    """Yield score rows as Arrow holds them, so many that they are one row group; of categories the text is written."""
    # through Arrow by hand: the frame's own metadata names library versions and has no place in the bytes
    names = [*SCORE_COLUMNS, *(name for name in table.columns if name not in SCORE_COLUMNS)]
    # a column of objects has the type that suits all of its values
    objects = [name for name in names[len(SCORE_COLUMNS) :] if table[name].dtype == object]
    types = SCORE_COLUMNS | {name: pa.Array.from_pandas(table[name]).type for name in objects}
    for start in range(0, max(1, len(table)), _ROW_GROUP):
        part = table.iloc[start : start + _ROW_GROUP]
        yield pa.table({name: _arrow(part[name], types.get(name)) for name in names})


def _arrow(column: pd.Series[Any], kind: pa.DataType | None) -> pa.Array:
    """Convert a column to an Arrow type, by default to that of its values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = pa.array(column.cat.categories, kind or pa.large_string())
        codes = column.cat.codes.to_numpy()
        return values.take(pa.array(codes, mask=codes < 0))
    array = pa.Array.from_pandas(column)
    return array.cast(kind) if kind and array.type != kind else array


def read_scores(path: Path) -> pd.DataFrame:
    """Read what `write_scores` wrote.

    Raises:
        InputError: there is no such file, or it lacks a score column.
        CorruptError: it is not readable as Parquet.
    """
    table: pd.DataFrame = read_arrow(path).to_pandas()
    return table


def read_arrow(path: Path) -> pa.Table:
    """Read what `write_scores` wrote, as Arrow holds it; raises as `read_scores`."""
    if not path.is_file():
        raise InputError(f"scores file {path} does not exist")
    try:
        # one thread: of the small files of a run there are thousands
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
        names = table.column_names
    except Exception as error:
        # readers raise whatever damaged bytes make them raise, UnicodeDecodeError for the name of a column
        raise CorruptError(f"scores file {path} is damaged: {short(' '.join(str(error).split()))}") from error
    if missing := [name for name in SCORE_COLUMNS if name not in names]:
        raise InputError(f"scores file {path} has no column {quoted(missing[0])}; it needs {', '.join(SCORE_COLUMNS)}")
    return table
