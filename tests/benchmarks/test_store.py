"""The store: whole results or none, one worker a key, damage found and set aside."""

import json
import multiprocessing
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.workflow import drive
from benchmarks.workflow.stage import Context, Stage
from benchmarks.workflow.store import DamagedError, Store, write_manifest
from forge.core.compute import Compute
from forge.core.errors import BenchError, InputError
from forge.core.progress import silent

FIELDS = {
    "stage": "train x", "version": 1, "key": "k", "settings": {}, "inputs": {}, "seed": 0,
    "environment": {}, "seconds": 0.1, "peak_memory_mb": None,
}  # fmt: skip


def publish(store: Store, key: str = "k") -> Path:
    with store.publish("train", key) as out:
        (out / "weights").write_bytes(b"1234")
        (out / "deep").mkdir()
        (out / "deep" / "log").write_text("x")
        write_manifest(out, **FIELDS)
    return store.folder("train", key)


def test_a_published_result_is_found(tmp_path):
    store = Store(tmp_path)
    assert store.find("train", "k") is None
    folder = publish(store)
    assert store.find("train", "k") == folder
    assert [manifest.stage for _, manifest in store.manifests()] == ["train x"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda p: (p / "weights").write_bytes(b"12345"), "weights has 5 bytes, not 4"),
        (lambda p: (p / "weights").write_bytes(b"1235"), "weights was changed"),
        (lambda p: (p / "deep" / "log").unlink(), "deep/log is missing"),
        (lambda p: (p / "manifest.json").write_text("{"), "manifest.json is missing or unreadable"),
        (lambda p: (p / "manifest.json").unlink(), "manifest.json is missing or unreadable"),
        (
            lambda p: (p / "manifest.json").write_text(
                (p / "manifest.json").read_text().replace('"seed": ', '"seed": 1')
            ),
            "manifest.json is missing or unreadable",
        ),
    ],
)
def test_damage_is_found(tmp_path, damage, problem):
    store = Store(tmp_path)
    damage(publish(store))
    with pytest.raises(DamagedError, match=problem):
        store.find("train", "k")


def test_a_failed_publish_leaves_nothing_but_the_checkpoints(tmp_path):
    store = Store(tmp_path)
    store.work("k").mkdir(parents=True)
    with pytest.raises(ValueError, match="half way"), store.publish("train", "k") as out:
        (out / "weights").write_bytes(b"12")
        raise ValueError("half way")
    assert store.find("train", "k") is None
    assert list((tmp_path / "results").iterdir()) == []
    assert store.work("k").is_dir()
    publish(store)
    assert not store.work("k").exists()


def test_what_a_killed_process_left_is_ignored(tmp_path):
    store = Store(tmp_path)
    half = tmp_path / "results" / ".train-k.abcd1234.partial"
    half.mkdir(parents=True)
    (half / "weights").write_bytes(b"12")
    assert store.find("train", "k") is None
    assert publish(store).is_dir()


def hold(root: Path, marker: Path) -> None:
    with Store(root).claim("k", waiting=lambda: None):
        marker.touch()
        time.sleep(60)


def test_a_second_process_waits_and_a_killed_one_lets_go(tmp_path):
    marker, waited = tmp_path / "held", []
    other = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, marker))
    other.start()
    while not marker.exists():
        time.sleep(0.01)

    def waiting() -> None:
        waited.append(True)
        other.kill()

    with Store(tmp_path).claim("k", waiting=waiting):
        assert waited == [True]
    other.join()


class Watch:
    def __init__(self) -> None:
        self.events, self.notes = [], []

    def planned(self, stages, todo):
        pass

    def started(self, stage, worker=""):
        self.events.append(f"start {stage.name}")

    def progressed(self, stage, event):
        pass

    def finished(self, stage, *, cached, seconds):
        self.events.append(f"{'cached' if cached else 'ran'} {stage.name}")

    def ended(self, stage):
        self.events.append(f"end {stage.name}")

    def noted(self, text):
        self.notes.append(text)


@dataclass(frozen=True, eq=False, kw_only=True)
class Letter(Stage):
    """Appends its letter to the text of its input."""

    letter: str
    before: Stage | None = None

    label = property(lambda self: self.letter)
    settings = property(lambda self: {})

    def run(self, job):
        before = "".join((path / "text").read_text() for path in job.folders.values())
        (job.out / "text").write_text(before + self.letter)
        return {"length": len(before) + 1}


class First(Letter):
    action, VERSION = "first", 1


class Second(Letter):
    action, VERSION, optional = "second", 1, True


class Third(Letter):
    action, VERSION = "third", 1


@pytest.fixture
def chain():
    """Three stages a -> b -> c."""
    a = First(letter="a")
    b = Second(letter="b", before=a)
    return [a, b, Third(letter="c", before=b)]


def run(stages, store):
    watch = Watch()
    folders = drive.execute(stages, store, Context(None, Compute(), 1, silent), watch).folders
    return folders, watch


def test_a_second_run_finds_everything(tmp_path, chain):
    store = Store(tmp_path)
    folders, watch = run(chain, store)
    assert (folders[chain[-1].key] / "text").read_text() == "abc"
    assert watch.events == [
        "start first a",
        "ran first a",
        "start second b",
        "ran second b",
        "start third c",
        "ran third c",
    ]
    _, again = run(chain, store)
    assert again.events == ["cached first a", "cached second b", "cached third c"]
    manifest = json.loads((folders[chain[1].key] / "manifest.json").read_text())
    assert manifest["inputs"] == {"before": chain[0].key} and manifest["facts"] == {"length": 2}


def test_only_what_is_needed_runs(tmp_path, chain):
    import shutil

    store = Store(tmp_path)
    run(chain, store)
    shutil.rmtree(store.folder("first", chain[0].key))
    assert drive.status(chain, store)[chain[0].key] == "skip: nothing needs it"
    _, watch = run(chain, store)
    assert watch.events == ["cached second b", "cached third c"]
    shutil.rmtree(store.folder("third", chain[2].key))
    _, watch = run(chain, store)
    assert watch.events == ["cached second b", "start third c", "ran third c"]


def test_a_damaged_result_is_set_aside_and_made_again(tmp_path, chain):
    store = Store(tmp_path)
    run(chain, store)
    folder = store.folder("second", chain[1].key)
    (folder / "text").write_text("xx")
    assert drive.status(chain, store)[chain[1].key] == "run: damaged (text was changed)"
    folders, watch = run(chain, store)
    assert (folders[chain[1].key] / "text").read_text() == "ab"
    assert "damaged (text was changed); kept as second-" in watch.notes[0]
    assert folder.with_name(f"{folder.name}.damaged-1").is_dir()


def test_a_failing_stage_keeps_what_was_finished_and_says_where_to_look(tmp_path, chain, monkeypatch):
    def fail(stage, job):
        raise ZeroDivisionError("no luck")

    store = Store(tmp_path)
    monkeypatch.setattr(Second, "run", fail)
    with pytest.raises(BenchError, match=r"second b failed: ZeroDivisionError: no luck; the details are in .*error"):
        run(chain, store)
    assert "ZeroDivisionError" in (store.work(chain[1].key) / "error.txt").read_text()
    assert store.find("first", chain[0].key) and not store.find("second", chain[1].key)


def test_a_full_disk_is_one_sentence(tmp_path, chain, monkeypatch):
    import errno

    def fill(stage, job):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    monkeypatch.setattr(Second, "run", fill)
    with pytest.raises(BenchError, match="the disk is full at somewhere; free some space and run the same command"):
        run(chain, Store(tmp_path))


def test_bad_input_inside_a_stage_keeps_its_exit_code(tmp_path, chain, monkeypatch):
    def refuse(stage, job):
        raise InputError("too few images")

    monkeypatch.setattr(First, "run", refuse)
    with pytest.raises(InputError) as caught, suppress(SystemExit):
        run(chain, Store(tmp_path))
    assert caught.value.exit_code == 2


def test_two_results_that_were_swapped_are_found_and_made_again(tmp_path, chain):
    store = Store(tmp_path)
    run(chain, store)
    other = Second(seed=1, letter="x", before=chain[0])
    run([chain[0], other, Third(letter="c", before=other)], store)
    folders = [store.folder("second", stage.key) for stage in (chain[1], other)]
    folders[0].rename(tmp_path / "aside")
    folders[1].rename(folders[0])
    (tmp_path / "aside").rename(folders[1])
    assert list(store.manifests()) == [pair for pair in store.manifests() if pair[0] not in folders]
    for stage in (chain[1], other):
        with pytest.raises(DamagedError, match="it is the result of another stage, second"):
            store.find("second", stage.key)
    built, watch = run(chain, store)
    assert (built[chain[1].key] / "text").read_text() == "ab"
    assert "damaged (it is the result of another stage, second x)" in watch.notes[0]


def test_a_result_in_the_folder_of_another_kind_is_damaged(tmp_path):
    store = Store(tmp_path)
    publish(store).rename(store.folder("fit", "k"))
    with pytest.raises(DamagedError, match="it is the result of another stage, train x"):
        store.find("fit", "k")


def test_what_is_damaged_and_kept_is_no_result(tmp_path):
    store = Store(tmp_path)
    store.set_aside(publish(store))
    assert list(store.manifests()) == []


def test_unfinished_results_of_dead_processes_are_removed_and_of_living_ones_kept(tmp_path):
    store = Store(tmp_path)
    folder = publish(store)
    halves = [tmp_path / "results" / f".{name}.abcd1234.partial" for name in ("train-k", "fit-other", "fit-busy")]
    for half in halves:
        (half / "deep").mkdir(parents=True)
        (half / "deep" / "weights").write_bytes(b"12")
    unknown = tmp_path / "results" / ".cache"
    unknown.mkdir()
    with store.claim("busy", waiting=lambda: None):
        store.tidy()
    assert [half.exists() for half in halves] == [False, False, True]
    store.tidy()
    assert not halves[2].exists() and unknown.is_dir() and store.find("train", "k") == folder
