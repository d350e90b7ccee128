"""The order of stages: ready ones first come those with the longest path to the report; failed ones are left out."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workflow.engines.base import Task
from benchmarks.workflow.stage import Collecting, Stage
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.score import Score
from forge.core.errors import BenchError, DetectorError, InputError

SHORT_SECONDS = 0.1  # stages below travel to a worker together
BATCH_SECONDS = 1.0  # expected duration of such a batch
_UNTIMED = {
    "train": 600.0,
    "tune": 600.0,
    "encode": 300.0,
    "fit": 60.0,
    "attack": 60.0,
    "quality": 20.0,
}  # seconds of stages that nothing like them was timed
_UNTIMED_OTHERS = 5.0


@dataclass(frozen=True)
class Estimate:
    """What similar stages took.

    Attributes:
        seconds: of wall time; None: none like it was timed.
        memory_mb: highest resident memory of the process, MiB; None: not known.
    """

    seconds: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class Executed:
    """Results of the stages of a run.

    Attributes:
        folders: key -> directory, for every stage whose result is there.
        failures: key -> error, for every stage that failed by itself; what needs it is not there either.
        report: where the last stage's result is.
    """

    folders: Mapping[str, Path]
    failures: Mapping[str, BenchError]
    report: Path


class Schedule:
    """Decides which stages run next; runs nothing itself.

    Args:
        stages: each after what it needs; evaluation and report, the last two, leave out what failed.
        state: key -> "cached", "run: …" or "skip: …", as `status` returns it.
        cached: key -> folder of every stage that is cached.
        threads: of each task.
        device: that stages compute on, where a call of `take` names no others.
        estimates: key -> what similar stages took; without any, stages keep their order and travel alone.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        state: Mapping[str, str],
        cached: Mapping[str, Path],
        *,
        threads: int,
        device: str = "cpu",
        estimates: Mapping[str, Estimate] | None = None,
    ) -> None:
        self._planned, self._state, self._cached = stages, state, cached
        self._threads, self._device, self._estimates = threads, device, estimates or {}
        self._folders: dict[str, Path] = {}
        self._failures: dict[str, BenchError] = {}
        self._lost: set[str] = set()  # keys of what failed and of what needs it
        self._replaced: dict[str, Stage] = {}  # key of a reduced stage before -> the stage after
        self._stages = {stage.key: stage for stage in stages}  # reduced ones join them
        self._before = {stage.key: stage.key for stage in stages}  # key of a reduced stage -> that of the planned one
        self._running: set[str] = set()
        self._reached: list[Stage] = []
        self._fatal: BenchError | None = None
        self._settled: set[str] = set()  # there, lost, or not needed
        # by whether they compute on the device: (-longest path, position in the plan, key)
        self._ready: dict[bool, list[tuple[float, int, str]]] = {True: [], False: []}
        self._alone: set[str] = set()  # keys that travel without others: a batch with them was lost
        self._number = {stage.key: number for number, stage in enumerate(stages)}
        self._readers: dict[str, list[Stage]] = {stage.key: [] for stage in stages}
        self._waiting: dict[str, int] = {}  # key -> inputs that are not settled
        for stage in stages:
            before = {each.key for each in stage.inputs.values()}
            self._waiting[stage.key] = len(before)
            for key in before:
                self._readers[key].append(stage)
        self._level = self._longest_paths() if estimates else dict.fromkeys(self._number, 0.0)
        self._begin()

    def _begin(self) -> None:
        """Settle what is there and what nothing needs, then find what is ready."""
        for stage in self._planned:
            # What collects is looked at when its inputs are settled: one of them may fail although its result is there.
            there = not self._state[stage.key].startswith("run")
            if there and stage.key not in self._settled and not isinstance(stage, Collecting):
                self._is_settled(stage)
                self._settle(stage.key)
        for stage in self._planned:
            if not stage.inputs and stage.key not in self._settled and self._is_settled(stage):
                self._settle(stage.key)

    @property
    def done(self) -> bool:
        """Whether nothing is under way and nothing is left to run."""
        return not self._running and (self._fatal is not None or not any(self._ready.values()))

    @property
    def stopped(self) -> bool:
        """Whether a failure stops the run."""
        return self._fatal is not None

    def reached(self) -> list[Stage]:
        """Return the stages, since the last call, whose stored results take part in the run."""
        reached, self._reached = self._reached, []
        return reached

    def stage(self, key: str) -> Stage:
        """Return a planned or reduced stage."""
        return self._stages[key]

    def take(self, room: int, devices: Sequence[str] | None = None) -> list[Task]:
        """Return tasks to run now, and count them as under way.

        Args:
            room: how many, at the highest.
            devices: GPUs that are free: a task that computes takes one of them; None: all share the device.
        """
        tasks: list[Task] = []
        free = list(devices or ())
        while self._fatal is None and len(tasks) < room:
            waits = devices is not None and not free  # what computes waits for a device
            heaps = [heap for computes, heap in self._ready.items() if heap and not (computes and waits)]
            if not heaps:
                break
            heap = min(heaps, key=lambda heap: heap[0])
            stage = self._stages[heapq.heappop(heap)[2]]
            bound = devices is not None and stage.computes
            batch = self._batch(stage, len(free) if bound else room - len(tasks), heap)
            tasks.append(self._task(batch, free.pop(0) if bound else self._device))
        return tasks

    def finished(self, key: str, folder: Path) -> None:
        """Take the result of a stage that was under way."""
        self._running.discard(key)
        self._folders[key] = folder
        self._settle(self._before[key])

    def failed(self, key: str, error: BenchError, *, system: bool = False) -> bool:
        """Take the failure of a stage that was under way; returns whether the run goes on without it.

        Args:
            key: of the stage.
            error: what happened.
            system: the operating system refused, e.g. a full disk.
        """
        self._running.discard(key)
        # wrong input is for people to correct first; a full disk fails everything
        if not self._stages[key].optional or isinstance(error, InputError) or system:
            self._fatal = self._fatal or error
            return False
        self._failures[key] = error
        self._lost.add(key)
        self._settle(self._before[key])
        return True

    def again(self, key: str, *, last: bool = False) -> None:
        """Put back a stage that was under way, to travel alone; `last`: behind all others that are ready."""
        self._running.discard(key)
        self._alone.add(key)
        self._push(self._stages[key], math.inf if last else None)

    def outcome(self) -> Executed:
        """Return the results.

        Raises:
            BenchError: the stage that stopped the run, or the first failure where there is no report.
        """
        if self._fatal is not None:
            raise self._fatal
        report = self._planned[-1]
        report = self._replaced.get(report.key, report)
        if report.key not in self._folders:  # the first failure is the reason
            raise next(iter(self._failures.values()))
        return Executed(self._folders, self._failures, self._folders[report.key])

    def _settle(self, key: str) -> None:
        """Count a stage as there, lost or not needed, and prepare those whose inputs are now all settled."""
        todo = [key]
        while todo:  # no recursion: chains of stages may be long
            key = todo.pop()
            if key in self._settled:
                continue
            self._settled.add(key)
            for reader in self._readers[key]:
                self._waiting[reader.key] -= 1
                if not self._waiting[reader.key] and reader.key not in self._settled and self._is_settled(reader):
                    todo.append(reader.key)

    def _is_settled(self, planned: Stage) -> bool:
        """Return whether a stage whose inputs are settled needs no run; else make it ready."""
        key, collects = planned.key, isinstance(planned, Collecting)
        if isinstance(planned, Collecting) and self._failures:
            self._push(self._reduced(planned))
            return False
        if self._state[key] == "cached":
            # Used although an input of it failed this time: it was made when the input was there.
            self._folders[key] = self._cached[key]
            self._reached.append(planned)
            return True
        if self._state[key].startswith("skip"):
            return True
        if not collects and any(before.key in self._lost for before in planned.inputs.values()):
            self._lost.add(key)
            return True
        self._push(planned)
        return False

    def _reduced(self, planned: Collecting) -> Stage:
        """Return the stage of what is there.

        A changed input changes its key, so that a later call without failures computes it anew instead of finding the
        reduced one.
        """
        reasons = {self._stages[key].name: str(self._failures[key]) for key in self._number if key in self._failures}
        # scores of a fit that is unusable on one set are left out on all
        usable = {*self._folders} - _unusable(self._planned, self._failures)
        stage = self._replaced[planned.key] = planned.without_failed(usable, reasons, self._replaced)
        self._stages[stage.key], self._before[stage.key] = stage, planned.key
        return stage

    def _push(self, stage: Stage, level: float | None = None) -> None:
        if isinstance(stage, Evaluate) and not stage.scores:  # there is no table to write a report of
            return
        before = self._before[stage.key]
        entry = (-self._level[before] if level is None else level, self._number[before], stage.key)
        heapq.heappush(self._ready[stage.computes], entry)

    def _batch(self, stage: Stage, room: int, heap: list[tuple[float, int, str]]) -> list[Stage]:
        """Return a stage and, where it is short, others that are ready and short, so that no worker stays idle."""
        batch, share = [stage], math.ceil((1 + len(heap)) / max(1, room))
        total = self._seconds(stage)
        while heap and len(batch) < share and total < BATCH_SECONDS and self._is_short(batch[-1]):
            following = self._stages[heap[0][2]]
            if not self._is_short(following):
                break
            heapq.heappop(heap)
            batch.append(following)
            total += self._seconds(following)
        return batch

    def _task(self, batch: list[Stage], device: str) -> Task:
        self._running |= {stage.key for stage in batch}
        memory = [self._estimates.get(stage.key, Estimate()).memory_mb for stage in batch]
        timed = [self._estimates.get(stage.key, Estimate()).seconds for stage in batch]
        return Task(
            tuple(batch),
            {before.key: self._folders[before.key] for stage in batch for before in stage.inputs.values()},
            self._threads,
            memory_mb=max((size for size in memory if size is not None), default=None),
            device=device,
            seconds=None if None in timed else math.fsum(seconds for seconds in timed if seconds is not None),
        )

    def _is_short(self, stage: Stage) -> bool:
        seconds = self._estimates.get(stage.key, Estimate()).seconds
        return seconds is not None and seconds < SHORT_SECONDS and stage.key not in self._alone

    def _seconds(self, stage: Stage) -> float:
        seconds = self._estimates.get(stage.key, Estimate()).seconds
        return _UNTIMED.get(stage.action, _UNTIMED_OTHERS) if seconds is None else seconds

    def _longest_paths(self) -> dict[str, float]:
        """Return for each stage the seconds from its begin to the end of the report, were there workers for all."""
        levels: dict[str, float] = {}
        for stage in reversed(self._planned):  # readers come later in the plan, hence earlier here
            todo = self._state[stage.key].startswith("run")
            after = max((levels[reader.key] for reader in self._readers[stage.key]), default=0.0)
            levels[stage.key] = after + (self._seconds(stage) if todo else 0.0)
        return levels


def _unusable(stages: Sequence[Stage], failures: Mapping[str, BenchError]) -> set[str]:
    """Return keys of the fits with unusable scores on some set, and of what reads them: a report leaves it all out."""
    fits = {
        stage.detector.key
        for stage in stages
        if isinstance(stage, Score) and isinstance(failures.get(stage.key), DetectorError)
    }
    # By fit, not by score: a mean over the sets that happened to work could not be compared with other detectors'
    # means.
    readers = {stage.key for stage in stages if any(before.key in fits for before in stage.inputs.values())}
    return fits | readers
