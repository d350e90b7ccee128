"""Claims: one holder at a time, whatever locks do, whoever dies, whatever the clocks say."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from benchmarks.workflow import claims
from benchmarks.workflow.claims import STALE_SECONDS, Claims, Holder
from benchmarks.workflow.store import Store

ELSEWHERE = Holder(host="elsewhere", boot="another", namespace="1", pid=os.getpid(), started="1")


def nothing():
    pass


@pytest.fixture(autouse=True)
def quiet_heart():
    """Let no claim of an earlier test beat."""
    claims.HEART.reset()


class Clock:
    """A clock that is off by any amount; sleeping moves it on."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_a_claim_is_held_once_and_given_back(tmp_path):
    first, second = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    with first.hold("k", waiting=nothing) as claim:
        assert second.take("k") is None and not claim.lost
        assert list(second.leases()) == ["k"] and second.leases()["k"].holder == Holder.current()
        with second.hold("other", waiting=nothing):
            assert list(first.leases()) == ["k", "other"]
    assert claim.lost and list((tmp_path / "claims").iterdir()) == []
    second.take("k").release()


def test_threads_take_turns(tmp_path):
    counter = {"value": 0, "inside": 0, "crowd": 0}

    def count():
        held = Claims(tmp_path, sleep=lambda seconds: time.sleep(0.001))
        for _ in range(20):
            with held.hold("k", waiting=nothing):
                counter["inside"] += 1
                counter["crowd"] = max(counter["crowd"], counter["inside"])
                value = counter["value"]
                time.sleep(0)  # another thread may run here
                counter["value"] = value + 1
                counter["inside"] -= 1

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter == {"value": 120, "inside": 0, "crowd": 1}


def test_a_lock_that_always_succeeds_gives_no_second_holder(tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)
    monkeypatch.setattr(fcntl, "lockf", lambda *arguments: None)
    with Store(tmp_path).claim("k", waiting=nothing):
        assert Store(tmp_path).claims.take("k") is None


def forge_lease(folder, holder, key="k"):
    """Take a lease in the name of another process."""
    claim = Claims(folder, holder=lambda: holder).take(key)
    claims.HEART.forget(claim)  # whether it beats is the test's to say
    return claim


def test_a_killed_process_lets_go_at_once_also_as_a_zombie(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = claims._state(child.pid)[1]
    forge_lease(tmp_path, replace(Holder.current(), pid=child.pid, started=started))
    assert Claims(tmp_path).take("k") is None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    assert claims._state(child.pid)[0] == "Z"
    Claims(tmp_path).take("k").release()
    child.wait()
    assert Holder.current().alive is True


def test_a_later_process_of_the_same_number_is_not_taken_for_the_holder(tmp_path):
    forge_lease(tmp_path, replace(Holder.current(), started="1"))
    assert Claims(tmp_path).take("k") is not None


@pytest.mark.parametrize("offset", [-1e9, 0.0, 1e9])
def test_a_silent_holder_elsewhere_is_given_up_by_the_observers_clock_alone(tmp_path, offset):
    claim = forge_lease(tmp_path, ELSEWHERE)
    os.utime(claim.file, (offset + 2e9, offset + 2e9))  # dates of files play no part
    clock, waited = Clock(offset), []
    observer = Claims(tmp_path, clock=clock, sleep=clock.sleep)
    assert observer.take("k") is None
    with observer.hold("k", waiting=lambda: waited.append(True)):
        assert waited == [True] and claim.lost
        assert STALE_SECONDS <= clock.now - offset < STALE_SECONDS + 2
    claim.beat()
    assert claim.lost  # a late heartbeat brings nothing back


def test_a_holder_elsewhere_that_beats_is_waited_for_and_pauses_of_the_observer_do_not_count(tmp_path):
    claim, clock = forge_lease(tmp_path, ELSEWHERE), Clock()
    beats = []

    def sleep(seconds):
        clock.now += 10 * STALE_SECONDS if len(beats) == 5 else seconds  # the observer is stopped for a while
        beats.append(clock.now)
        if len(beats) % 200 == 0:  # each 40 seconds
            claim.beat()
        if len(beats) == 2000:
            claim.release()

    with Claims(tmp_path, clock=clock, sleep=sleep).hold("k", waiting=nothing):
        assert len(beats) == 2000


def test_a_holder_on_this_machine_that_is_stopped_is_waited_for(tmp_path):
    clock, claim = Clock(), Claims(tmp_path).take("k")
    claims.HEART.forget(claim)

    def sleep(seconds):
        clock.now += seconds
        if clock.now > 3 * STALE_SECONDS:
            claim.release()

    Claims(tmp_path, clock=clock, sleep=sleep).hold("k", waiting=nothing).__enter__().release()
    assert clock.now > 3 * STALE_SECONDS


def test_a_rename_whose_answer_was_lost_is_a_claim(tmp_path, monkeypatch):
    rename = Path.rename

    def lose(path, target):
        rename(path, target)
        raise FileNotFoundError(2, "No such file or directory")  # of the second attempt of an NFS client

    monkeypatch.setattr(Path, "rename", lose)
    with Claims(tmp_path).hold("k", waiting=nothing) as claim:
        assert not claim.lost


def test_what_is_no_lease_is_waited_for_as_a_silent_holder(tmp_path):
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "token").write_text("not of this version")
    clock = Clock()
    assert Claims(tmp_path).take("k") is None
    Claims(tmp_path, clock=clock, sleep=clock.sleep).hold("k", waiting=nothing).__enter__().release()
    assert clock.now >= STALE_SECONDS


@pytest.mark.parametrize(("flags", "state"), [(4194304, "R"), (4194304 | 0x4, "X")])
def test_a_process_that_is_just_ending_counts_as_dead(flags, state):
    fields = ["R", "1", "2", "2", "0", "-1", str(flags), *"000000000000", "777", "0"]  # from the third one on
    assert claims._parsed(f"41 (a (b) c) {' '.join(fields)}") == (state, "777")


def test_prepared_leases_of_dead_processes_are_removed(tmp_path):
    for number, holder in enumerate((replace(Holder.current(), started="1"), Holder.current(), ELSEWHERE)):
        prepared = tmp_path / f".{number}"
        prepared.mkdir()
        (prepared / "token").write_text(json.dumps(asdict(holder)) + "\n0\n")
    Claims(tmp_path).tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".1", ".2"]


def test_the_heartbeat_grows_by_itself_and_a_forked_process_does_not_keep_it_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.005)
    with Claims(tmp_path).hold("k", waiting=nothing) as claim:
        before = claim.file.read_bytes()
        while claim.file.read_bytes() == before:
            time.sleep(0.005)
        child = os.fork()
        if not child:
            os._exit(len(claims.HEART._claims))
        assert os.waitpid(child, 0)[1] == 0


class Machines(RuleBasedStateMachine):
    """Three machines with clocks of their own, whose processes take, keep, lose and give back one claim."""

    def __init__(self):
        super().__init__()
        claims.HEART.reset()
        self.folder = TemporaryDirectory()
        self.holding, self.silent = {}, {}

    @initialize(offsets=st.tuples(*[st.floats(-1e9, 1e9)] * 3))
    def start(self, offsets):
        self.machines = []
        for number, offset in enumerate(offsets):
            holder = replace(ELSEWHERE, host=f"machine {number}")
            clock = Clock(offset)
            self.machines.append(Claims(Path(self.folder.name), holder=lambda holder=holder: holder, clock=clock))

    @rule(number=st.integers(0, 2))
    def take(self, number):
        claim = self.machines[number].take("k")
        assert claim is None or not self.held()
        if claim is not None:
            claims.HEART.forget(claim)
            self.holding[number] = claim

    @rule(number=st.integers(0, 2), seconds=st.floats(0, 2 * STALE_SECONDS), beats=st.booleans())
    def watch(self, number, seconds, beats):
        """One machine waits, for some time of its clock; a holder beats meanwhile, or is silent as if dead."""
        before, clock = self.held(), Clock(self.machines[number]._clock())
        looks = []

        def sleep(pause):
            clock.now += pause
            looks.append(pause)
            if before and beats and len(looks) % 100 == 0:
                before[0].beat()
            if sum(looks) > seconds:
                raise TimeoutError

        waiting = Claims(Path(self.folder.name), holder=self.machines[number]._holder, clock=clock, sleep=sleep)
        try:
            claim = waiting.wait_for("k")
        except TimeoutError:
            return
        claims.HEART.forget(claim)
        # taken over from a living holder only after its silence
        assert not before or (not beats and sum(looks) >= STALE_SECONDS)
        self.holding[number] = claim

    @rule(number=st.integers(0, 2))
    def release(self, number):
        if number in self.holding:
            self.holding.pop(number).release()

    def held(self):
        return [claim for claim in self.holding.values() if not claim.lost]

    @invariant()
    def one_holder_at_most(self):
        assert len(self.held()) <= 1

    def teardown(self):
        for claim in self.holding.values():
            claim.release()
        self.folder.cleanup()


TestMachines = Machines.TestCase
TestMachines.settings = settings(
    max_examples=15, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)


def contend(folder, seed):
    """Hold the claim again and again; the marker inside shows whether another living process is there."""
    chance, marker = random.Random(seed), Path(folder) / "marker"
    held = Claims(Path(folder) / "claims", sleep=lambda seconds: time.sleep(0.005))
    while True:
        with held.hold("k", waiting=nothing):
            before = marker.read_text() if marker.exists() else ""
            if before and Holder(**json.loads(before)).alive:
                (Path(folder) / f"crowd-{seed}").touch()
            marker.write_text(json.dumps(asdict(Holder.current())))
            time.sleep(chance.random() * 0.02)
            marker.unlink()
            with (Path(folder) / "log").open("a") as log:
                log.write(f"{seed}\n")


@pytest.mark.slow
def test_twenty_random_kills_leave_one_holder_at_a_time(tmp_path):
    chance, spawn = random.Random(0), multiprocessing.get_context("spawn")
    workers = []
    for seed in range(24):
        workers.append(spawn.Process(target=contend, args=(str(tmp_path), seed)))
        workers[-1].start()
        if seed >= 3:
            entries = lambda: (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []  # noqa: E731
            before = len(entries())
            while len(entries()) < before + 5:  # goes on after each kill
                time.sleep(0.01)
            time.sleep(chance.random() * 0.1)
            workers.pop(chance.randrange(len(workers))).kill()
    for worker in workers:
        worker.kill()
    assert list(tmp_path.glob("crowd-*")) == []
    with Claims(tmp_path / "claims").hold("k", waiting=nothing):
        pass
