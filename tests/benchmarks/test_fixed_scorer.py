"""Detectors that learned nothing here count as trained elsewhere, and have a rank also beside one generator."""

import json

import pandas as pd
import pytest
from synthetic import TINY, make_scores

from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.comparison import columns
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.submission import rows_of, suite_images

CODE = '''
import numpy as np

from detect.detectors.base import Detector, FitSummary


class Dark(Detector):
    """Dark images are forged; there is nothing to learn."""

    family = "dark"
    citation = "none"
    needs = "nothing"

    def fit(self, data, context):
        assert data.generators == ""
        return FitSummary()

    def score(self, images, compute):
        return 1 - images.mean(axis=(1, 2, 3), dtype=np.float64) / 128

    def save(self, directory):
        pass

    @classmethod
    def load(cls, directory, settings, resolution):
        return cls(settings, resolution)
'''


def test_a_submission_to_a_suite_of_one_generator_is_ranked_and_compared():
    scores = make_scores({("good", "gan"): {"gan": 1.5}, ("bad", "gan"): {"gan": 0.5}}, n=60)
    images = suite_images(scores)
    given = images.drop_duplicates("image")[["image"]].assign(score=range(images["image"].nunique()))
    both = pd.concat([scores, rows_of(given, images, "theirs")], ignore_index=True)
    board = leaderboard(both)
    assert board.primary == "seen" and all(line.rank is not None for line in board.lines)
    assert [row.what for row in columns(cells_of(both), "theirs", "good")] == ["seen"]


@pytest.mark.e2e
@pytest.mark.xdist_group("suites")
def test_a_fixed_scorer_is_trained_elsewhere(bench, tmp_path):
    (tmp_path / "fixed.py").write_text(CODE)
    code, _, err = bench("run", "-g", "self-blended", "-d", "dct,fixed.py:Dark", "--name", "mine", *TINY, "--quiet")
    assert (code, err) == (0, "")
    results = json.loads((tmp_path / "reports/mine/results.json").read_text())
    facts = {entry["name"]: entry for entry in results["detectors"]}
    assert facts["dark"]["trained_on"] == "elsewhere" and facts["dct"]["trained_on"] == "self-blended"
    assert facts["dark"]["calibration"] == {"a": 1.0, "b": 0.0}
    board = json.loads(bench("leaderboard", "mine", "--format", "json")[1])
    assert {line["detector"]: line["rank"] is not None for line in board["lines"]} == {"dct": True, "dark": True}
    assert bench("show", "mine")[0] == 0
