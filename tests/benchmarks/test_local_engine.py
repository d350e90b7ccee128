"""The pool of worker processes: results, deaths, interrupts, devices, plug-ins."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import fake_stages
import pytest
from fake_stages import NoDevice

from benchmarks.terminal import Silent
from benchmarks.workflow import drive
from benchmarks.workflow.engines import ENGINES, local
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store, read_manifest
from forge.core.errors import BenchError, InputError
from forge.core.progress import silent

CONTEXT = Context(None, NoDevice("cpu", threads=1), 1, silent)


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """Import in the server of forks what fake stages need, no more."""
    monkeypatch.setattr(local, "_PRELOADED", ["benchmarks.workflow.engines.worker", "fake_stages"])


class Notes(Silent):
    def __init__(self):
        self.lines = []

    def noted(self, text):
        self.lines.append(text)


def run(stages, folder, *, context=CONTEXT, observer=None, estimates=None, **options):
    store = Store(folder)
    engine = ENGINES.load("local")(store, context, EngineOptions(**{"jobs": 2, "threads": 1} | options))
    return drive.execute(stages, store, context, observer or Silent(), engine, estimates=estimates)


def facts(executed, stage):
    return read_manifest(executed.folders[stage.key]).facts


def test_a_pool_gives_what_one_process_gives(tmp_path):
    stages = fake_stages.grid()
    pooled = run(stages, tmp_path / "pool", threads=1, estimates={stage.key: Estimate(0.01) for stage in stages[2:]})
    serial = drive.execute(stages, Store(tmp_path / "serial"), CONTEXT, Silent())
    for stage in stages:
        texts = [(each.folders[stage.key] / "text").read_text() for each in (pooled, serial)]
        assert texts[0] == texts[1]
    pids = {facts(pooled, stage)["pid"] for stage in stages}
    assert os.getpid() not in pids and len(pids) == 2
    assert facts(pooled, stages[0])["threads"] == "1"
    assert read_manifest(pooled.folders[stages[0].key]).environment["threads"] == "1"


def test_a_stage_whose_worker_is_killed_continues_from_its_checkpoint(tmp_path):
    stages, notes = fake_stages.grid(("killed once", "")), Notes()
    executed = run(stages, tmp_path, observer=notes)
    assert facts(executed, stages[0])["resumed"] and not executed.failures
    assert notes.lines == [
        "the worker of fake-train a was killed, most likely because memory ran out; it is tried again (2 of 3)"
    ]


def test_a_stage_whose_workers_always_die_is_left_out_with_a_sentence(tmp_path):
    executed = run(fake_stages.grid(("killed", ""), scores=1), tmp_path)
    assert [*map(str, executed.failures.values())] == [
        "fake-train a failed: its worker was killed, most likely because memory ran out, the last of 3 attempts; ask "
        "for fewer --jobs; what was finished before is kept, the same command continues"
    ]
    assert (executed.report / "text").read_text() == "sum fake-train a(b(),b0(b()))"


@pytest.mark.parametrize(
    ("act", "error", "words"), [("full", BenchError, "the disk is full"), ("refused", InputError, "too few images")]
)
def test_what_stops_one_process_stops_the_pool(tmp_path, act, error, words):
    with pytest.raises(error, match=words):
        run(fake_stages.grid((act, "counted")), tmp_path)
    count = Store(tmp_path).work(fake_stages.grid((act, "counted"))[1].key) / "count"
    assert not count.exists() or 0 < int(count.read_text()) < fake_stages.STEPS  # interrupted, not awaited


SCRIPT = """
import sys
from pathlib import Path
import fake_stages, test_local_engine
from benchmarks.workflow.engines import local
local._PRELOADED = ["benchmarks.workflow.engines.worker", "fake_stages"]
try:
    test_local_engine.run(fake_stages.grid(tuple(sys.argv[2:]), scores=1), Path(sys.argv[1]))
except KeyboardInterrupt:
    sys.exit(130)
"""


class Drivers:
    """Starts drivers in a process group of their own, and knows their processes by an environment variable."""

    def __init__(self, folder):
        self.folder, self.mark = folder, f"BENCH_TEST={folder}"

    def start(self, *acts):
        """Return a driver once both trainings have begun."""
        paths = os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)])
        environment = os.environ | {"PYTHONPATH": paths, "BENCH_TEST": str(self.folder)}
        command = [sys.executable, "-c", SCRIPT, str(self.folder), *acts]
        driver = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
        works = [Store(self.folder).work(stage.key) for stage in fake_stages.grid(acts)[:2]]
        while not all((work / "begun").exists() for work in works):
            assert driver.poll() is None, driver.stderr.read()
            time.sleep(0.02)
        return driver, [work / "count" for work in works]

    def left(self, seconds):
        """Return how many processes are left after these seconds, at the latest."""
        deadline = time.monotonic() + seconds
        while (count := self._count()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return count

    def _count(self):
        count = 0
        for file in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # it has ended meanwhile, or is not ours
                count += self.mark.encode() in file.read_bytes().split(b"\0")
        return count


@pytest.fixture
def drivers(tmp_path):
    if sys.platform != "linux":
        pytest.skip("looks for processes in /proc")
    return Drivers(tmp_path)


def test_ctrl_c_saves_every_training_and_leaves_no_process(drivers, tmp_path):
    driver, counts = drivers.start("counted", "counted")
    time.sleep(0.2)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    assert driver.wait(10) == 130 and drivers.left(10) == 0
    saved = [int(count.read_text()) for count in counts]
    assert all(0 < count < fake_stages.STEPS for count in saved)
    stages = fake_stages.grid(("counted", "counted"), scores=1)
    executed = run(stages, tmp_path)
    assert [facts(executed, stage)["begin"] for stage in stages[:2]] == saved


def test_a_second_ctrl_c_stops_at_once(drivers):
    driver, _ = drivers.start("stuck", "stuck")
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(0.3)
    assert driver.poll() is None
    os.killpg(driver.pid, signal.SIGINT)
    begin = time.monotonic()
    driver.wait(10)
    assert drivers.left(5) == 0 and time.monotonic() - begin < local.GRACE_SECONDS


def test_no_worker_outlives_a_driver_that_is_killed(drivers, tmp_path):
    driver, counts = drivers.start("counted", "counted")
    time.sleep(0.2)
    driver.kill()
    assert drivers.left(10) == 0
    assert all(int(count.read_text()) > 0 for count in counts)  # saved although nobody was left to tell
