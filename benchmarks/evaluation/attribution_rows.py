"""Rows of attribution.parquet: what was answered for each image, from which all numbers of attributions follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.evaluation.attribution import closed_set, few_shot, unknown_generator
from benchmarks.evaluation.attribution_facts import Attribution, FewShot, Unknown
from benchmarks.evaluation.evaluate import identities
from forge.core.errors import CorruptError, short
from forge.core.files import replacing

FILE = "attribution.parquet"
KEPT = 0.95  # share of validation images of known classes that are not to be rejected
CLOSED, OPEN, FEW = "closed set", "open set", "few images"  # questions
COLUMNS = {
    "detector": pa.string(),
    "trained_on": pa.string(),
    "seed": pa.int64(),
    "question": pa.string(),
    "of": pa.string(),  # the generator that was left out, or the learner from few images; empty of the closed set
    "split": pa.string(),
    "class": pa.string(),  # "real" or the generator
    "answer": pa.string(),  # the class that was answered; empty of the open set
    "score": pa.float64(),  # of rejection, in float32 precision; NaN but of the open set
    "identity": pa.string(),  # person of the image; null where unknown, and of few images
    "images": pa.int64(),  # from few images: training images of each class; else 0
    "draw": pa.int64(),  # from few images: number of the draw; else 0
    "count": pa.int64(),  # test images that the row stands for: 1, from few images those of one class and answer
}


def measured(facts: Attribution, rows: pd.DataFrame) -> Attribution:
    """Return an attribution with every number computed from its rows.

    Args:
        facts: detector, classes, and of the generators left out whether features were learned without them.
        rows: of any attributions.

    Raises:
        CorruptError: there are no rows of it, or of another class.
    """
    if facts.missing:
        return facts
    chosen = (rows["detector"] == facts.detector) & (rows["trained_on"] == facts.trained_on)
    part = rows[chosen & (rows["seed"] == facts.seed)]
    number = {name: position for position, name in enumerate(facts.classes)}
    closed = part[part["question"] == CLOSED]
    if closed.empty or not set(part["class"]) <= set(number) or not set(part["answer"]) <= {*number, ""}:
        raise CorruptError(f"{FILE} is damaged: rows of {facts.detector}@{facts.trained_on} lack or name other classes")
    table, accuracy, f1 = closed_set(
        _numbers(closed["class"], number),
        _numbers(closed["answer"], number),
        facts.classes,
        identities(closed),
    )
    return facts.model_copy(
        update={
            "confusion": table,
            "accuracy": accuracy,
            "macro_f1": f1,
            "unknown": [_unknown(part, each.generator, unseen=each.unseen) for each in facts.unknown],
            "few": [_few(part, each, number) for each in facts.few],
        }
    )


def write_attributions(rows: pd.DataFrame, path: Path) -> None:
    """Write rows as Parquet, atomically; the same rows give the same bytes."""
    table = pa.Table.from_pandas(rows[list(COLUMNS)], pa.schema(COLUMNS.items()), preserve_index=False)
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(None), temporary, compression="zstd", compression_level=9)


def read_attributions(path: Path) -> pd.DataFrame:
    """Read what `write_attributions` wrote.

    Raises:
        CorruptError: it is not readable, or lacks a column.
    """
    try:
        rows: pd.DataFrame = pq.read_table(path).to_pandas()
    except Exception as error:
        raise CorruptError(f"{path} is damaged: {short(' '.join(str(error).split()))}") from error
    if missing := [name for name in COLUMNS if name not in rows]:
        raise CorruptError(f"{path} is damaged: it has no column {missing[0]}")
    return rows


def recomputed(attributions: Sequence[Attribution], path: Path) -> list[Attribution] | None:
    """Return the attributions of a report computed again from its rows; None: it has no rows, as of earlier versions.

    Args:
        attributions: as they were published.
        path: of attribution.parquet.

    Raises:
        CorruptError: the file is damaged.
    """
    if not path.is_file():
        return None
    rows = read_attributions(path)
    return [measured(facts, rows) for facts in attributions]


def _unknown(part: pd.DataFrame, generator: str, *, unseen: bool) -> Unknown:
    rows = part[(part["question"] == OPEN) & (part["of"] == generator)]
    val, test = (rows[rows["split"] == split] for split in ("val", "test"))
    known, unknown = test[test["class"] != generator], test[test["class"] == generator]
    return unknown_generator(
        generator,
        val["score"].to_numpy(),
        known["score"].to_numpy(),
        unknown["score"].to_numpy(),
        np.concatenate([identities(known), identities(unknown)]),
        kept=KEPT,
        unseen=unseen,
    )


def _few(part: pd.DataFrame, facts: FewShot, number: dict[str, int]) -> FewShot:
    rows = part[(part["question"] == FEW) & (part["of"] == facts.learner) & (part["images"] == facts.images)]
    truth, answers = np.empty(0, np.int64), []
    for _, draw in rows.groupby("draw"):
        # in the order of classes, so that the images of all draws are the same
        order = draw.assign(truth=draw["class"].map(number), answer=draw["answer"].map(number)).sort_values(
            ["truth", "answer"]
        )
        truth = np.repeat(order["truth"].to_numpy(np.int64), order["count"])
        answers.append(np.repeat(order["answer"].to_numpy(np.int64), order["count"]))
    return few_shot(truth, answers, len(number), images=facts.images, learner=facts.learner)


def _numbers(names: pd.Series[str], number: dict[str, int]) -> NDArray[np.int64]:
    return np.array([number[name] for name in names], dtype=np.int64)
