"""Score rows in few bytes: one Parquet file a detector, and one of the images that their rows name.

_images.parquet     sample_id, identity, source, generator, split, label and the set's attributes, each image once
DETECTOR.parquet    detector, trained_on, seed, perturbation; `step`, whose running sum is the image's row in the first
                    file; `row` in the joined table; `score`, as float32 where that is exact; a, b of
                    probability = sigmoid(a * score + b); and `ulps`, what the stored probability differs from that by,
                    in units in the last place of float32

What is read is what was written, to the last bit and in its order. A file whose probabilities have no such form has the
column `probability` in place of a, b and ulps, and one whose scores need float64 has them so.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.report.plot.figure import FileNames
from detect.scoring import SCORE_COLUMNS
from forge.core.errors import CorruptError, InputError, short

IMAGES = "_images"  # no file of a detector begins so
_OF_FIT = ("detector", "trained_on", "seed")
_OF_ROW = (*_OF_FIT, "perturbation")
_LEVEL = 19  # of zstd: 3 % smaller scores than level 9, which a published file is worth
# one page a column, since each is compressed by itself; earlier versions of pyarrow do not bound its rows
_ONE_PAGE = {
    name: 1 << 24 for name in ("data_page_size", "max_rows_per_page") if name in signature(pq.write_table).parameters
}
_COUNTING = {"step": "PLAIN", "row": "DELTA_BINARY_PACKED"}
_LOG2_HIGH, _LOG2_LOW = 0.693145751953125, 1.42860682030941723212e-6  # their sum is log 2; the first has 16 bits
_LARGEST_ULPS = 1 << 20  # beyond that the calibration is not that of these rows

Calibrations = Mapping[Any, tuple[float, float]]  # (detector, trained_on, seed) -> a, b
Floats = NDArray[np.float64]


def encoded(table: pd.DataFrame, calibrations: Calibrations) -> dict[str, bytes]:
    """Encode score rows.

    Args:
        table: columns of `SCORE_COLUMNS` and attributes of the images.
        calibrations: (detector, trained_on, seed) -> a and b of its probabilities; other fits keep theirs as they are.

    Returns:
        File name without ending -> Parquet; the images first, then detectors in the order of the rows. The same rows
        give the same bytes.

    Raises:
        InputError: a score column is missing.
    """
    if missing := [name for name in SCORE_COLUMNS if name not in table.columns]:
        raise InputError(f"scores have no column {missing[0]!r}; they need {', '.join(SCORE_COLUMNS)}")
    described = [name for name in table.columns if name not in (*_OF_ROW, "score", "probability")]
    groups = table.groupby(described, sort=False, dropna=False).ngroup()
    image: NDArray[np.int32] = np.asarray(groups, dtype=np.int32)
    first = np.unique(image, return_index=True)[1]
    images = table[described].iloc[first]
    columns = {name: pa.Array.from_pandas(images[name], type=SCORE_COLUMNS.get(name)) for name in described}
    files = {IMAGES: _parquet(columns, floats=[name for name, column in columns.items() if _is_double(column)])}
    names = FileNames()
    for detector in dict.fromkeys(table["detector"]):
        rows = np.flatnonzero(table["detector"].eq(detector).to_numpy())
        files[names(str(detector))] = _of_detector(table.iloc[rows], image[rows], rows, calibrations)
    return files


def decoded(files: Mapping[str, bytes], origin: object) -> pd.DataFrame:
    """Return the score rows of encoded files, in the order in which they were written.

    Args:
        files: of `encoded`.
        origin: of the files, for messages.

    Raises:
        CorruptError: a file is missing, is not readable, or does not belong to the others.
    """
    if IMAGES not in files:
        raise CorruptError(f"{origin} is damaged: it has no {IMAGES}.parquet; restore it")
    try:
        images = pq.read_table(io.BytesIO(files[IMAGES]))
        parts = [_rows(pq.read_table(io.BytesIO(data))) for name, data in files.items() if name != IMAGES]
        table = pa.concat_tables(parts) if parts else _nothing()
        order = table.column("row").to_numpy()
        if not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ValueError("rows are missing or stand twice")
        table = table.take(np.argsort(order))
        described = images.take(table.column("image"))
        columns = {name: described.column(name) for name in images.column_names}
        columns |= {name: table.column(name) for name in (*_OF_ROW, "score", "probability")}
        names = [*SCORE_COLUMNS, *(name for name in images.column_names if name not in SCORE_COLUMNS)]
        joined: pd.DataFrame = pa.table({name: columns[name] for name in names}).to_pandas()
    except Exception as error:
        # readers raise whatever damaged bytes make them raise
        raise CorruptError(f"{origin} is damaged: {short(' '.join(str(error).split()))}; restore it") from error
    return joined


def _of_detector(
    table: pd.DataFrame, image: NDArray[np.int32], rows: NDArray[np.int64], calibrations: Calibrations
) -> bytes:
    """Encode the rows of one detector: their images, and where they stand in the joined table."""
    columns = {name: pa.Array.from_pandas(table[name], type=SCORE_COLUMNS[name]) for name in _OF_ROW}
    columns |= {"step": pa.array(np.diff(image, prepend=np.int32(0))), "row": pa.array(rows, pa.int32())}
    score = table["score"].to_numpy(dtype=np.float64)
    columns["score"] = pa.array(_narrow(score))
    fits = table.groupby(list(_OF_FIT), sort=False)
    known = [calibrations.get(fit) for fit, _ in fits]
    probability = table["probability"].to_numpy(dtype=np.float64)
    ulps = None
    if None not in known:
        pairs = np.array(known, dtype=np.float64).reshape(-1, 2)[fits.ngroup().to_numpy()]
        a, b = pairs[:, 0], pairs[:, 1]
        ulps = _ulps(probability, predicted(score, a, b))
    if ulps is None:
        columns["probability"] = pa.array(_narrow(probability))
    else:
        columns |= {"a": pa.array(a), "b": pa.array(b), "ulps": pa.array(ulps)}
    return _parquet(columns, floats=["score", "probability"])


def _rows(table: pa.Table) -> pa.Table:
    """Return rows of one detector with score and probability as float64."""
    score = table.column("score").to_numpy().astype(np.float64)
    if "ulps" in table.column_names:
        close = predicted(score, table.column("a").to_numpy(), table.column("b").to_numpy())
        bits = close.view(np.int32) + table.column("ulps").to_numpy()
        probability = bits.astype(np.int32).view(np.float32).astype(np.float64)
    else:
        probability = table.column("probability").to_numpy().astype(np.float64)
    columns = {name: table.column(name) for name in (*_OF_ROW, "row")}
    image = np.cumsum(table.column("step").to_numpy(), dtype=np.int32)
    return pa.table(columns | {"image": image, "score": score, "probability": probability})


def _nothing() -> pa.Table:
    types = {name: SCORE_COLUMNS[name] for name in (*_OF_ROW, "score", "probability")}
    return pa.schema([*types.items(), ("image", pa.int32()), ("row", pa.int32())]).empty_table()


def predicted(score: Floats, a: Floats, b: Floats) -> NDArray[np.float32]:
    """Compute sigmoid(a * score + b) to float32, with the same bits on every machine.

    Sums, products and quotients alone, which IEEE 754 rounds exactly; exponentials of libraries differ in the last bit.
    """
    x = np.clip(-(a * score + b), -700.0, 700.0)
    power = np.rint(x / (_LOG2_HIGH + _LOG2_LOW))
    rest = (x - power * _LOG2_HIGH) - power * _LOG2_LOW  # |rest| <= log(2) / 2
    series = np.ones_like(rest)
    for n in range(13, 0, -1):  # Taylor; the next term is below 1e-17
        series = 1.0 + series * rest / n
    with np.errstate(under="ignore"):
        return (1.0 / (1.0 + np.ldexp(series, power.astype(np.int32)))).astype(np.float32)


def _ulps(probability: Floats, close: NDArray[np.float32]) -> NDArray[np.int32] | None:
    """Return how many float32 values lie between prediction and probability; None where that is not exact."""
    single = probability.astype(np.float32)
    steps = single.view(np.int32).astype(np.int64) - close.view(np.int32)
    exact = np.array_equal(single.astype(np.float64), probability) and np.abs(steps).max(initial=0) <= _LARGEST_ULPS
    return steps.astype(np.int32) if exact else None


def _narrow(values: Floats) -> NDArray[np.float32] | Floats:
    """Return values as float32 where that loses nothing."""
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    # bits, so that the sign of zero and the kind of NaN count too
    same = np.array_equal(single.astype(np.float64).view(np.int64), values.view(np.int64))
    return single if same else values


def _is_double(column: pa.Array) -> bool:
    return bool(pa.types.is_float64(column.type))


def _parquet(columns: Mapping[str, pa.Array], *, floats: list[str]) -> bytes:
    """Write columns as Parquet.

    Args:
        columns: in their order.
        floats: those whose bytes of like weight are laid side by side.
    """
    encodings = dict.fromkeys((name for name in floats if name in columns), "BYTE_STREAM_SPLIT")
    # Plain: every fit scores the same images in the same order, and repeated bytes cost nothing.
    encodings |= {name: encoding for name, encoding in _COUNTING.items() if name in columns}
    stream = io.BytesIO()
    pq.write_table(
        pa.table(dict(columns)),
        stream,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[name for name in columns if name not in encodings],
        column_encoding=encodings,
        write_statistics=False,
        **_ONE_PAGE,
    )
    return stream.getvalue()
