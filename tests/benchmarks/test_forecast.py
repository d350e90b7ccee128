"""What a plan will take, from the times of stages like its own."""

import json

import pytest

from benchmarks.experiment.settings import DataSettings, DetectorRequest, ImageCounts
from benchmarks.protocol import TrainSet
from benchmarks.workflow.forecast import forecast
from benchmarks.workflow.stages.fit import Fit
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.score import Part, Score
from benchmarks.workflow.store import Store, write_manifest

STORED = {"key": "", "peak_memory_mb": None}  # of a stage of an earlier version, beside name and seconds
DATA = Prepare(data=DataSettings(source="photos"), fingerprint="")


def keep(store, stage, seconds):
    with store.publish(stage.action, stage.key) as folder:
        write_manifest(
            folder, stage=stage.name, action=stage.action, about=stage.about, fields=stage.described(), version=1,
            key=stage.key, settings=stage.settings, inputs={}, seed=stage.seed, environment={}, seconds=seconds,
            peak_memory_mb=None, work_units=stage.work_units,
        )  # fmt: skip


def fit(name, limit=1, seed=0):
    detector, _, trained_on = name.partition("@")
    return Fit(
        seed=seed, repeated=seed > 0, detector=detector, training=TrainSet.parse(trained_on), images=ImageCounts(),
        request=DetectorRequest(detector=detector, settings={"limit": limit}), numerics={}, real=DATA, forged={},
        members={},
    )  # fmt: skip


def score(name, count):
    return Score(detector=fit(name), faces=DATA, parts=(Part("test", count),))


def test_stages_take_what_their_like_took(tmp_path):
    store = Store(tmp_path)
    for seed, seconds in enumerate((10.0, 20.0, 60.0)):
        keep(store, fit("dct@gan", seed=seed), seconds)
    keep(store, fit("dct@gan", limit=2), 500.0)
    keep(store, fit("npr@gan"), 7.0)
    forecasts = forecast([fit("dct@dcgan", seed=3), fit("npr@gan+dcgan:200")], store, tmp_path / "none")
    assert forecasts.seconds == pytest.approx(20 + 7) and forecasts.timed == 2 and forecasts.untimed == []
    # other settings: any fit of the same detector
    assert forecast([fit("dct@dcgan", limit=3)], store, tmp_path).seconds == pytest.approx(40)  # median of four


def test_scores_take_as_long_as_there_are_images(tmp_path):
    store = Store(tmp_path)
    keep(store, score("dct@gan", 1000), 2.0)
    assert forecast([score("dct@dcgan", 5000)], store, tmp_path).seconds == pytest.approx(10)


def test_reports_stand_in_and_what_was_never_timed_is_named(tmp_path):
    folder = tmp_path / "reports" / "one"
    folder.mkdir(parents=True)
    stages = [{"name": "fit dct@gan", "seconds": 3.0} | STORED, {"name": "prepare faces", "seconds": 5.0} | STORED]
    (folder / "results.json").write_text(json.dumps({"stages": stages}))
    (tmp_path / "reports" / "two").mkdir()
    (tmp_path / "reports" / "two" / "results.json").write_text("{}")  # of an earlier version, or damaged
    (tmp_path / "reports" / "three").mkdir()
    slow = [{"name": "fit dct@gan", "seconds": 90.0} | STORED, {"name": "prepare faces", "seconds": "long"}]
    (tmp_path / "reports" / "three" / "results.json").write_text(json.dumps({"stages": slow}))
    asked_stages = [fit("dct@dcgan"), DATA, fit("xception@gan", seed=1), fit("xception@gan", seed=2)]
    forecasts = forecast(asked_stages, Store(tmp_path / "runs"), tmp_path / "reports")
    assert forecasts.seconds == pytest.approx(8) and forecasts.timed == 2 and forecasts.untimed == ["fit xception"]
