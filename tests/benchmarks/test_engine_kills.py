"""Twenty random kills of workers and drivers: the same results, no process left. Minutes: `make test-slow`."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import fake_stages
import pytest
from synthetic import TINY
from test_local_engine import SCRIPT

from benchmarks.terminal import Silent
from benchmarks.workflow import drive
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.progress import silent

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")]

KILLS = 20
ACTS = ("counted", "counted")


class Attacker:
    """Runs a command again and again, and kills one of its processes at a random moment each time.

    Args:
        command: of the driver.
        environment: of it.
        shortest: seconds before a kill, at the fewest.
        longest: seconds before it, at the highest.
    """

    def __init__(self, command, environment, shortest, longest):
        self.command, self.between = command, (shortest, longest)
        self.mark = f"BENCH_TEST={random.random()}"
        name, value = self.mark.split("=")
        self.environment = os.environ | environment | {name: value}
        self.random = random.Random(0)

    def processes(self):
        """Return the ids of all processes of the command that live."""
        ids = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    ids.append(int(folder.name))
        return sorted(ids)

    def round(self):
        """Start the driver, kill it or a process below it, wait for the end; return whether the run was complete."""
        driver = subprocess.Popen(self.command, env=self.environment, start_new_session=True)
        time.sleep(self.random.uniform(*self.between))
        if driver.poll() is None:
            others = [each for each in self.processes() if each != driver.pid]
            victim = self.random.choice([driver.pid, *others, *others])
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        code = driver.wait(600)
        deadline = time.monotonic() + 10
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not {process: _command(process) for process in self.processes()}
        return code == 0


def test_twenty_kills_of_fake_stages_change_no_result(tmp_path):
    paths = os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)])
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), *ACTS]
    attacker = Attacker(command, {"PYTHONPATH": paths}, 0.2, 4.0)
    store, stages = Store(tmp_path / "killed"), fake_stages.grid(ACTS, scores=1)
    begun = []
    for _ in range(KILLS):
        attacker.round()
        done = [store.folder(stage.action, stage.key) for stage in stages]
        begun.append(sum(folder.is_dir() for folder in done))
        if all(folder.is_dir() for folder in done):  # begin anew, with all results checked
            assert "run" not in " ".join(drive.status(stages, store).values())
            store.root.rename(tmp_path / f"complete-{len(begun)}")
    context = Context(None, fake_stages.NoDevice("cpu", threads=1), 1, silent)
    report = drive.execute(stages, Store(tmp_path / "killed"), context, Silent()).report
    expected = (report / "text").read_bytes()
    for complete in tmp_path.glob("complete-*"):
        report = Store(complete).folder(stages[-1].action, stages[-1].key)
        assert (report / "text").read_bytes() == expected


def test_twenty_kills_of_a_tiny_run_give_its_results(tmp_path):
    arguments = [
        "run", "-g", "dcgan", "-d", "dct,spectrum", *TINY, "--name", "killed", "--set", "generator.training.kimg=2"
    ]  # fmt: skip
    bench = [sys.executable, "-m", "benchmarks.cli.main", *arguments]

    def places(name):
        return ["--store", str(tmp_path / name), "--reports", str(tmp_path / f"{name}-reports")]

    subprocess.run([*bench, *places("whole"), "--jobs", "1"], check=True)
    attacker = Attacker([*bench, *places("killed"), "--jobs", "2"], {}, 2.0, 15.0)
    complete = 0
    for _ in range(KILLS):
        if attacker.round():
            complete += 1
            (tmp_path / "killed").rename(tmp_path / f"killed-{complete}")
    subprocess.run([*bench, *places("killed"), "--jobs", "2", "--overwrite"], check=True)
    for name in ("results.csv", "scores.parquet"):
        files = [tmp_path / f"{run}-reports" / "killed" / name for run in ("whole", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes()


RAY_SCRIPT = """
import sys
from pathlib import Path
import fake_stages, test_ray_engine
test_ray_engine.run(fake_stages.grid(("counted", "counted"), scores=1), Path(sys.argv[1]))
"""


def test_twenty_kills_of_workers_and_drivers_of_ray_change_no_result(tmp_path):
    paths = os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)])
    context = Context(None, fake_stages.NoDevice("cpu", threads=1), 1, silent)
    killed, drivers, texts, rounds, chance = 0, 0, set(), 0, random.Random(0)
    while killed < KILLS:
        rounds += 1
        command = [sys.executable, "-c", RAY_SCRIPT, str(tmp_path / str(rounds))]
        attacker = Attacker(command, {"PYTHONPATH": paths}, 0, 0)
        driver = subprocess.Popen(attacker.command, env=os.environ | attacker.environment, start_new_session=True)
        while driver.poll() is None:
            busy = [each for each in attacker.processes() if _command(each).startswith(b"ray::_work")]
            if busy and killed < KILLS:
                time.sleep(chance.uniform(0, 2))
                victim = chance.choice([driver.pid, *busy, *busy])
                if driver.poll() is None and (victim == driver.pid or _command(victim).startswith(b"ray::_work")):
                    os.kill(victim, signal.SIGKILL)
                    killed, drivers = killed + 1, drivers + (victim == driver.pid)
            time.sleep(0.1)
        deadline = time.monotonic() + 10
        while attacker.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert driver.returncode in (0, -signal.SIGKILL)
        assert not {process: _command(process) for process in attacker.processes()}
        # a stage that was killed three times is left out; the same command computes it
        stages = fake_stages.grid(("counted", "counted"), scores=1)
        executed = drive.execute(stages, Store(tmp_path / str(rounds)), context, Silent())
        texts.add((executed.report / "text").read_text())
        print(f"round {rounds}: {killed} kills, {drivers} of them of a driver")
    assert drivers and texts == {"sum(a(),b(),a0(a()),b0(b()))"}


def _command(process):
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""
