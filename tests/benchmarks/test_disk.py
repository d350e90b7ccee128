"""Checks before any work: folders that can be written to, and room on the disk for the forgeries that are missing."""

from types import SimpleNamespace

import pytest
from requested import compose

from benchmarks.workflow.disk import check_places, check_room
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.store import Store
from forge.core.errors import InputError


@pytest.fixture
def planned():
    """A run whose two generators give 12 forgeries of 32 x 32 pixels each."""
    counts = {"images": {"train": 6, "val": 3, "test": 3}, "data": {"resolution": 32}}
    return prepare_run(compose(generators=("gan", "dcgan"), detectors=["dct"], preset="smoke", overrides=counts))


def free(monkeypatch, count):
    monkeypatch.setattr("benchmarks.workflow.disk.shutil.disk_usage", lambda folder: SimpleNamespace(free=count))


def check(planned, store, times=1):
    check_room([planned.settings] * times, store, lambda settings: planned)


def test_room_is_needed_for_the_forgeries_that_the_store_lacks(planned, tmp_path, monkeypatch):
    store, one_set = Store(tmp_path), 12 * 32 * 32 * 3
    free(monkeypatch, 2 * one_set)
    check(planned, store, 2)  # two runs share their sets
    free(monkeypatch, 2 * one_set - 1)
    with pytest.raises(InputError, match=r"the forged images need 0\.0 GiB and .* has room for 0\.0; ask for fewer"):
        check(planned, store)
    first = next(stage for stage in planned.stages if isinstance(stage, Forger))
    store.folder(first.action, first.key).mkdir(parents=True)
    free(monkeypatch, one_set)
    check(planned, store)


def test_a_finished_run_needs_no_room(planned, tmp_path, monkeypatch):
    store, report = Store(tmp_path), planned.stages[-1]
    store.folder(report.action, report.key).mkdir(parents=True)
    free(monkeypatch, 0)
    check(planned, store)


def test_a_place_that_is_a_file_is_refused_by_its_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--store .*file/runs is not a folder; choose another place"):
        check_places(store=tmp_path / "file" / "runs", reports=tmp_path)
