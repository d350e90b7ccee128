"""Detectors that we cannot run: their scores of a suite's test images, from a file.

The images of a suite carry neutral names, digests that say nothing of their class (`image_name`). A file gives one
score an image; from that and the suite's own rows come rows like those of every other detector, trained "elsewhere".
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from benchmarks.measures.trainings import CLEAN, EXTERNAL, Training, beside
from forge.errors import InputError

ELSEWHERE = "elsewhere"
_NAMES = ("image", "file", "sample_id")  # the first of these columns names the images
_SHOWN = 3


def image_name(source: str, generator: str, seed: int, sample_id: str) -> str:
    """A neutral name of a test image; a real one has the same in every seed, which is -1 for it."""
    text = "\0".join((source, generator, str(seed if generator else -1), sample_id))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def suite_images(scores: pd.DataFrame) -> pd.DataFrame:
    """The clean test images of a suite, one row an image and seed: the columns of score rows, and `image`.

    Args:
        scores: rows of scores.parquet.
    """
    trained = [Training.parse(str(text)) for text in scores["trained_on"].unique()]
    aside = {name for name in beside(map(str, scores["generator"].unique()), trained) if not name.startswith(EXTERNAL)}
    rows = scores[(scores["split"] == "test") & (scores["perturbation"] == CLEAN) & ~scores["generator"].isin(aside)]
    rows = rows.drop_duplicates(["source", "generator", "seed", "sample_id"]).reset_index(drop=True)
    keys = zip(rows["source"], rows["generator"], rows["seed"], rows["sample_id"], strict=True)
    return rows.assign(image=[image_name(str(a), str(b), int(c), str(d)) for a, b, c, d in keys])


def read_submission(path: Path) -> pd.DataFrame:
    """Read scores from CSV (UTF-8) or Parquet: columns `image` (a name of the export), `score` and maybe `label`.

    Raises:
        InputError: not readable, a column is missing, a score is no finite number, an image stands twice.
    """
    table = _table(path)
    name = next((column for column in _NAMES if column in table.columns), None)
    if name is None or "score" not in table.columns:
        raise InputError(f"{path} needs the columns image and score; it has: {', '.join(map(str, table.columns))}")
    images = [PurePosixPath(str(value).replace("\\", "/")).name.partition(".")[0] for value in table[name]]
    numbers = pd.to_numeric(table["score"], errors="coerce").to_numpy(dtype=np.float64)
    if (wrong := np.flatnonzero(~np.isfinite(numbers))).size:
        value = table["score"].iloc[int(wrong[0])]
        raise InputError(f"{path}: the score of {images[int(wrong[0])]} is {value}, which is no number "
                         f"({wrong.size} of {numbers.size} are not)")  # fmt: skip
    found = pd.DataFrame({"image": images, "score": numbers})
    if (twice := found["image"][found["image"].duplicated()]).size:
        raise InputError(f"{path}: {twice.size} images stand twice, among them {_some(twice)}; give one score an image")
    return found.assign(label=table["label"].to_numpy()) if "label" in table.columns else found


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"scores file {path} does not exist")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=dict.fromkeys(_NAMES, str))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from error


def rows_of(submission: pd.DataFrame, images: pd.DataFrame, name: str) -> pd.DataFrame:
    """Score rows of a submitted detector, as of every other one.

    Args:
        submission: of `read_submission`.
        images: of `suite_images`.
        name: of the detector.

    Raises:
        InputError: images are missing, are not of the suite, or have another label there.
    """
    known, given = set(images["image"]), set(submission["image"])
    if strange := sorted(given - known):
        raise InputError(
            f"{len(strange)} of {len(given)} images are not test images of the suite, among them {_some(strange)}; "
            "`bench export images` gives their names"
        )
    if missing := sorted(known - given):
        raise InputError(f"{len(missing)} of {len(known)} test images have no score, among them {_some(missing)}")
    merged = images.drop(columns=["score", "probability"]).merge(submission, on="image", suffixes=("", "_given"))
    if "label_given" in merged:
        _check_labels(merged)
    columns = [column for column in merged.columns if column not in ("image", "label_given")]
    return merged[columns].assign(
        detector=name,
        trained_on=ELSEWHERE,
        perturbation=CLEAN,
        probability=np.nan,
        label=merged["label"].astype("int8"),
    )


def _check_labels(merged: pd.DataFrame) -> None:
    wrong = pd.to_numeric(merged["label_given"], errors="coerce") != merged["label"]
    if wrong.all():
        raise InputError(
            "every label is the wrong way round: 1 is forged and 0 is real; are the scores exchanged as well?"
        )
    if wrong.any():
        one = merged[wrong].iloc[0]
        truth = "forged" if one["label"] else "real"
        raise InputError(f"{int(wrong.sum())} labels are wrong, among them that of {one['image']}, which is {truth}")


def _some(names: pd.Series | list[str]) -> str:
    shown = list(names)[:_SHOWN]
    return ", ".join(map(str, shown))
