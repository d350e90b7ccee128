"""Scores of external detectors on the test images of a suite, from a file.

The images of a suite carry neutral names, digests that do not reveal their class (`image_name`). A file gives one
score per image; from that and the suite's own rows come rows like those of every other detector, trained "elsewhere".
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from benchmarks.evaluation.score_file import some
from benchmarks.protocol import CLEAN, ELSEWHERE, PAIRED_PREFIX, TestGrid
from forge.core.errors import InputError

_LETTER = "i"  # names begin with a letter: a spreadsheet turns 8564066441874575e098 into a number


def image_name(source: str, generator: str, seed: int, sample_id: str) -> str:
    """Return the neutral name of a test image; a real one has the same in every seed, which is -1 for it."""
    # the seed is part of a forgery's name, since each seed has forgeries of its own; a zero byte separates the parts
    text = "\0".join((source, generator, str(seed if generator else -1), sample_id))
    # 20 hexadecimal digits are 80 bits: no two images of a suite share a name by chance
    return _LETTER + hashlib.sha256(text.encode()).hexdigest()[:20]


def suite_images(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the clean test images of a suite, one row per image and seed: columns of score rows, and `image`.

    Args:
        scores: rows of scores.parquet.
    """
    usual = (scores["split"] == "test") & (scores["perturbation"] == CLEAN)
    # External pairs stay, snapshots do not: they are points of a curve for detectors trained in the run. Tests beside
    # sources do not either: their forgeries are there already, and their real images are no reals of other tests.
    grid = TestGrid.of_scores(scores)
    beside = scores["generator"].isin(grid.snapshots | grid.paired) | scores["source"].str.startswith(PAIRED_PREFIX)
    rows = scores[usual & ~beside]
    rows = rows.drop_duplicates(["source", "generator", "seed", "sample_id"]).reset_index(drop=True)
    keys = zip(rows["source"], rows["generator"], rows["seed"], rows["sample_id"], strict=True)
    return rows.assign(image=[image_name(str(a), str(b), int(c), str(d)) for a, b, c, d in keys])


def rows_of(submission: pd.DataFrame, images: pd.DataFrame, name: str) -> pd.DataFrame:
    """Score rows of a submitted detector, as of every other one.

    Args:
        submission: of `read_submission`.
        images: of `suite_images`.
        name: of the detector.

    Raises:
        InputError: images are missing, are not of the suite, or have another label there.
    """
    known = set(images["image"])
    # names of an earlier export are accepted
    submission = submission.assign(image=_current(submission["image"], known))
    given = set(submission["image"])
    if strange := sorted(given - known):
        cause = "; a spreadsheet turned names into numbers: import that column as text" if _numeric(strange) else ""
        raise InputError(
            f"{len(strange)} of {len(given)} images are not test images of the suite, among them {some(strange)}{cause}"
            "; `bench export images` gives their names"
        )
    if missing := sorted(known - given):
        raise InputError(f"{len(missing)} of {len(known)} test images have no score, among them {some(missing)}")
    if (twice := submission["image"][submission["image"].duplicated()]).size:
        raise InputError(
            f"{twice.size} images stand twice, under the name of an earlier version too: {some(list(twice))}"
        )
    # both sides hold the same images by now; a real photo has one row per seed and gets its score in each
    merged = images.drop(columns=["score", "probability"]).merge(submission, on="image", suffixes=("", "_given"))
    if "label_given" in merged:
        _check_labels(merged)
    columns = [column for column in merged.columns if column not in ("image", "label_given")]
    return merged[columns].assign(
        detector=name,
        trained_on=ELSEWHERE,
        perturbation=CLEAN,
        probability=np.nan,  # a foreign score has no calibration
        label=merged["label"].astype("int8"),
    )


def _current(names: pd.Series, known: set[str]) -> list[str]:
    """Return names of images as exported; those of earlier versions had no letter in front."""
    return [f"{_LETTER}{name}" if name not in known and f"{_LETTER}{name}" in known else name for name in names]


def _numeric(names: list[str]) -> bool:
    """Return whether a name looks like a number that a spreadsheet made of it, such as 8,56407E+113."""
    return any(name[:1].isdigit() and ("," in name or "+" in name or name.isdigit()) for name in names)


def _check_labels(merged: pd.DataFrame) -> None:
    wrong = merged["label_given"] != merged["label"]
    # all of them wrong is a convention, some of them wrong are errors: different advice
    if wrong.all():
        raise InputError(
            "every label is the wrong way round: forged is 1 and real is 0; are the scores exchanged as well?"
        )
    if wrong.any():
        first = merged[wrong].iloc[0]
        truth = "forged" if first["label"] else "real"
        raise InputError(f"{int(wrong.sum())} labels are wrong, among them that of {first['image']}, which is {truth}")
