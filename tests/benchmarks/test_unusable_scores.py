"""Detectors whose scores cannot be used are left out of a report by name; scores of any scale keep their ranks."""

import json

import numpy as np
import pandas as pd
import pytest
from synthetic import TINY, make_scores

from benchmarks.evaluation.evaluate import compare, evaluate
from benchmarks.evaluation.leaderboard import leaderboard
from detect.scoring import read_scores, rounded, write_scores

pytestmark = pytest.mark.e2e

CODE = '''
import numpy as np

from detect.detectors.base import Detector, FitSummary


class Bright(Detector):
    """The mean of the red channel."""

    family = "bright"
    citation = "none"
    loaded = False

    def fit(self, data, context):
        return FitSummary()

    def score(self, images, compute):
        return images[..., 0].mean(axis=(1, 2), dtype=np.float64)

    def save(self, directory):
        pass

    @classmethod
    def load(cls, directory, settings, resolution):
        detector = cls(settings, resolution)
        detector.loaded = True
        return detector


class Averaged(Bright):
    family = "averaged"

    def score(self, images, compute):
        return np.full(len(images), super().score(images, compute).mean())


class Large(Bright):
    family = "large"

    def score(self, images, compute):
        return 1e9 + super().score(images, compute) / 1000


class Small(Bright):
    family = "small"

    def score(self, images, compute):
        return 1e-50 * super().score(images, compute)


class Odd(Bright):
    """One score that is none, after the fit and on forgeries alone."""

    family = "odd"

    def score(self, images, compute):
        scores = super().score(images, compute)
        if self.loaded and len(images) > 1 and FORGED(images):
            scores[0] = float("VALUE")
        return scores
'''


@pytest.mark.usefixtures("trained_gan")
@pytest.mark.xdist_group("suites")
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("Averaged", "", "detector 'averaged' gives image"),
        ("Odd", "1e39", "odd gave image .* the score 1e.39, which is beyond 3.4e.38"),
        pytest.param("Odd", "inf", "odd gave image .* the score inf, which is no number", marks=pytest.mark.slow),
        ("Odd", "nan", "odd gave image .* the score nan, which is no number"),
    ],
)
def test_a_detector_without_usable_scores_is_left_out_by_name(bench, tmp_path, name, value, sentence):
    code_text = CODE.replace("VALUE", value or "0").replace("FORGED(images)", "images[0, 0, 0, 0] >= 0")
    (tmp_path / "strange.py").write_text(code_text)
    detectors = f"dct,strange.py:Bright,strange.py:{name}"
    code, _, err = bench("run", "-g", "gan", "-d", detectors, "--name", "both", *TINY, "--quiet")
    assert code == 1
    results = json.loads((tmp_path / "reports/both/results.json").read_text())
    assert {cell["detector"] for cell in results["cells"]} == {"dct", "bright"}
    assert {item["name"] for item in results["detectors"]} == {"dct", "bright"}
    assert pd.Series(list(results["missing"].values())).str.contains(sentence).all()
    assert pd.Series([err.replace("\n", " ")]).str.contains(sentence).all()
    assert set(read_scores(tmp_path / "reports/both/scores.parquet")["detector"]) == {"dct", "bright"}


@pytest.mark.usefixtures("trained_gan")
@pytest.mark.xdist_group("suites")
def test_a_run_keeps_the_ranks_of_scores_of_any_scale(bench, tmp_path):
    (tmp_path / "strange.py").write_text(CODE)
    detectors = ",".join(f"strange.py:{name}" for name in ("Bright", "Large", "Small"))
    code, _, err = bench("run", "-g", "gan", "-d", detectors, "--name", "scaled", *TINY, "--quiet")
    assert (code, err) == (0, "")
    cells = json.loads((tmp_path / "reports/scaled/results.json").read_text())["cells"]
    by_detector = {cell["detector"]: cell for cell in cells}
    for name in ("auc", "auc_low", "auc_high", "eer", "balanced_accuracy"):
        values = [by_detector[detector][name] for detector in ("bright", "large", "small")]
        assert values == pytest.approx([values[0]] * 3), name
    assert by_detector["small"]["brier"] == pytest.approx(by_detector["bright"]["brier"])


@pytest.mark.parametrize("change", [lambda s: 1e9 + s / 1000, lambda s: 1e-50 * s, lambda s: 1e30 * s])
def test_scores_of_any_scale_keep_their_ranks(tmp_path, change):
    table = make_scores({("a", "gan"): {"gan": 1.5}, ("b", "gan"): {"gan": 1.0}})
    table["score"] = table["score"].rank()
    changed = table.assign(score=change(table["score"]))
    path = tmp_path / "scores.parquet"
    write_scores(rounded(changed), path)
    computed, expected = evaluate(read_scores(path)), evaluate(rounded(table))
    for name in ("auc", "auc_low", "auc_high", "ap", "eer", "pauc", "balanced_accuracy"):
        assert [getattr(item, name) for item in computed] == pytest.approx(
            [getattr(item, name) for item in expected]
        ), name
    assert compare(read_scores(path))[0].p_holm == pytest.approx(compare(rounded(table))[0].p_holm)
    boards = [leaderboard(scores).lines for scores in (read_scores(path), rounded(table))]
    assert [line.rank for line in boards[0]] == [line.rank for line in boards[1]]


def test_only_scores_that_would_tie_keep_double_precision():
    table = make_scores({("a", "gan"): {"gan": 1.5}, ("b", "gan"): {"gan": 1.0}})
    wide = table["detector"] == "b"
    table.loc[wide, "score"] = 1e9 + table.loc[wide, "score"] / 1000
    kept = rounded(table)
    assert (kept["score"][wide] == table["score"][wide]).all()
    assert (kept["score"][~wide] == table["score"][~wide].astype("float32").astype("float64")).all()
    assert (rounded(kept)["score"] == kept["score"]).all()
    assert np.array_equal(rounded(table.iloc[::-1])["score"].to_numpy()[::-1], kept["score"])
