"""Tasks that run elsewhere: logs that are followed, results that travel, machines that cannot take part."""

import io
import os
import pickle
import socket
import sys
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path

import fake_stages
import pytest
from fake_stages import NoDevice

from benchmarks.terminal import Silent
from benchmarks.workflow import drive
from benchmarks.workflow.engines.base import Finished, Noted, Progressed, Started, Task
from benchmarks.workflow.engines.event_log import SUFFIX, EventReader, EventWriter
from benchmarks.workflow.engines.listener import Listener
from benchmarks.workflow.engines.plugin_code import import_plugins, plugin_code
from benchmarks.workflow.engines.remote_worker import Answer, work
from benchmarks.workflow.engines.site import HERE, OLD_SECONDS, opened, pickled
from benchmarks.workflow.engines.travel import pack, unpack
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.errors import CorruptError, InputError
from forge.core.progress import ProgressEvent, silent
from forge.core.registry import allow_files, load_from_file

STAGE, WARNING = fake_stages.Training(title="a"), fake_stages.Training(title="a", act="warns")


@pytest.fixture
def stored(tmp_path):
    """A store with the result of STAGE, and its folder."""
    store = Store(tmp_path / "theirs")
    executed = drive.execute([STAGE], store, Context(None, NoDevice("cpu", threads=1), 1, silent), Silent())
    return store, executed.report


def test_a_log_is_followed_line_by_line(tmp_path):
    log, reader = EventWriter(tmp_path / f"1{SUFFIX}"), EventReader(tmp_path)
    events = [Started("key", "node"), Noted("damaged"), Progressed("key", ProgressEvent(1, 1, "steps", {"loss": 0.5}))]
    for event in events:
        log(event)
    log(Finished("key", tmp_path, False, 1.0))  # travels with the answer
    assert reader.poll() == [("1", event) for event in events]
    assert reader.poll() == []
    with (tmp_path / f"1{SUFFIX}").open("a") as file:
        file.write('{"key": "key", "done": "many", "total": 3}\nnot JSON\n{"note": "half')
    assert reader.poll() == []
    with (tmp_path / f"1{SUFFIX}").open("a") as file:
        file.write(' and half"}\n')
    assert reader.poll() == [("1", Noted("half and half"))]


def test_progress_is_written_a_few_times_a_second(tmp_path):
    log = EventWriter(tmp_path / f"1{SUFFIX}")
    for step in range(1, 1001):
        log(Progressed("key", ProgressEvent(step, 1000)))
    events = [event.event.done for _, event in EventReader(tmp_path).poll()]
    assert events[0] == 1 and events[-1] == 1000 and len(events) < 100


def test_a_log_that_cannot_be_written_ends_no_stage(tmp_path):
    EventWriter(tmp_path / "gone" / f"1{SUFFIX}")(Noted("unheard"))
    assert EventReader(tmp_path).poll() == []


def test_a_note_is_told_once_also_where_its_line_was_lost(tmp_path):
    store = Store(tmp_path)
    with opened(store, "test") as site:
        listener, told = Listener(store, site), []
        listener.expect("1", Task((STAGE,), {}, 1))
        EventWriter(site.folder / f"1{SUFFIX}")(Noted("first"))
        listener.follow(told.append)
        end = Finished(STAGE.key, Path("elsewhere"), False, 1.0)
        listener.answered("1", Answer((end,), (Noted("first"), Noted("second"))), told.append)
        assert not [*site.folder.glob(f"*{SUFFIX}")]
    assert told == [Noted("first"), Noted("second"), replace(end, folder=store.folder(STAGE.action, STAGE.key))]


def test_a_result_travels_whole(tmp_path, stored):
    store = Store(tmp_path / "ours")
    folder = unpack(pack(stored[1]), STAGE, store)
    assert folder == store.find(STAGE.action, STAGE.key)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in stored[1].iterdir()
    }
    assert unpack(b"", STAGE, store) == folder  # it is there: nothing is read


def outside(package):
    """Return a package with one more file, which lies outside of the folder."""
    buffer = io.BytesIO(package)
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        archive.addfile(tarfile.TarInfo("../../evil"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [lambda package: package[:700], outside, lambda package: package.replace(b"a()", b"b()"), lambda package: b""],
)
def test_a_package_that_was_damaged_is_refused(tmp_path, stored, damage):
    store = Store(tmp_path / "ours")
    with pytest.raises(CorruptError, match="the result of fake-train a arrived damaged"):
        unpack(damage(pack(stored[1])), STAGE, store)
    assert store.find(STAGE.action, STAGE.key) is None
    assert not [*tmp_path.rglob("evil")]


def test_a_machine_that_cannot_take_part_says_why(tmp_path):
    with opened(Store(tmp_path / "store"), "test") as site:
        assert site.unfit() is None
        assert "another version of this program" in replace(site, program="other").unfit()
        far = replace(site, folder=tmp_path / "unmounted")
        assert "does not see the store" in far.unfit() and "--ship-below" in far.unfit()
        assert replace(far, ship_bytes=1).unfit() is None


@pytest.fixture
def plugin(tmp_path):
    """A plug-in with a file beside it, allowed in this process; both are written anew by a test."""
    file = tmp_path / "there" / "mine.py"
    file.parent.mkdir()
    file.write_text("import beside_mine\n\n\nclass Mine:\n    value = beside_mine.VALUE\n")
    (file.parent / "beside_mine.py").write_text("VALUE = 1\n")
    allow_files([f"{file}:Mine"], anew=True)
    yield file
    allow_files((), anew=True)


def test_a_plugin_is_used_where_it_lies_as_on_the_driver_and_copied_elsewhere(tmp_path, plugin):
    load_from_file("source", f"{plugin}:Mine")
    code = pickle.loads(pickle.dumps(plugin_code()))
    locations = []
    for run, number in (("first", 1), ("second", 2), ("second", 3)):
        (plugin.parent / "beside_mine.py").write_text(f"VALUE = {number}\n")  # the first is as it was
        import_plugins(code, tmp_path / run, tmp_path)
        mine = load_from_file("source", f"{plugin}:Mine")
        assert mine.value == 1
        locations.append(Path(sys.modules[mine.__module__].__file__))
    copies = [*tmp_path.glob("bench-second-*/0/mine.py")]
    assert locations == [plugin, copies[0], copies[0]]
    assert copies[0].parent.parent.stat().st_mode & 0o077 == 0


def test_a_plugin_that_is_not_python_does_not_travel(plugin):
    plugin.write_text("class (")
    with pytest.raises(InputError, match=r"the code of '.*cannot be read"):
        plugin_code()


def test_a_source_that_cannot_travel_is_refused():
    with pytest.raises(InputError, match=r"cannot be sent to other machines .*; use --engine local --jobs 1"):
        pickled(Context(lambda: None, NoDevice("cpu", threads=1), 1, silent))


def test_a_warning_of_a_worker_becomes_a_note(tmp_path):
    task = Task((WARNING,), {}, 1)
    with opened(Store(tmp_path), "test") as site:
        shown = warnings.showwarning
        answer = work("1", task, site, pickled(Context(None, NoDevice("cpu", threads=1), 1, silent)), {})
        assert warnings.showwarning is shown
        assert Noted("note: few faces") in answer.notes and isinstance(answer.ends[0], Finished)
        events = [event for _, event in EventReader(site.folder).poll()]
        assert events == [Started(WARNING.key, socket.gethostname()), Noted("note: few faces")]


def test_the_folder_of_a_killed_driver_is_removed_after_a_month(tmp_path):
    folders = [tmp_path / "engines" / name for name in ("old", "young")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / HERE).touch()
    month = (folders[0] / HERE).stat().st_mtime - OLD_SECONDS - 1
    os.utime(folders[0] / HERE, (month, month))
    with opened(Store(tmp_path), "test") as site:
        assert {*(tmp_path / "engines").iterdir()} == {folders[1], site.folder}
        assert site.folder.stat().st_mode & 0o077 == 0
    assert [*(tmp_path / "engines").iterdir()] == [folders[1]]
