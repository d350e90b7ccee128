"""Verdicts: the error rate of conformal sets, agreement with the threshold, re-encodings, priors, and unlike photos."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import laplace
from synthetic import make_scores

from benchmarks.inference import reencodings
from benchmarks.inference.conformal import Conformal, check_error_rate, images_needed
from benchmarks.inference.familiarity import Familiarity, Photo, sharpness
from benchmarks.inference.inspection import FaceView, Inspection, Inspector
from benchmarks.inference.judged import judged
from benchmarks.inference.photo_scores import PhotoScores, outcomes_of
from benchmarks.inference.photos import Faces
from benchmarks.inference.predictor import Predictor
from benchmarks.inference.reencodings import REENCODINGS, reencoded
from benchmarks.inference.threshold import Threshold
from benchmarks.inference.validation import Validation
from benchmarks.inference.verdict import Judge, check_prior
from detect.training.calibration import Calibration
from forge.core.compute import Compute
from forge.core.errors import CorruptError, InputError, UnknownNameError
from forge.core.files import read_json, write_signed_json
from forge.faces.crop import Face, FaceCrop, align
from forge.faces.imaging.luma import luminance


class Mean:
    """A detector whose score is an image's mean brightness less 128."""

    def score(self, images, compute):
        return images.reshape(len(images), -1).mean(1) - 128


def a_predictor(validation=None, prior=0.5, threshold=0.0):
    trained = SimpleNamespace(detector=Mean(), calibration=Calibration(0.05, 0.0), card=SimpleNamespace(resolution=8))
    fixed = Threshold(threshold, 0.5, "a rule")
    return Predictor(trained, "mean", "dcgan", fixed, "none", "run", prior=prior, validation=validation)


def a_judge(error_rate=0.1, prior=None, threshold=0.0, centre=20):
    """A judge whose real validation scores are -69 to 30, and whose forged ones mirror them, for a centre of 20."""
    real = np.arange(100.0) - 49.5 - centre
    validation = Validation(Conformal(real, -real), test={"real": real, "dcgan": -real})
    predictor = a_predictor(validation, 0.5 if prior is None else prior, threshold)
    return Judge.of(predictor, error_rate, prior)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [30, 99])
def test_each_class_is_ruled_out_as_often_as_the_error_rate_says(n, ties):
    rng, rate, misses = np.random.default_rng(0), 0.1, []
    for _ in range(400):
        real, forged = rng.normal(0, 1, n + 100), rng.gumbel(2, 1.5, n + 100)
        if ties:
            real, forged = np.round(real), np.round(forged)
        conformal = Conformal(real[:n], forged[:n])
        misses.append((~conformal.sets(real[n:], rate)[0]).mean() + 1j * (~conformal.sets(forged[n:], rate)[1]).mean())
    for share in (np.real(misses), np.imag(misses)):
        error = share.std() / np.sqrt(len(share))
        assert share.mean() <= rate + 3 * error
        # without ties the rate is floor(rate (n + 1)) / (n + 1), the formula of split conformal prediction
        if not ties:
            assert share.mean() == pytest.approx(np.floor(rate * (n + 1)) / (n + 1), abs=4 * error)


def test_p_values_count_the_scores_that_are_no_more_typical():
    conformal = Conformal(np.array([1.0, 2, 2, 3]), np.array([2.0, 4]))
    p_real, p_forged = conformal.p_values([2.0, 5.0, -np.inf])
    assert p_real.tolist() == [4 / 5, 1 / 5, 1.0] and p_forged.tolist() == [2 / 3, 1.0, 1 / 3]


def test_rates_and_priors_that_mean_nothing_are_refused():
    for value in (0, 1, 1.5, -0.1, float("nan")):
        with pytest.raises(InputError, match="--error-rate must lie between 0 and 1"):
            check_error_rate(value)
        with pytest.raises(InputError, match="--prior is the share of forgeries"):
            check_prior(value)
    for rate in (0.05, 0.1, 1 / 3, 0.001):
        needed = images_needed(rate)
        assert Conformal(np.zeros(needed), np.zeros(needed)).p_values([1.0])[0] <= rate + 1e-12
        assert Conformal(np.zeros(needed - 1), np.zeros(1)).p_values([1.0])[0] > rate


def test_a_prior_follows_the_formula_of_saerens():
    scores = np.linspace(-30, 30, 7)
    plain = Calibration(0.1, 0.3).probability(scores)
    shifted = Calibration(0.1, 0.3).at_prior(0.02).probability(scores)
    assert shifted == pytest.approx(plain * 0.02 / (plain * 0.02 + (1 - plain) * 0.98))
    assert Calibration(0.1, 0.3).at_prior(0.5) == Calibration(0.1, 0.3)


def test_an_answer_needs_threshold_set_and_re_encodings_to_agree():
    judge = a_judge()
    assert judge.answer(60, {}).verdict == "forged" and judge.answer(-60, {}).verdict == "real"
    both = judge.answer(0, {})
    assert (both.verdict, both.called) == ("cannot say", "forged") and "usual for real and for forged" in both.reason
    assert both.p_real > 0.1 and both.p_forged > 0.1
    turned = judge.answer(60, {"jpeg90": 50, "jpeg70": -1, "blurred": -2, "noise": -3})
    assert turned.verdict == "cannot say"
    assert turned.reason == "called real after JPEG 70, blur of 0.8 px and noise of 3 grey levels"
    neither = a_judge(error_rate=0.3, centre=45).answer(0, {})
    assert neither.verdict == "cannot say" and "lies between" in neither.reason
    assert "stays below the threshold" in a_judge(threshold=70).answer(60, {}).reason
    assert "yet reaches the threshold" in a_judge(threshold=-70).answer(-60, {}).reason


def test_a_prior_can_turn_an_answer_into_none():
    assert a_judge().answer(60, {}).verdict == "forged"
    rare = a_judge(prior=0.001)
    answer = rare.answer(60, {})
    assert answer.verdict == "cannot say" and "at the prior of 0.001" in answer.reason
    assert rare.answer(-60, {}).verdict == "real" and rare.coverage()[0].wrong == 0
    scored = PhotoScores(rare.predictor, [], judge=rare)
    assert any("0.1 % are forged" in sentence for sentence in scored.sentences)


def test_what_is_measured_on_test_images_is_what_single_answers_give():
    judge = a_judge(error_rate=0.2)
    for part, scores in zip(judge.coverage(), judge.validation.test.values(), strict=True):
        verdicts = [judge.answer(score, {}).verdict for score in scores]
        wrong = "forged" if part.name == "real" else "real"
        assert (part.wrong, part.unsaid) == (verdicts.count(wrong), verdicts.count("cannot say"))
        assert part.missed == 19 and part.images == 100
    assert "wrong for" in judge.sentences()[1] and "100 dcgan" in judge.sentences()[1]


def test_without_enough_validation_scores_a_detector_says_that_it_cannot_abstain():
    few = a_predictor(Validation(Conformal(np.arange(5.0), np.arange(5.0))))
    judge = Judge.of(few)
    assert judge.answer(0.5, {}).verdict == "forged" and judge.coverage() == []
    assert "cannot abstain" in judge.sentences()[0] and "needs 19 validation images" in judge.sentences()[0]
    assert judge.answer(0.5, {"jpeg70": -1.0}).verdict == "cannot say"
    with pytest.raises(InputError, match=r"--error-rate 0.1: at 0.1 it needs 9 validation images of each class, and"):
        Judge.of(few, 0.1)
    with pytest.raises(InputError, match=r"--error-rate 0.1: it has no validation scores"):
        Judge.of(a_predictor(), 0.1)


def test_validation_scores_are_those_of_both_classes_and_survive_a_folder(tmp_path):
    rows = make_scores({("dct", "dcgan"): {"dcgan": 2.0, "gan": 1.0}}, n=30)
    validation = Validation.of_rows(rows, Familiarity(side=(10.0, 20.0), jpeg_share=0.5))
    val = rows[rows["split"] == "val"]
    assert sorted(validation.conformal.real) == sorted(val.loc[val["label"] == 0, "score"])
    assert list(validation.test) == ["real", "dcgan", "gan"]
    assert Validation.of_rows(rows[rows["label"] == 0]) is None and Validation.at(tmp_path) is None
    validation.save(tmp_path)
    again = Validation.at(tmp_path)
    assert again.familiarity == validation.familiarity
    assert again.conformal.p_values([0.3]) == validation.conformal.p_values([0.3])
    content = read_json(tmp_path / "validation.json")
    (tmp_path / "validation.json").write_text(json.dumps(content | {"real": [9.0]}))
    with pytest.raises(CorruptError, match="was changed"):
        Validation.at(tmp_path)
    for change, error in (({"real": "no"}, CorruptError), ({"real": []}, CorruptError), ({"test": 3}, CorruptError)):
        write_signed_json(tmp_path / "validation.json", content | change)
        with pytest.raises(error, match="damaged"):
            Validation.at(tmp_path)
    write_signed_json(tmp_path / "validation.json", content | {"schema_version": 99})
    with pytest.raises(InputError, match="schema 99"):
        Validation.at(tmp_path)


def a_photo(side=64, seed=0):
    smooth = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    return Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC)


def test_re_encodings_change_the_photo_and_are_the_same_every_time(monkeypatch):
    photo = a_photo()
    plain, first, second = np.asarray(photo), reencoded(photo, 64), reencoded(photo, 64)
    assert first.shape == (6, 64, 64, 3) and np.array_equal(first, second)
    differences = np.abs(first.astype(int) - plain).mean((1, 2, 3))
    assert (differences > 0.3).all() and (differences < 20).all()  # each one changes it, none makes another photo of it
    assert list(REENCODINGS) == list(reencodings.TITLES)
    monkeypatch.setattr("benchmarks.inference.reencodings.LARGEST_SIDE", 100)
    assert reencoded(a_photo(140), 16).shape == (6, 16, 16, 3)


@pytest.mark.parametrize("side", [100, 400])
def test_a_re_encoded_face_is_aligned_as_the_face_itself(side, monkeypatch):
    monkeypatch.setattr("benchmarks.inference.reencodings.REENCODINGS", {"none": lambda image: image})
    monkeypatch.setattr("benchmarks.inference.reencodings.LARGEST_SIDE", 200)
    crop, photo = FaceCrop(), a_photo(side)
    points = (crop.template - 0.5) @ np.array([[0.98, 0.2], [-0.2, 0.98]]) * 0.9 * side + 0.5 * side
    (again,) = reencoded(photo, 16, points, crop)
    # above the largest side the photo is reduced first, which costs less than rounding twice
    assert np.abs(again.astype(int) - align(photo, points, 16, crop)).max() <= (0 if side == 100 else 3)


def test_sharpness_is_the_spread_of_the_laplacian():
    images = np.stack([np.asarray(a_photo(32, seed)) for seed in range(3)])
    grey = 255 * luminance(images).astype(float)
    expected = [laplace(image)[1:-1, 1:-1].std() for image in grey]
    assert sharpness(images) == pytest.approx(expected, rel=1e-4)
    blurred = np.stack([np.asarray(a_photo(32).filter(ImageFilter.GaussianBlur(2)))])
    assert sharpness(blurred)[0] < sharpness(images)[0] / 2


def test_photos_outside_the_ranges_of_training_are_named():
    known = Familiarity((200.0, 300.0), (70.0, 95.0), 1.0, (10.0, 40.0), (2.0, 12.0))
    usual = Photo(side=224, resolution=64, jpeg_quality=75, sharpness=20.0)
    assert known.unlike(usual) == [] and Familiarity().unlike(usual) == []
    assert known.unlike(replace(usual, side=16)) == ["enlarged 4 times (training: reduced 3.1 to 4.7 times)"]
    assert known.unlike(replace(usual, jpeg_quality=30)) == ["JPEG quality 30 (training: 70 to 95)"]
    assert known.unlike(replace(usual, jpeg_quality=None)) == ["no JPEG (training: all were)"]
    assert known.unlike(replace(usual, sharpness=3.0)) == [
        "blurrier, sharpness 3 (training: real photos 10 to 40, where forgeries were so)"
    ]
    assert known.unlike(replace(usual, sharpness=90.0)) == [
        "sharper or noisier, sharpness 90 (training: real photos 10 to 40)"
    ]
    assert replace(known, jpeg_quality=None).unlike(usual) == ["JPEG quality 75 (training: no JPEG)"]
    assert Familiarity.from_json(json.loads(json.dumps(known.as_json()))) == known


def test_ranges_are_those_of_the_training_images():
    faces = np.stack([np.asarray(a_photo(32, seed)) for seed in range(8)])
    rows = pd.DataFrame(
        {"source_width": 300, "source_height": [200.0] * 7 + [None], "source_jpeg_quality": [80.0] * 4 + [None] * 4,
         "source_format": ["JPEG"] * 4 + ["PNG"] * 4}
    )  # fmt: skip

    class Set:
        card = SimpleNamespace(splits=("train", "val"))

        def view(self, split=None):
            return SimpleNamespace(rows=rows, sample=lambda count, seed: SimpleNamespace(read=lambda: faces))

    known = Familiarity.of_sets(Set(), [Set()])
    assert known.jpeg_quality == (80.0, 80.0) and known.jpeg_share == 0.5
    low, high = known.sharpness
    assert sharpness(faces).min() <= low < high <= sharpness(faces).max() and known.forged_sharpness == known.sharpness


def test_every_face_of_a_photo_gets_a_row_with_its_box():
    dark, bright = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    second = FaceView((9, 9, 17, 17), "", bright, np.stack([bright] * 6))
    third = FaceView((0, 0, 4, 4), "too small: 4 pixels")
    several = Inspection(3, (0, 0, 8, 8), np.stack([dark] * 6), [second, third])
    alone = Inspection(1, (0, 0, 8, 8), np.stack([dark] * 5 + [bright]))
    source = {"source_width": 20, "source_height": 10, "source_jpeg_quality": None}
    faces = Faces(
        ["a.png", "b.png", "c.png"], ["", "damaged", ""], ["", "", "enlarged"], np.stack([dark, dark]), [source] * 2,
        [several, alone],
    )  # fmt: skip
    judge = a_judge()
    judge = replace(
        judge, predictor=a_predictor(replace(judge.predictor.validation, familiarity=Familiarity((100.0, 200.0))))
    )
    rows, images = judged(judge, faces, Compute())
    assert [row["file"] for row in rows] == ["a.png", "a.png", "a.png", "b.png", "c.png"] and len(images) == 3
    assert [row.get("face") for row in rows] == ["1 of 3", "2 of 3", "3 of 3", None, None]
    assert [row.get("verdict") for row in rows] == ["real", "forged", None, None, "cannot say"]
    assert rows[1]["box"] == (9, 9, 17, 17) and rows[2]["problem"] == "too small: 4 pixels"
    assert (
        rows[4]["reason"] == "called forged after noise of 3 grey levels" and "training: reduced" in rows[4]["unlike"]
    )
    scored = PhotoScores(judge.predictor, rows, judge=judge)
    assert scored.outcomes == {"forged": 1, "real": 1, "cannot say": 1, "problem": 2}
    assert scored.summary == "3 photos with 5 faces: 1 called forged, 1 real, 1 cannot say, 2 not used"
    table = scored.frame()
    assert table["box"][1] == "9 9 17 17" and table["noise"][4] == table["highest"][4] == 127
    assert table["lowest"][0] == -128 and pd.isna(table["score"][3])
    assert json.loads(scored.json())["images"][1]["box"] == [9, 9, 17, 17]
    assert json.loads(scored.json())["verdicts"]["error_rate"] == 0.1
    assert scored.csv().count("\n") == 6


def test_the_inspector_sees_further_faces_as_the_detector_would():
    crop, photo = FaceCrop(), a_photo(200)
    centres = ([100, 100], [90, 110], [190, 190])
    faces = [Face((0, 0, 9, 9), (crop.template - 0.5) * 60 + np.array(centre)) for centre in centres]
    inspection = Inspector(16, crop)(SimpleNamespace(image=photo), faces)
    near, cut = inspection.others
    assert inspection.faces == 3 and np.array_equal(near.image, align(photo, faces[1].landmarks, 16, crop))
    assert near.reencoded.shape == (6, 16, 16, 3) and cut.problem.startswith("face cut off")
    assert Inspector(16, reencode=False)(SimpleNamespace(image=photo), ()) == Inspection(None, None, None)


def test_outcomes_that_a_script_waits_for_are_named_as_the_verdicts():
    assert outcomes_of(["forged", "cannot-say", "problem"]) == ["forged", "cannot say", "problem"]
    with pytest.raises(UnknownNameError, match="--fail-on 'fake' is not known"):
        outcomes_of(["fake"])
