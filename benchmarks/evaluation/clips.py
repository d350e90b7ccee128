"""Tests by clip: the scores of a clip's frames become one, their mean or their highest, beside tests of single frames.

Sets of videos are compared by clip in the field (FaceForensics++, Celeb-DF, DFDC): frames of a clip resemble each
other, and one clip is one decision. The rows of scores.parquet name it in the column `clip`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.evaluation import delong, roc
from benchmarks.evaluation.evaluate import RESAMPLES, identities
from benchmarks.evaluation.results import ClipTest, TestResult
from benchmarks.protocol import CLEAN, Condition

_FEWEST = 2  # clips of a class


def clip_tests(scores: pd.DataFrame, cells: Sequence[TestResult]) -> list[ClipTest]:
    """Return the AUC by clip of each test on images from elsewhere in which both classes have at least two clips.

    Args:
        scores: rows of scores.parquet.
        cells: of the same rows.

    Returns:
        One record per cell of the column `external` whose images are of clips; images of no clip are left out.
    """
    if "clip" not in scores:
        return []
    usable = (scores["split"] == "test") & (scores["perturbation"] == CLEAN) & scores["clip"].notna()
    rows = scores[usable & (scores["clip"] != "")]
    tests = []
    for cell in cells:
        if cell.condition is not Condition.EXTERNAL or cell.perturbation != CLEAN:
            continue
        of_fit = (rows["detector"] == cell.detector) & (rows["trained_on"] == cell.trained_on)
        part = rows[of_fit & (rows["seed"] == cell.seed) & (rows["source"] == cell.tested_on)]
        test = _by_clip(part, cell)
        tests += [test] if test else []
    return tests


def _by_clip(rows: pd.DataFrame, cell: TestResult) -> ClipTest | None:
    # a forgery may have the name of the clip that it was made from
    clips = rows.groupby(["label", "clip"], sort=True).agg(
        mean=("score", "mean"), highest=("score", "max"), identity=("identity", "first")
    )
    label = clips.index.get_level_values("label").to_numpy()
    forged, real = int((label == 1).sum()), int((label == 0).sum())
    if min(forged, real) < _FEWEST:
        return None
    mean = clips["mean"].to_numpy()
    interval = delong.auc_interval(label, mean, groups=identities(clips), resamples=RESAMPLES, seed=0)
    return ClipTest(
        detector=cell.detector,
        trained_on=cell.trained_on,
        tested_on=cell.tested_on,
        seed=cell.seed,
        n_real=real,
        n_forged=forged,
        frames=len(rows),
        auc=roc.auc(label, mean),
        low=interval.low,
        high=interval.high,
        method=interval.method,
        auc_of_highest=roc.auc(label, clips["highest"].to_numpy()),
        auc_of_frames=roc.auc(rows["label"].to_numpy(), rows["score"].to_numpy()),
    )
