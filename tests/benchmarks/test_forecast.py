"""What a plan will take, from the times of stages like its own."""

import json

import pytest

from benchmarks.workflow.forecast import forecast
from benchmarks.workflow.planner import Stage
from benchmarks.workflow.store import Store, write_manifest


def keep(store, stage, seconds):
    with store.publish(stage.kind, stage.key) as place:
        write_manifest(
            place, stage=stage.name, version=1, key=stage.key, settings=stage.settings, inputs={}, seed=stage.seed,
            environment={}, seconds=seconds, peak_memory_mb=None,
        )  # fmt: skip


def fit(name, limit=1, seed=0):
    return Stage("fit", name, {"settings": {"limit": limit}, "images": {"train": 10}, "trained_on": name}, seed)


def score(name, count):
    return Stage("score", name, {"asked": [{"split": "test", "count": count, "perturbation": "none"}]}, 0)


def test_stages_take_what_their_like_took(tmp_path):
    store = Store(tmp_path)
    for seed, seconds in enumerate((10.0, 20.0, 60.0)):
        keep(store, fit("dct@gan", seed=seed), seconds)
    keep(store, fit("dct@gan", limit=2), 500.0)
    keep(store, fit("npr@gan"), 7.0)
    found = forecast([fit("dct@dcgan #3"), fit("npr@gan+dcgan:200")], store, tmp_path / "none")
    assert found.seconds == pytest.approx(20 + 7) and found.timed == 2 and found.untimed == []
    # other settings: any fit of the same detector
    assert forecast([fit("dct@dcgan", limit=3)], store, tmp_path).seconds == pytest.approx(40)  # median of four


def test_scores_take_as_long_as_there_are_images(tmp_path):
    store = Store(tmp_path)
    keep(store, score("dct@gan on real", 1000), 2.0)
    assert forecast([score("dct@dcgan on gan", 5000)], store, tmp_path).seconds == pytest.approx(10)


def test_reports_stand_in_and_what_was_never_timed_is_named(tmp_path):
    folder = tmp_path / "reports" / "one"
    folder.mkdir(parents=True)
    stages = [{"name": "fit dct@gan", "seconds": 3.0}, {"name": "prepare faces", "seconds": 5.0}]
    (folder / "results.json").write_text(json.dumps({"stages": stages}))
    (tmp_path / "reports" / "two").mkdir()
    (tmp_path / "reports" / "two" / "results.json").write_text("{}")  # of an earlier version, or damaged
    (tmp_path / "reports" / "three").mkdir()
    slow = [{"name": "fit dct@gan", "seconds": 90.0}, {"name": "prepare faces", "seconds": "long"}]
    (tmp_path / "reports" / "three" / "results.json").write_text(json.dumps({"stages": slow}))
    asked = [fit("dct@dcgan"), Stage("prepare", "photos", {}, 0), fit("xception@gan #1"), fit("xception@gan #2")]
    found = forecast(asked, Store(tmp_path / "runs"), tmp_path / "reports")
    assert found.seconds == pytest.approx(8) and found.timed == 2 and found.untimed == ["fit xception"]
