"""`bench serve`: runs under way, from the records in the store."""

import os
import platform
import time
import uuid
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from finished import finished_run
from PIL import Image

from benchmarks.serve import running
from benchmarks.serve.app import create_app
from benchmarks.serve.index import RunIndex
from benchmarks.terminal import Silent
from benchmarks.workflow.run_record import ActionCount, RunningStage, RunRecord, keys_in_use, recorded
from benchmarks.workflow.stage import Call
from benchmarks.workflow.store import Store
from forge.core.errors import UnknownNameError

KEY = "ab12" * 16


def record(name, pid=None, **values):
    common = {
        "command": f"bench run {name} --data /home/me/photos", "report": f"reports/{name}", "engine": "local",
        "jobs": 2, "threads": 1, "device": "cpu", "begun": time.time() - 600, "updated": time.time(),
        "host": platform.node(),
    }  # fmt: skip
    return RunRecord(name=name, pid=pid or os.getpid(), **common | values)


def store_of(folder, *records):
    (folder / "runs").mkdir(parents=True)
    for each in records:
        (folder / "runs" / f"{each.name}.{each.host}.{each.pid}.json").write_text(each.model_dump_json())
    return folder


@pytest.fixture
def store(tmp_path):
    counts = {
        "train": ActionCount(total=4, todo=4, done=1, ran=1, seconds=60), "fit": ActionCount(total=3, done=3),
        "report": ActionCount(total=1, todo=1),
    }  # fmt: skip
    training = RunningStage(
        name="train <b>dcgan</b>", action="train", key=KEY, worker="worker 1", begun=time.time(), done=300, total=1200,
        unit="images", values={"loss": 0.6931, "many": 123456.0}, note="unhealthy; samples: store/work/newest.png",
    )  # fmt: skip
    begun = RunningStage(name="fit dct@dcgan", action="fit", key="cd" * 32, begun=time.time())
    log = [f"10:00:{n:02d} line {n}" for n in range(60)]
    folder = store_of(
        tmp_path / "store",
        record("killed", 2**22 + 1, command="bench run killed"), record("finished", state="finished"),
        record("failed", 7, state="failed", error="the disk is full"),
        record("old", 8, state="failed", updated=time.time() - 1e6),
        record("live", actions=counts, running=[training, begun], log=log),
    )  # fmt: skip
    (folder / "runs" / "damaged.json").write_text("{")
    grid = folder / "work" / KEY[:16] / "samples" / "newest.png"
    grid.parent.mkdir(parents=True)
    Image.new("RGB", (16, 16), "red").save(grid)
    return folder


def client_of(store, host="127.0.0.1"):
    app = create_app(RunIndex(store / "reports", store), host=host, device="cpu")
    return TestClient(app, base_url="http://127.0.0.1:8000")


def test_running_and_unfinished_runs_are_told_from_files_alone(store):
    live, *others = running.suites(store)
    assert (live.name, live.state, live.done, live.total) == ("live", "running", 4, 8)
    assert live.left == "at least 1 min 30 s"  # three trainings of a minute by two workers; reports were not timed
    assert {suite.name: suite.state for suite in others} == {"killed": "killed", "failed": "failed"}
    training, begun = live.steps
    assert (training.share, training.progress, training.picture) == (0.25, "300 of 1,200 images", True)
    assert training.readings == [("loss", "0.693"), ("many", "123 k")] and training.note == "unhealthy"
    assert (begun.share, begun.progress, begun.picture) == (None, "begun", False)
    with pytest.raises(UnknownNameError, match="running suite 'old' is not known"):
        running.suite(store, "old")
    assert running.suites(store / "none") == []


def test_the_pages_show_them(store):
    client = client_of(store)
    front = client.get("/").text
    live = running.suites(store)[0].id
    assert f'href="/running/{live}"' in front and "Killed" in front and "train &lt;b&gt;dcgan&lt;/b&gt;" in front
    page = client.get(f"/running/{live}")
    assert "<b>Running</b>, 10 min so far, at least 1 min 30 s left" in page.text and "<b>dcgan" not in page.text
    assert "line 59" in page.text and "line 19\n" not in page.text and "1 of 4" in page.text
    part = client.get(f"/running/{live}", headers={"X-Part": "running"})
    assert "<html" not in part.text and "line 59" in part.text
    picture = client.get(f"/running/{live}/{KEY}.png")
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    killed = client.get(f"/running/killed.{platform.node()}.{2**22 + 1}").text
    assert "What was finished is kept. The same command continues:" in killed and "bench run killed" in killed
    facts = client.get("/api/running").json()["running"]
    assert [run["state"] for run in facts].count("running") == 1 and "/home/me" not in str(facts)
    assert client.get("/static/live.js").status_code == 200


@pytest.mark.parametrize("path", ["none", "..%2F..", "{live}/cdcd.png", "{live}/..%2Fx.png"])
def test_what_is_not_there_is_not_handed_out(store, path):
    answer = client_of(store).get("/running/" + path.replace("{live}", running.suites(store)[0].id))
    assert answer.status_code == 404


def test_others_see_neither_pictures_nor_log_nor_command(store):
    client, live = client_of(store, host="0.0.0.0"), running.suites(store)[0].id
    page = client.get(f"/running/{live}").text
    assert "300 of 1,200 images" in page and "line 59" not in page and ".png" not in page
    assert client.get(f"/running/{live}/{KEY}.png").status_code == 404
    failed = client.get(f"/running/failed.{platform.node()}.7").text
    assert "Failed" in failed and "the disk is full" not in failed and "bench run" not in failed


def test_the_keys_of_a_running_suite_are_known_and_forgotten(tmp_path):
    stage = Call("prepare", "f" * 64)
    with recorded(record("mine"), tmp_path, Silent()) as recorder:
        recorder.planned([stage], {stage.key})
        assert keys_in_use(tmp_path) == {*stage.key[:16].split()}
    assert keys_in_use(tmp_path) == set()
    with recorded(record("mine"), tmp_path, Silent()):
        assert not list(tmp_path.glob("runs/*.keys"))


def test_a_detector_whose_weights_are_elsewhere_is_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "made"
    folder.mkdir()
    finished_run(folder)
    remote = Store(folder / "runs", f"memory://{uuid.uuid4().hex}")
    for path, _ in remote.manifests():
        remote.copy.push(path.name, path, {})
    index = RunIndex(folder / "reports", Path(remote.remote))
    assert index.stored == Path("runs") and not index.stored.exists()
    choice = index.choose("mine dct@dcgan")
    assert choice.ready and not choice.path.exists()
