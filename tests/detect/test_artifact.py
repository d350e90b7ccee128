from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detect.artifact import fit_detector, load_trained
from detect.data.views import join, select
from detect.detectors.base import DetectorSettings, FitData
from detect.detectors.dct import LogDctSettings
from detect.detectors.registry import DETECTORS
from detect.scoring import SCORE_COLUMNS, read_scores, score_table, score_view, write_scores
from forge.core.compute import Compute
from forge.core.errors import BenchError, CorruptError, InputError
from forge.core.files import read_signed_json, write_signed_json
from forge.core.registry import allow_files
from forge.faces.faceset import FaceSet

TINY = f"{Path(__file__).parent / 'tiny.py'}:Tiny"


@pytest.fixture
def trained(data, context):
    return fit_detector("dct", LogDctSettings(), data, context())


def edit_card(directory, **changes):
    file = directory / "detector.json"
    write_signed_json(file, read_signed_json(file) | changes)


# fitting


def test_no_image_of_another_split_is_read(data, context, sets, monkeypatch):
    read: dict[Path, set[int]] = {}
    original = FaceSet.read

    def spy(self, index):
        read.setdefault(self.path, set()).update(map(int, index))
        return original(self, index)

    monkeypatch.setattr(FaceSet, "read", spy)
    fit_detector("dct", LogDctSettings(), data, context())
    for faces in sets:
        assert set(faces.table["split"].iloc[sorted(read[faces.path])]) == {"train", "val"}


@pytest.mark.parametrize(
    ("role", "split", "sentence"),
    [
        ("train_real", "test", "train_real holds images of split 'test'; only 'train'"),
        ("val_forged", "train", "val_forged holds images of split 'train'; only 'val'"),
        ("train_forged", "forge", "train_forged holds images of split 'forge'"),
    ],
)
def test_a_wrong_split_is_refused(data, context, sets, role, split, sentence):
    wrong = FitData(**data.views | {role: sets[role.endswith("forged")].view(split)})
    with pytest.raises(InputError, match=sentence):
        fit_detector("dct", LogDctSettings(), wrong, context())


def test_a_class_without_images_is_refused(data, context):
    empty = FitData(**data.views | {"val_forged": data.val_forged.head(0)})
    with pytest.raises(InputError, match="val_forged has no images"):
        fit_detector("dct", LogDctSettings(), empty, context())


def test_exchanged_classes_are_refused(data, context):
    exchanged = FitData(data.train_forged, data.train_real, data.val_forged, data.val_real)
    with pytest.raises(InputError, match="exchange them"):
        fit_detector("dct", LogDctSettings(), exchanged, context())


def test_two_resolutions_are_refused(data, context, make_set):
    other = make_set("small", kind="forged", size=16)
    mixed = FitData(**data.views | {"train_forged": other.view("train")})
    with pytest.raises(InputError, match=r"train_forged has 16 px images, train_real 32 px"):
        fit_detector("dct", LogDctSettings(), mixed, context())
    with pytest.raises(InputError, match="16 and 32 px cannot be joined"):
        join(data.train_real, other.view("train"))


def test_settings_of_another_detector_are_refused(data, context):
    with pytest.raises(InputError, match="needs settings of LogDctSettings"):
        fit_detector("dct", DetectorSettings(), data, context())


def test_limit_takes_nested_random_parts_and_is_recorded(data, context):
    few, more = data.limited(10, 3, 4), data.limited(20, None, 4)
    assert len(few.train_real) == len(few.train_forged) == 10 and len(few.val_real) == 3
    assert set(few.train_real.index) < set(more.train_real.index)
    assert set(few.train_real.index) != set(data.train_real.head(10).index)
    artifact = fit_detector("dct", LogDctSettings(limit=10), data, context(4))
    assert [entry["images"] for entry in artifact.card.data] == [10, 10, 24, 24]
    assert artifact.card.data[0]["digest"] == few.describe()[0]["digest"] != data.describe()[0]["digest"]


def test_several_generators_are_one_view(data, context, make_set):
    other = make_set("second", kind="forged", seed=9)
    both = join(data.train_forged, other.view("train"))
    assert np.array_equal(both.read()[48:], other.view("train").read())
    picked = select(both, np.array([50, 3, 47, 48]))
    assert np.array_equal(picked.read(), both.read()[[50, 3, 47, 48]])
    assert list(picked.rows["id"]) == list(both.rows["id"].iloc[[50, 3, 47, 48]])
    again = join(picked, data.train_real)
    assert np.array_equal(again.read(slice(0, 5))[:4], picked.read()) and len(again) == 52
    artifact = fit_detector("dct", LogDctSettings(), FitData(**data.views | {"train_forged": both}), context())
    assert artifact.trained_on == "chess" and artifact.card.data[1]["images"] == 96


# storing


def test_stored_and_loaded_it_is_the_same(trained, sets, tmp_path):
    trained.save(tmp_path / "stored")
    loaded = load_trained(tmp_path / "stored")
    assert loaded.calibration == trained.calibration and loaded.card.history == trained.card.history
    for faces in sets:
        before, after = (score_table(each, faces.view("test"), Compute()) for each in (trained, loaded))
        pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_a_changed_or_missing_file_is_noticed(trained, tmp_path):
    trained.save(tmp_path / "stored")
    file = tmp_path / "stored" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptError, match=r"weights\.safetensors was changed"):
        load_trained(tmp_path / "stored")
    file.unlink()
    with pytest.raises(CorruptError, match=r"weights\.safetensors is missing"):
        load_trained(tmp_path / "stored")
    with pytest.raises(InputError, match=r"no detector\.json"):
        load_trained(tmp_path)


def test_a_card_that_was_changed_by_hand_is_refused(trained, tmp_path):
    trained.save(tmp_path / "stored")
    file = tmp_path / "stored" / "detector.json"
    file.write_text(file.read_text().replace('"resolution": ', '"resolution": 1'))
    with pytest.raises(CorruptError, match=r"detector\.json is damaged: it was changed after it was written"):
        load_trained(tmp_path / "stored")


def test_a_newer_schema_and_a_damaged_card_are_refused(trained, tmp_path):
    trained.save(tmp_path / "stored")
    edit_card(tmp_path / "stored", resolution="large")
    with pytest.raises(CorruptError, match="field resolution"):
        load_trained(tmp_path / "stored")
    edit_card(tmp_path / "stored", schema_version=99)
    with pytest.raises(InputError, match="schema 99"):
        load_trained(tmp_path / "stored")


def test_a_stored_detector_never_makes_code_run(data, context, tmp_path):
    allow_files([TINY])
    artifact = fit_detector(TINY, DETECTORS.load(TINY).Settings(batch=8, epochs=1), data, context())
    assert artifact.name == "tiny" and artifact.card.name == TINY
    artifact.save(tmp_path / "stored")
    with pytest.raises(InputError, match=r"name that file again: --detector .*tiny\.py:Tiny"):
        load_trained(tmp_path / "stored")
    loaded = load_trained(tmp_path / "stored", implementation=type(artifact.detector))
    images = data.val_real.read()
    assert np.array_equal(loaded.detector.score(images, Compute()), artifact.detector.score(images, Compute()))


# scoring


def test_rows_have_the_protocols_columns(trained, sets):
    real, forged = (score_table(trained, faces.view("test"), Compute()) for faces in sets)
    assert list(forged.columns) == [*SCORE_COLUMNS, "age"]
    assert set(real["label"]) == {0} and set(forged["label"]) == {1}
    first = forged.iloc[0]
    assert (first.detector, first.trained_on, first.seed, first.sample_id) == ("dct", "chess", 0, "forged-test-0")
    assert (first.source, first.generator, first.split, first.perturbation) == ("forged", "chess", "test", "none")
    assert set(real["generator"]) == {""} and first.identity == "p0"
    assert real["probability"].max() < 0.5 < forged["probability"].min()


def test_scores_are_the_same_bytes_each_time_and_read_back(trained, sets, tmp_path):
    table = pd.concat([score_table(trained, faces.view("test"), Compute()) for faces in sets], ignore_index=True)
    write_scores(table, tmp_path / "a.parquet")
    write_scores(table.copy(), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert np.array_equal(read_scores(tmp_path / "a.parquet")["score"], table["score"])
    with pytest.raises(InputError, match="no column 'label'"):
        write_scores(table.drop(columns="label"), tmp_path / "c.parquet")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(CorruptError, match="damaged"):
        read_scores(tmp_path / "a.parquet")


def test_perturbed_images_are_what_is_scored(trained, sets):
    view = sets[1].view("test")
    table = score_table(trained, view, Compute(), perturbation="black", perturb=np.zeros_like, batch=5)
    expected = trained.detector.score(np.zeros((1, 32, 32, 3), np.uint8), Compute())
    assert np.allclose(table["score"], expected) and set(table["perturbation"]) == {"black"}


def test_another_resolution_is_refused(trained, make_set):
    with pytest.raises(InputError, match="fitted at 32 px and cannot score 16 px"):
        score_view(trained.detector, make_set("small", kind="real", size=16).view("test"), Compute())


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (lambda images: np.where(np.arange(len(images)) == 3, np.nan, 0.0), "image 'real-test-3' the score nan"),
        (lambda images: np.zeros((len(images), 2)), r"shape \(32, 2\) for 32 images"),
    ],
)
def test_a_score_that_is_none_is_an_error(trained, sets, monkeypatch, score, sentence):
    monkeypatch.setattr(type(trained.detector), "score", lambda self, images, compute: score(images))
    with pytest.raises(BenchError, match=sentence):
        score_view(trained.detector, sets[0].view("test"), Compute())
