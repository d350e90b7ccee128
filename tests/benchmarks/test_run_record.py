"""The record of a run under way, as other processes read it."""

import os
import platform
import subprocess
import sys

import pytest

from benchmarks.terminal import Silent
from benchmarks.workflow.run_record import STALE_SECONDS, RunRecord, read_records, recorded
from benchmarks.workflow.stage import Call
from forge.core.errors import BenchError
from forge.core.progress import ProgressEvent

TRAIN, FIT = Call("train", "dcgan"), Call("fit", "dct@dcgan")


def record(**fields):
    values = {
        "name": "mine", "host": platform.node(), "pid": os.getpid(), "command": "bench run", "report": "reports/mine",
        "engine": "local", "jobs": 2, "threads": 1, "device": "cpu", "begun": 5.0, "updated": 5.0,
    }  # fmt: skip
    return RunRecord(**values | fields)


def test_a_record_says_what_is_done_and_what_goes_on(tmp_path):
    with recorded(record(), tmp_path, Silent()) as recorder:
        recorder.planned([TRAIN, FIT], {TRAIN.key, FIT.key})
        recorder.started(TRAIN, "worker 2")
        recorder.progressed(TRAIN, ProgressEvent(3, 10, "images", {"loss": float("nan"), "lr": 0.5}, "samples: 1.png"))
        recorder.noted("a note")
        now = RunRecord.model_validate_json(recorder.text())
        (running,) = now.running
        assert (running.name, running.worker, running.done, running.total) == ("train dcgan", "worker 2", 3, 10)
        assert running.values == {"lr": 0.5} and running.note == "samples: 1.png"
        assert now.actions["train"].todo == 1 and now.actions["train"].done == 0 and now.log[0].endswith(" a note")
        recorder.finished(TRAIN, cached=False, seconds=2.0)
        recorder.started(FIT)
        recorder.ended(FIT)
        (on_disk,) = read_records(tmp_path)
        assert on_disk.is_alive() and on_disk.state == "running"
    (over,) = read_records(tmp_path)
    assert over.state == "finished" and not over.running and not over.is_alive()
    assert over.actions["train"].ran == 1 and over.actions["train"].seconds == 2.0 and over.updated > 5.0
    assert over.log[-1].endswith("train dcgan: done in 2.0 s")


@pytest.mark.parametrize(("error", "state"), [(BenchError("no luck"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_a_record_says_how_a_run_ended(tmp_path, error, state):
    with pytest.raises(type(error)), recorded(record(), tmp_path, Silent()):
        raise error
    (over,) = read_records(tmp_path)
    assert over.state == state and over.error == ("no luck" if state == "failed" else "")


def test_dead_records_of_a_name_are_removed_and_living_and_foreign_ones_kept(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "runs").mkdir()
    records = {
        "dead": record(pid=ended.pid),
        "alive": record(begun=6.0),
        "other": record(name="other", pid=ended.pid),
        "elsewhere": record(host="elsewhere", begun=1.0, updated=2e12),
        "stale": record(host="elsewhere", updated=5.0 + STALE_SECONDS),
    }
    for name, each in records.items():
        (tmp_path / "runs" / f"{name}.json").write_text(each.model_dump_json())
    (tmp_path / "runs" / "broken.json").write_text("{")
    with recorded(record(pid=1), tmp_path, Silent()):
        names = {file.stem for file in (tmp_path / "runs").glob("*.json")}
    assert names == {"alive", "other", "elsewhere", "broken", f"mine.{platform.node()}.1"}
    assert [each.begun for each in read_records(tmp_path)] == [6.0, 5.0, 5.0, 1.0]
