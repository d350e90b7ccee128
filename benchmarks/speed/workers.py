"""Overhead of workers and of the driver, start of a pool; a simulated run beside a real one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.figure import Figure, timed
from benchmarks.speed.idle import Idle, many, tree
from benchmarks.terminal import Silent
from benchmarks.workflow.drive import execute
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.engines.local import LocalEngine
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.simulate import Cluster, simulate
from benchmarks.workflow.stage import Activity, Context
from benchmarks.workflow.store import Store
from forge.core.compute import Compute
from forge.core.progress import silent
from forge.faces.sources import resolve as source_of

COUNT, JOBS = 200, 4


def workers() -> list[Figure]:
    """Run stages that do nothing in this process and in a pool, then stages that wait; simulate these as well."""
    stages = many(COUNT)
    _serial(many(1))  # the first stage of a process imports torch, which its manifest describes
    _pool(many(JOBS), JOBS)  # the first pool starts the server that later workers are forked from
    alone = timed(lambda: _serial(stages)) / len(stages)
    _, driver, _ = _pool(stages, JOBS)
    waiting = tree()
    seconds, _, start = _pool(waiting, JOBS)
    cluster = Cluster(JOBS, start_seconds=start, task_seconds=driver / len(stages), stage_seconds=alone)
    foreseen = simulate(waiting, {stage.key: stage.wait for stage in waiting}, cluster)
    how = f"{len(waiting)} stages that wait {foreseen.work:.0f} s in all, {JOBS} jobs"
    return [
        Figure("overhead of a stage in its worker", 1000 * alone, "ms", "look-up, claim, manifest, publication"),
        Figure("overhead of a task in the driver", 1000 * driver / len(stages), "ms", f"processor time, {JOBS} jobs"),
        Figure("start of a pool", start, "s", "until its first stage begins"),
        Figure("a pool with stages that wait", seconds, "s", how),
        Figure("… against its simulation", seconds / foreseen.makespan, "x", f"simulated: {foreseen.makespan:.1f} s"),
    ]


class _FirstStart(Silent):
    """Remembers when the first stage began."""

    moment: float | None = None

    def started(self, stage: Activity, worker: str = "") -> None:
        """Take note of the moment."""
        self.moment = self.moment or time.perf_counter()


def _serial(stages: Sequence[Idle]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        execute(stages, Store(Path(folder)), _context(), Silent())


def _pool(stages: Sequence[Idle], jobs: int) -> tuple[float, float, float]:
    """Run stages in a pool; returns wall seconds, the driver's processor seconds, and those until the first stage."""
    observer, context = _FirstStart(), _context()
    # without estimates of stages that do nothing, which would travel together
    estimates = {stage.key: Estimate(stage.wait) for stage in stages if stage.wait}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        begin, processor = time.perf_counter(), time.process_time()
        execute(stages, store, context, observer, LocalEngine(store, context, EngineOptions(jobs)), estimates=estimates)
        end, driver = time.perf_counter(), time.process_time() - processor
    return end - begin, driver, (observer.moment or end) - begin


def _context() -> Context:
    return Context(source_of("rendered"), Compute(threads=1), 1, silent)
