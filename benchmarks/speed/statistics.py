"""Speed of the statistics: the identity bootstrap, paired tests, the leaderboard from stored scores."""

from __future__ import annotations

import itertools
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.evaluation.bootstrap import auc_bootstrap
from benchmarks.evaluation.evaluate import compare
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.speed.figure import Figure, timed
from detect.scoring import read_scores, write_scores

ROWS, RESAMPLES, LOOPED = 1_000_000, 2_000, 3


def bootstrap(photos: str | None) -> list[Figure]:
    """2,000 resamples of the AUC over identities, against a loop over scikit-learn's `roc_auc_score`."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], ROWS // 2)
    score = rng.normal(size=ROWS) + label
    people = np.concatenate([np.arange(ROWS // 2) // 2, ROWS + np.arange(ROWS // 2)])  # two photos of every person
    figures = []
    for name, groups in (("independent images", None), ("two photos a person", people)):
        seconds = timed(partial(auc_bootstrap, label, score, groups=groups, resamples=RESAMPLES))
        figures.append(Figure(f"bootstrap of AUC, {name}", seconds, "s", f"{RESAMPLES:,} resamples of {ROWS:,} scores"))

    def loop() -> None:
        # A loop of all resamples would take minutes: a few are timed and multiplied.
        for _ in range(LOOPED):
            drawn = rng.integers(ROWS, size=ROWS)
            roc_auc_score(label[drawn], score[drawn])

    plain = timed(loop) / LOOPED * RESAMPLES
    how = f"the loop would take {plain:.0f} s: {LOOPED} of {RESAMPLES:,} rounds timed"
    return [*figures, Figure("… against a loop over roc_auc_score", plain / figures[-1].value, "x", how)]


def paired_tests(photos: str | None) -> list[Figure]:
    """Every two of 20 detectors on 100,000 images: paired DeLong and Holm."""
    table = score_rows([f"detector {i}" for i in range(20)], ["gan"], ["gan"], 100_000)
    seconds = timed(lambda: compare(table))
    return [Figure("paired DeLong, 190 pairs", seconds, "s", "20 detectors on 100,000 images, from score rows")]


def tables(photos: str | None) -> list[Figure]:
    """A leaderboard of 10,000 cells rebuilt from Parquet."""
    names = [f"g{i:02d}" for i in range(20)]
    table = score_rows([f"detector {i}" for i in range(25)], names, names, 400)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"
        write_scores(table, path)
        seconds = timed(lambda: leaderboard(read_scores(path)))
    how = f"25 detectors, 20 x 20 generators, {len(table):,} score rows of 400 images a test set"
    return [Figure("leaderboard of 10,000 cells", seconds, "s", how)]


def score_rows(detectors: list[str], trained: list[str], tested: list[str], images: int) -> pd.DataFrame:
    """Random score rows: `images` a test set, half of them real."""
    rng, half = np.random.default_rng(0), images // 2
    sets = ["", *tested]  # "" is the set of real images
    # Every fit is tested on every set, in one block of rows that is repeated.
    pairs = list(itertools.product(detectors, trained))
    rows = len(sets) * half
    block = {
        "seed": 0,
        "sample_id": np.tile([f"{i:06d}" for i in range(half)], len(sets)),
        "identity": None,
        "source": np.repeat(["faces", *tested], half),
        "generator": np.repeat(sets, half),
        "split": "test",
        "perturbation": "none",
        "label": np.repeat([0] + [1] * len(tested), half),
    }
    scores = pd.DataFrame(block)
    whole = pd.concat([scores] * len(pairs), ignore_index=True)
    whole.insert(0, "detector", np.repeat([detector for detector, _ in pairs], rows))
    whole.insert(1, "trained_on", np.repeat([name for _, name in pairs], rows))
    whole["score"] = rng.normal(size=len(whole)) + whole["label"]  # one standard deviation apart: AUC about 0.76
    whole["probability"] = 1 / (1 + np.exp(-whole["score"]))  # as calibrated scores would have it
    return whole.astype({"seed": "int64", "label": "int8"})
