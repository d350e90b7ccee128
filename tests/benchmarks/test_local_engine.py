"""The pool of worker processes: results, deaths, interrupts, devices, plug-ins."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import SimpleNamespace

import fake_stages
import pytest
from fake_stages import CONTEXT, NoDevice, Scoring, Sum, Training, inputs, run

from benchmarks.experiment.resolve import resolve
from benchmarks.experiment.settings import RunRequest
from benchmarks.terminal import Silent
from benchmarks.workflow import drive
from benchmarks.workflow.engines import fork_server, local
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.store import Store, read_manifest
from forge.core.errors import BenchError, InputError
from forge.core.registry import allow_files, load_from_file


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """Import in the server of forks what fake stages need, no more."""
    monkeypatch.setattr(fork_server, "PRELOADED", ["benchmarks.workflow.engines.worker", "fake_stages"])


class Notes(Silent):
    def __init__(self):
        self.lines = []

    def noted(self, text):
        self.lines.append(text)


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


def test_a_server_with_other_threads_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(fork_server, "_started_with", [3])
    monkeypatch.setattr(forkserver, "ensure_running", lambda: None)
    classes = [
        local.LocalEngine(Store(tmp_path), CONTEXT, EngineOptions(jobs=2, threads=threads))._process
        for threads in (3, 1)
    ]
    assert [each is SpawnProcess for each in classes] == [sys.platform != "linux", True]


@pytest.mark.skipif(sys.platform != "linux", reason="a server of forks")
def test_a_server_of_forks_that_is_killed_is_started_again(tmp_path, monkeypatch):
    launched, killed = local.LocalEngine._launched, []

    def killing(engine, setup, device):
        """Kill the server before the first worker, and again as the next one was to be forked."""
        killed.append(forkserver._forkserver._forkserver_pid)
        if len(killed) <= 2:
            os.kill(killed[-1], signal.SIGKILL)
        if len(killed) == 2:
            raise EOFError("unexpected EOF")
        return launched(engine, setup, device)

    monkeypatch.setattr(local.LocalEngine, "_launched", killing)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # of this process; workers have what the run asks for
    stages = fake_stages.grid()
    executed = run(stages, tmp_path)
    assert len(killed) >= 3 and {facts(executed, stage)["threads"] for stage in stages} == {"1"}


@pytest.mark.skipif(sys.platform != "linux", reason="a server of forks")
def test_workers_that_cannot_be_started_end_the_run_with_a_sentence(tmp_path, monkeypatch):
    def launched(engine, setup, device):
        raise EOFError("unexpected EOF")

    monkeypatch.setattr(local.LocalEngine, "_launched", launched)
    monkeypatch.setattr(local, "_LAUNCH_PAUSE", 0)
    with pytest.raises(BenchError, match="the process that they are forked from was killed 5 times"):
        run(fake_stages.grid(), tmp_path)


def test_a_stage_whose_worker_is_killed_continues_from_its_checkpoint(tmp_path):
    stages, notes = fake_stages.grid(("killed once", "parallel")), Notes()
    executed = run(stages, tmp_path, observer=notes)
    assert facts(executed, stages[1])["read"] == [1, 2, 3]  # a worker may have workers
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
import fake_stages
from benchmarks.workflow.engines import fork_server
fork_server.PRELOADED = ["benchmarks.workflow.engines.worker", "fake_stages"]
try:
    fake_stages.run(fake_stages.grid(tuple(sys.argv[2:]), scores=1), Path(sys.argv[1]))
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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(drivers, number):
    driver, _ = drivers.start("stuck", "stuck")
    os.kill(driver.pid, number)
    time.sleep(0.3)
    assert driver.poll() is None
    os.kill(driver.pid, number)
    begin = time.monotonic()
    assert driver.wait(10) == 130
    assert drivers.left(5) == 0 and time.monotonic() - begin < local.GRACE_SECONDS


def test_no_worker_outlives_a_driver_that_is_killed(drivers, tmp_path):
    driver, counts = drivers.start("counted", "counted")
    time.sleep(0.2)
    driver.kill()
    assert drivers.left(10) == 0
    assert all(int(count.read_text()) > 0 for count in counts)  # saved although nobody was left to tell


def test_each_gpu_has_one_computing_stage_at_a_time_and_workers_see_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    context = replace(CONTEXT, compute=NoDevice("cuda", threads=1))
    stages = [Training(title=f"t{number}", act="slow") for number in range(4)]
    photos = Scoring(title="photos")
    stages += [photos, Sum(title="sum", before=inputs(*stages, photos))]
    executed = run(stages, tmp_path, context=context, devices=("cuda:0", "cuda:1"), jobs=3)
    seen = [facts(executed, stage) for stage in stages[:4]]
    assert {each["visible"] for each in seen} == {"3", "5"} and {each["device"] for each in seen} == {"cuda"}
    for visible in ("3", "5"):
        spans = sorted(each["span"] for each in seen if each["visible"] == visible)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


class Ran(Notes):
    """Counts the stages that were computed, not those that were there."""

    def __init__(self):
        super().__init__()
        self.ran = []

    def finished(self, stage, *, cached, seconds):
        if not cached:
            self.ran.append(stage.title)


def test_two_drivers_on_one_store_share_the_work(tmp_path):
    stages, observers = fake_stages.grid(("slow", "slow")), [Ran(), Ran()]
    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(lambda observer: run(stages, tmp_path, observer=observer), observers))
    assert sorted(observers[0].ran + observers[1].ran) == sorted(stage.title for stage in stages)
    assert outcomes[0] == outcomes[1] and not outcomes[0].failures


class Waiting(Ran):
    """Says when the run waits for another process, and has done all the rest."""

    def __init__(self):
        super().__init__()
        self.waits = threading.Event()

    def noted(self, text):
        super().noted(text)
        self._look()

    def finished(self, stage, *, cached, seconds):
        super().finished(stage, cached=cached, seconds=seconds)
        self._look()

    def _look(self):
        if self.lines and len(self.ran) == 4:
            self.waits.set()


def test_a_stage_of_another_process_is_waited_for_after_all_others(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, "LOOK_AGAIN_SECONDS", 0.05)
    stages, observer, store = fake_stages.grid(), Waiting(), Store(tmp_path)
    with ThreadPoolExecutor(1) as thread:
        with store.claim(stages[0].key, waiting=lambda: None):
            outcome = thread.submit(run, stages, tmp_path, observer=observer)
            assert observer.waits.wait(60) and sorted(observer.ran) == ["b", "b0", "b1", "b2"]
        assert not outcome.result(60).failures
    assert observer.lines == ["another process is working on fake-train a; waiting for it"]


PLUGIN = """
class Photos:
    def __init__(self):
        self.words = "photos of a plug-in"
"""


def test_a_source_of_a_plug_in_file_reaches_the_workers(tmp_path, request):
    request.addfinalizer(lambda: allow_files((), anew=True))
    file = tmp_path / "photos.py"
    file.write_text(PLUGIN)
    allow_files([f"{file}:Photos"], anew=True)
    source = load_from_file("source", f"{file}:Photos")()
    stages = fake_stages.grid(("source", ""), scores=1)
    executed = run(stages, tmp_path / "store", context=replace(CONTEXT, source=source))
    assert facts(executed, stages[0])["source"] == "photos of a plug-in"
    file.write_text(f"{PLUGIN}\nraise ValueError('not twice')")  # a worker that cannot import it says so
    with pytest.raises(BenchError, match=r"a worker process cannot take part in this run \(.*not twice.*--jobs 1"):
        run(stages, tmp_path / "other", context=replace(CONTEXT, source=source))


def test_a_source_that_cannot_travel_is_refused_with_the_remedy(tmp_path):
    source = SimpleNamespace(read=lambda: None)
    with pytest.raises(InputError, match=r"the source of this run cannot be sent to other processes .* use --jobs 1"):
        run(fake_stages.grid(), tmp_path, context=replace(CONTEXT, source=source))


def test_context_and_stages_of_a_real_run_are_picklable(tmp_path):
    planned = prepare_run(resolve(RunRequest(generator="dcgan", detector="dct", preset="smoke")))
    copies = pickle.loads(pickle.dumps((replace(CONTEXT, source=planned.source), planned.stages)))
    assert [stage.key for stage in copies[1]] == [stage.key for stage in planned.stages]
    assert copies[0].source.identity() == planned.source.identity()


def test_a_worker_that_is_killed_before_it_begins_is_replaced(tmp_path, monkeypatch):
    start, killed = local.LocalEngine._start, []

    def started(engine, device):
        worker = start(engine, device)
        if not killed:
            killed.append(worker.process.kill())
        return worker

    monkeypatch.setattr(local.LocalEngine, "_start", started)
    notes = Notes()
    assert not run(fake_stages.grid(scores=1), tmp_path, observer=notes).failures
    assert killed and [line for line in notes.lines if "tried again" in line], notes.lines
