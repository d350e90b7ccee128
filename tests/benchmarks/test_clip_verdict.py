"""Answers for clips: calibrated on validation clips, else valid with single images whatever the scores."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks.inference.clip_verdict import ClipJudge
from benchmarks.inference.conformal import Conformal
from benchmarks.inference.predictor import Predictor
from benchmarks.inference.threshold import Threshold
from benchmarks.inference.validation import ClipScores, Validation
from benchmarks.inference.verdict import Judge
from detect.training.calibration import Calibration
from forge.core.errors import CorruptError


def clip_judge(real, forged, *, clips=None, rate=0.05, prior=None, max_fpr=None):
    trained = SimpleNamespace(calibration=Calibration(1.0, 0.0))
    threshold = Threshold(0.0, 0.5, "a rule", max_fpr=max_fpr)
    validation = Validation(Conformal(np.array(real), np.array(forged)), clips=clips)
    predictor = Predictor(trained, "dct", "dcgan", threshold, "none", "run", prior=prior or 0.5, validation=validation)
    return ClipJudge.of(Judge.of(predictor, rate, prior))


def rows(judge, scores):
    p_real, p_forged = judge.judge._p_values(np.asarray(scores, float))
    return pd.DataFrame({"score": scores, "p_real": p_real, "p_forged": p_forged}).to_dict("records")


def test_single_images_bound_the_errors_of_clips_whatever_the_scores():
    # 4 % of the real images score high: their mean over 16 frames is above the 95 % quantile in half of the clips
    rng, missed, naive = np.random.default_rng(0), 0, 0
    for _ in range(200):
        judge = clip_judge(5 + 5.0 * (rng.random(200) < 0.04), rng.normal(12, 1, 200))
        scores = 5 + 5.0 * (rng.random(16) < 0.04)
        verdict = judge.answer(rows(judge, scores), {})
        missed += verdict.p_real <= 0.05
        naive += judge.judge.answer(float(scores.mean()), {}).p_real <= 0.05
    assert naive > 60 and missed <= 10  # 5 % of 200


def test_clips_on_single_images_say_what_they_are_judged_by():
    judge = clip_judge(np.arange(-50.0, 0), np.arange(1.0, 51))
    # scores that no real image has, so that every p-value of "real" is 1 / 51
    verdict = judge.answer(rows(judge, [20.0, 30.0]), {"noise": 5.0})
    assert (verdict.verdict, verdict.p_real) == ("forged", pytest.approx(2 / 51)) and verdict.p_forged == 1
    assert judge.answer(rows(judge, [20.0, 30.0]), {"noise": -5.0}).verdict == "cannot say"
    # one frame like a real one is enough to keep the class: (1 / 51 + 26 / 51) / 2 * 2
    assert judge.answer(rows(judge, [60.0, -25.0]), {}).p_real == pytest.approx(27 / 51)
    (sentence,) = judge.sentences()
    assert "calibrated on single images: the validation images of the fit are not frames of clips" in sentence
    assert "twice the mean" in sentence and judge.as_json()["calibrated_on"] == "images"
    few = clip_judge(np.arange(-20.0, 0), np.arange(1.0, 21))
    answer = few.answer(rows(few, [20.0, 30.0]), {})
    assert (answer.verdict, answer.p_real) == ("forged", pytest.approx(1 / 21))  # as of a photo
    assert few.answer(rows(few, [0.2, 0.6]), {}).verdict == "cannot say"
    assert (
        "does not bound its errors: to bound them at 0.05 it needs 39 validation images of each class, and has 20"
        in (few.sentences()[0])
    )


def test_clips_of_the_fit_calibrate_threshold_probability_and_error_rate():
    clips = ClipScores(np.arange(-40.0, 0), np.arange(10.0, 50), 8.0, {"real": np.array([-3.0, 20.0])})
    judge = clip_judge(np.arange(-50.0, 50), np.arange(-50.0, 50), clips=clips)
    assert judge.threshold == 4.5 and judge.as_json()["calibrated_on"] == "clips"
    assert judge.calibration.probability(np.array([-40.0, 49.0])) == pytest.approx([0, 1], abs=0.1)
    forged, real = ([{"score": score}] * 2 for score in (30.0, -30.0))
    assert judge.answer(forged, {}).verdict == "forged" and judge.answer(real, {}).verdict == "real"
    assert judge.answer(forged, {}).p_real == pytest.approx(1 / 41)  # of clips: of images it would be .2
    assert judge.answer([{"score": 5.0}], {}).verdict == "cannot say"
    text = " ".join(judge.sentences())
    assert "(40 real, 40 forged, a median of 8 frames each)" in text
    assert "On test clips of the run its answer is wrong for" in text and "of 2 real" in text
    bounded = clip_judge(np.arange(-50.0, 50), np.arange(-50.0, 50), clips=clips, max_fpr=0.05)
    assert bounded.threshold == pytest.approx(-2, abs=1) and "at most 5 %" in bounded.sentences()[0]


def test_too_few_clips_are_said_and_not_used():
    clips = ClipScores(np.arange(-40.0, 0), np.arange(10.0, 15), 8.0)
    judge = clip_judge(np.arange(-50.0, 0), np.arange(1.0, 51), clips=clips)
    assert judge.clips is None and judge.threshold == 0
    assert "needs 19 validation clips of each class, and has 40 real and 5 forged" in judge.sentences()[0]
    strict = clip_judge(np.arange(-50.0, 0), np.arange(1.0, 51), clips=replace(clips, forged=np.arange(30.0)),
                        max_fpr=0.01)  # fmt: skip
    assert strict.clips is None and "40 are too few for --max-fpr 0.01" in strict.sentences()[0]


def test_validation_clips_come_from_the_rows_and_are_kept_beside_a_detector(tmp_path):
    table = pd.DataFrame(
        [
            {"split": split, "source": "s", "generator": "gan" if label else "", "label": label, "clip": clip,
             "score": 10.0 * label + number}
            for split in ("val", "test") for label in (0, 1) for clip in ("a", "b", None) for number in range(3)
        ]
    )  # fmt: skip
    validation = Validation.of_rows(table)
    assert (validation.clips.real.tolist(), validation.clips.forged.tolist()) == ([1, 1], [11, 11])
    assert validation.clips.frames == 3 and list(validation.clips.test) == ["real", "gan"]
    validation.save(tmp_path)
    kept = Validation.at(tmp_path)
    assert kept.clips.as_json() == validation.clips.as_json()
    assert Validation.of_rows(table.drop(columns="clip")).clips is None
    assert Validation.of_rows(table.assign(clip=table["clip"].where(table["label"] == 0))).clips is None
    file = tmp_path / "validation.json"
    file.write_text(file.read_text().replace('"frames": 3.0', '"frames": 4.0'))
    with pytest.raises(CorruptError):
        Validation.at(tmp_path)
