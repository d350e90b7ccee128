"""The driver of a run: gives ready tasks to an engine and takes note of what becomes of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.workflow.engines.base import Busy, Engine, EngineOptions, Event, Failed, Finished, Lost, Task
from benchmarks.workflow.engines.serial import SerialEngine
from benchmarks.workflow.execution import show
from benchmarks.workflow.observer import Observer
from benchmarks.workflow.schedule import Estimate, Executed, Schedule
from benchmarks.workflow.stage import Context, Stage
from benchmarks.workflow.store import DamagedError, Store
from forge.core.errors import BenchError
from forge.core.interrupt import deferred_interrupt, termination_interrupts

WAIT_SECONDS = 0.2  # between two looks for Ctrl-C
LOOK_AGAIN_SECONDS = 2.0  # between two looks at a stage that another process works on
ATTEMPTS = 3  # of a stage whose worker dies


def status(stages: Sequence[Stage], store: Store) -> dict[str, str]:
    """Return what would happen to each stage: key -> "cached", "run: no result yet", "run: damaged …" or "skip: …".

    A stage whose result is missing is skipped when everything that would read it is there.
    """
    state: dict[str, str] = {}
    for stage in stages:
        try:
            # not `find`, which would fetch results that nothing needs here from a store elsewhere
            state[stage.key] = "cached" if store.has(stage.action, stage.key) else "missing"
        except DamagedError as error:
            state[stage.key] = f"run: damaged ({error.problem})"
    # Depth-first from the report, the last stage: what only serves cached results is not computed again, also where the
    # store no longer has it. A damaged result is set aside and computed anew in any case, so that its inputs must be
    # there too.
    needed: set[str] = set()
    reach = [stages[-1], *(stage for stage in stages if state[stage.key].startswith("run"))]
    while reach:
        stage = reach.pop()
        if stage.key not in needed and state[stage.key] != "cached":
            needed.add(stage.key)
            reach.extend(stage.inputs.values())
    for stage in stages:
        if state[stage.key] == "missing":
            work = store.work(stage.key).is_dir()  # left by a call that was stopped or killed
            reason = "run: continue from its checkpoint" if work else "run: no result yet"
            state[stage.key] = reason if stage.key in needed else "skip: nothing needs it"
    return state


def execute(
    stages: Sequence[Stage],
    store: Store,
    context: Context,
    observer: Observer,
    engine: Engine | None = None,
    *,
    estimates: Mapping[str, Estimate] | None = None,
) -> Executed:
    """Compute every needed stage that the store lacks; what does not depend on a failed one is computed nevertheless.

    Args:
        stages: each after what it needs; evaluation and report, the last two, leave out what failed.
        store: where results lie.
        context: device, workers, source.
        observer: shows what happens.
        engine: runs the stages; by default one after another in this process.
        estimates: key -> what similar stages took, which decides the order.

    Raises:
        BenchError: a stage failed without which there is no report; everything finished before stays in the store.
        KeyboardInterrupt: Ctrl-C came.
    """
    state = status(stages, store)
    needed = [stage for stage in stages if not state[stage.key].startswith("skip")]
    observer.planned(needed, {stage.key for stage in needed if state[stage.key] != "cached"})
    cached: dict[str, Path] = {
        stage.key: store.folder(stage.action, stage.key) for stage in stages if state[stage.key] == "cached"
    }
    device = context.compute.device
    engine = engine or SerialEngine(store, context, EngineOptions(threads=context.compute.threads))
    schedule = Schedule(stages, state, cached, threads=engine.options.threads, device=device, estimates=estimates)
    executed = Driver(schedule, engine, observer).run()
    if not executed.report.is_dir():  # only a store elsewhere has it
        store.find(stages[-1].action, stages[-1].key)
    return executed


class Driver:
    """Runs a schedule on an engine.

    Args:
        schedule: of the run.
        engine: runs tasks.
        observer: shows what happens.
    """

    def __init__(self, schedule: Schedule, engine: Engine, observer: Observer) -> None:
        self._schedule, self._engine, self._observer = schedule, engine, observer
        self._open: dict[str, Task] = {}  # key of a stage under way -> its task
        self._tasks: dict[int, Task] = {}  # those with such a stage, each once
        self._losses: Counter[str] = Counter()
        self._waited: set[str] = set()
        self._later: dict[str, float] = {}  # key that another process works on -> when to look again

    def run(self) -> Executed:
        """Run until the report is there or cannot be.

        Raises:
            BenchError: as `execute`.
            KeyboardInterrupt: Ctrl-C came; stages under way saved a checkpoint.
        """
        if self._engine.in_process:  # trainings in this process handle signals themselves
            with self._engine:
                self._loop(lambda: False)
        else:  # a second signal comes while the engine ends, and must not leave its processes
            with termination_interrupts(), self._engine, deferred_interrupt() as interrupted:
                self._loop(interrupted)
        return self._schedule.outcome()

    def _loop(self, interrupted: Callable[[], bool]) -> None:
        while True:
            self._look_again()
            self._submit()
            for stage in self._schedule.reached():
                self._observer.finished(stage, cached=True, seconds=0.0)
            if interrupted():
                self._observer.noted("stopping when trainings have saved their checkpoints; Ctrl-C again stops at once")
                raise KeyboardInterrupt
            if self._schedule.done or self._schedule.stopped:
                return
            if self._open:
                self._engine.wait(WAIT_SECONDS, self._take_note)
            else:  # all that is left is made by other processes
                time.sleep(WAIT_SECONDS)

    def _submit(self) -> None:
        devices = None
        if self._engine.options.devices:
            busy = {task.device for task in self._tasks.values()}
            devices = [device for device in self._engine.options.devices if device not in busy]
        for task in self._schedule.take(self._engine.slots - len(self._tasks), devices):
            alone = replace(task, patient=self._engine.in_process)
            self._tasks[id(alone)] = alone
            self._open |= dict.fromkeys((stage.key for stage in task.stages), alone)
            self._engine.submit(alone)

    def _look_again(self) -> None:
        now = time.monotonic()
        for key in [key for key, due in self._later.items() if due <= now]:
            del self._later[key]
            self._schedule.again(key, last=True)

    def _take_note(self, event: Event) -> None:
        """Take an event of the engine."""
        show(self._observer, self._schedule.stage, event)  # first: a failure is noted when its stage has ended
        match event:
            case Finished(key, folder):
                self._close(key)
                self._schedule.finished(key, folder)
            case Failed(key, error, system):
                self._fail(key, error, system=system)
            case Busy(key):
                self._close(key)
                if key not in self._waited:
                    name = self._schedule.stage(key).name
                    self._observer.noted(f"another process is working on {name}; waiting for it")
                self._waited.add(key)
                self._later[key] = time.monotonic() + LOOK_AGAIN_SECONDS
            case Lost(keys, reason):
                for key in keys:
                    self._lose(key, reason)

    def _fail(self, key: str, error: BenchError, *, system: bool = False) -> None:
        self._close(key)
        if self._schedule.failed(key, error, system=system):
            self._observer.noted(f"{error}; going on without it")

    def _lose(self, key: str, reason: str) -> None:
        """Give a stage whose worker died to another one, which continues from its checkpoint; not for ever."""
        self._losses[key] += 1
        name, count = self._schedule.stage(key).name, self._losses[key]
        if count < ATTEMPTS:
            self._close(key)
            self._observer.noted(f"the worker of {name} {reason}; it is tried again ({count + 1} of {ATTEMPTS})")
            self._schedule.again(key)
            return
        self._fail(
            key,
            BenchError(
                f"{name} failed: its worker {reason}, the last of {ATTEMPTS} attempts; ask for fewer --jobs; what was "
                "finished before is kept, the same command continues"
            ),
        )

    def _close(self, key: str) -> None:
        task = self._open.pop(key, None)
        if task is not None and not any(stage.key in self._open for stage in task.stages):
            del self._tasks[id(task)]
