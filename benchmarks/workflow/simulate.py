"""A plan on a cluster that is not there: the schedule of real runs, workers that only wait as long as stages took.

A discrete-event simulation: `Schedule` decides, as in `drive.py`; nothing is run or stored. docs/scale.md gives the
assumptions and where each comes from.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.workflow.engines.base import Task
from benchmarks.workflow.schedule import Estimate, Schedule
from benchmarks.workflow.stage import Stage

_NOWHERE = Path()  # of results that are not there


@dataclass(frozen=True)
class Cluster:
    """Workers of equal speed, each with the threads that stages were timed with.

    Attributes:
        workers: how many, from 1.
        start_seconds: from the start of a worker, or its death, until it works.
        task_seconds: of the driver for each task, which it hands out one after another.
        stage_seconds: of the worker for each stage beside its own time: look-up, claim, manifest, publication.
        worker_bytes: a second that one worker reads from the store.
        store_bytes: a second that the store gives to all workers together.
        deaths: of each worker, an hour.
        checkpoint_seconds: between the checkpoints of stages that resume; other stages begin again.
    """

    workers: int
    start_seconds: float = 0.0
    task_seconds: float = 0.0
    stage_seconds: float = 0.0
    worker_bytes: float = math.inf
    store_bytes: float = math.inf
    deaths: float = 0.0
    checkpoint_seconds: float = 60.0


# What surrounds stages in a pool of this machine, as `bench speed --only scale` measured it on two cores, rounded up.
POOL = Cluster(1, start_seconds=5.0, task_seconds=0.002, stage_seconds=0.05)
_SIZES = (2, 5, 10, 20, 50, 100)  # jobs that are tried
_MANY = 10_000  # stages, beyond which a simulation takes a second and only the last size is tried


@dataclass(frozen=True)
class Simulated:
    """A simulated run.

    Attributes:
        workers: of the cluster.
        makespan: seconds from the first task to the last result.
        work: seconds of all stages, one after another.
        critical: seconds of the longest chain of stages, each of which needs the one before.
        driver: seconds in which the driver handed out tasks.
        reading: seconds in which workers waited for their inputs, all together.
        deaths: of workers in the middle of a task.
    """

    workers: int
    makespan: float
    work: float
    critical: float
    driver: float
    reading: float
    deaths: int

    @property
    def utilisation(self) -> float:
        """Return the share of the workers' time in which stages ran that count, in 0..1."""
        return self.work / (self.workers * self.makespan) if self.makespan else 1.0

    @property
    def bound(self) -> float:
        """Return the seconds that no list schedule exceeds where nothing but stages takes time.

        Graham 1969, "Bounds on multiprocessing timing anomalies": work / m + (1 - 1 / m) critical path.
        """
        return self.work / self.workers + (1 - 1 / self.workers) * self.critical


def simulate(
    stages: Sequence[Stage],
    seconds: Mapping[str, float],
    cluster: Cluster,
    *,
    cached: Collection[str] = (),
    reads: Mapping[str, float] | None = None,
    resuming: Collection[str] = (),
    seed: int = 0,
) -> Simulated:
    """Simulate a run.

    Args:
        stages: of a plan, each after what it needs.
        seconds: key -> duration of every stage that is not cached.
        cluster: what runs it.
        cached: keys of results that are there.
        reads: key -> bytes that a stage reads of its inputs; what is missing takes no time.
        resuming: actions whose stages continue from checkpoints.
        seed: of the deaths.
    """
    return _Simulation(stages, seconds, cluster, cached, reads or {}, resuming, seed).run()


def with_more_jobs(
    stages: Sequence[Stage], todo: Collection[str], seconds: Mapping[str, float], jobs: int
) -> list[Simulated]:
    """Simulate a run with a number of jobs, and with more of them for as long as these save a tenth of its time.

    Args:
        stages: of a plan, each after what it needs.
        todo: keys of those that are to run.
        seconds: key -> duration; stages without one take no time.
        jobs: stages at a time.
    """
    lengths = {key: seconds.get(key, 0.0) for key in todo}
    there = {stage.key for stage in stages} - lengths.keys()
    runs: list[Simulated] = []
    for workers in (jobs, *(size for size in (_SIZES if len(lengths) <= _MANY else _SIZES[-1:]) if size > jobs)):
        run = simulate(stages, lengths, replace(POOL, workers=workers), cached=there)
        if runs and run.makespan > 0.9 * runs[-1].makespan:
            break
        runs.append(run)
    return runs


def critical_path(stages: Sequence[Stage], seconds: Mapping[str, float]) -> float:
    """Return the seconds of the longest chain of stages; those without a duration take none.

    Args:
        stages: each after what it needs.
        seconds: key -> duration.
    """
    ends: dict[str, float] = {}
    for stage in stages:
        begin = max((ends[before.key] for before in stage.inputs.values()), default=0.0)
        ends[stage.key] = begin + seconds.get(stage.key, 0.0)
    return max(ends.values(), default=0.0)


@dataclass
class _Journey:
    """A task on a worker.

    Attributes:
        task: its stages.
        death: when the worker dies, if the task lasts so long.
        number: of the stage that is under way.
    """

    task: Task
    death: float
    number: int = 0

    @property
    def stage(self) -> Stage:
        """Return the stage that is under way."""
        return self.task.stages[self.number]


class _Simulation:
    def __init__(
        self,
        stages: Sequence[Stage],
        seconds: Mapping[str, float],
        cluster: Cluster,
        cached: Collection[str],
        reads: Mapping[str, float],
        resuming: Collection[str],
        seed: int,
    ) -> None:
        there = set(cached)
        self._todo = {stage.key: seconds[stage.key] for stage in stages if stage.key not in there}
        self._stages, self._cluster, self._reads, self._resuming = stages, cluster, reads, resuming
        self._random = random.Random(seed)
        self._left = dict(self._todo)  # seconds of each stage beyond its last checkpoint
        state = {stage.key: "cached" if stage.key in there else "run" for stage in stages}
        estimates = {key: Estimate(length) for key, length in self._todo.items()}
        self._schedule = Schedule(stages, state, dict.fromkeys(there, _NOWHERE), threads=1, estimates=estimates)
        self._idle = [cluster.start_seconds] * cluster.workers  # when each idle worker can begin
        self._events: list[tuple[float, int, Callable[[float, _Journey], None], _Journey]] = []
        self._order = 0
        self._driver_free = self._store_free = self._driving = self._reading = 0.0
        self._deaths = 0

    def run(self) -> Simulated:
        """Return what the run took."""
        now = 0.0
        self._hand_out(now)
        while self._events:
            now, _, happen, journey = heapq.heappop(self._events)
            happen(now, journey)
            self._hand_out(now)
        work, critical = math.fsum(self._todo.values()), critical_path(self._stages, self._todo)
        return Simulated(self._cluster.workers, now, work, critical, self._driving, self._reading, self._deaths)

    def _at(self, moment: float, happen: Callable[[float, _Journey], None], journey: _Journey) -> None:
        self._order += 1  # events of one moment happen in the order in which they were foreseen
        heapq.heappush(self._events, (moment, self._order, happen, journey))

    def _hand_out(self, now: float) -> None:
        """Give ready tasks to idle workers, one after another."""
        for task in self._schedule.take(len(self._idle)) if self._idle else ():
            self._driver_free = max(self._driver_free, now) + self._cluster.task_seconds
            self._driving += self._cluster.task_seconds
            begin = max(self._driver_free, heapq.heappop(self._idle))
            lives = self._random.expovariate(self._cluster.deaths / 3600) if self._cluster.deaths else math.inf
            self._at(begin, self._begin, _Journey(task, begin + lives))

    def _begin(self, now: float, journey: _Journey) -> None:
        stage = journey.stage
        begin = self._read(stage, now) + self._cluster.stage_seconds
        end = begin + self._left[stage.key]
        if end <= journey.death:
            self._at(end, self._end, journey)
            return
        if stage.action in self._resuming:  # what it had done at its last checkpoint is kept
            every = self._cluster.checkpoint_seconds
            self._left[stage.key] -= max(0.0, (journey.death - begin) // every * every)
        self._at(journey.death, self._die, journey)

    def _read(self, stage: Stage, now: float) -> float:
        """Return when a worker has the inputs of a stage; what all read goes through the store one after another."""
        size = self._reads.get(stage.key, 0.0)
        if not size:
            return now
        self._store_free = max(self._store_free, now) + size / self._cluster.store_bytes
        end = max(self._store_free, now + size / self._cluster.worker_bytes)
        self._reading += end - now
        return end

    def _end(self, now: float, journey: _Journey) -> None:
        self._schedule.finished(journey.stage.key, _NOWHERE)
        if journey.number + 1 < len(journey.task.stages):
            journey.number += 1
            self._begin(now, journey)
        else:
            heapq.heappush(self._idle, now)

    def _die(self, now: float, journey: _Journey) -> None:
        self._deaths += 1
        for stage in journey.task.stages[journey.number :]:
            self._schedule.again(stage.key)
        heapq.heappush(self._idle, now + self._cluster.start_seconds)
