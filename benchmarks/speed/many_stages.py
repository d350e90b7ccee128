"""A suite of 100,000 stages: planned, scheduled, found in a store, forecast; nothing is computed.

Each measurement runs in a process of its own, whose highest memory is that of the measurement alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from benchmarks.experiment.configs import find_suite
from benchmarks.experiment.request import changed, read_request
from benchmarks.experiment.resolve import resolve
from benchmarks.experiment.settings import RunSettings
from benchmarks.experiment.validate import typed
from benchmarks.speed.figure import Figure
from benchmarks.terminal import Silent
from benchmarks.workflow.drive import Driver, execute, status
from benchmarks.workflow.engines.base import Engine, EngineOptions, Finished, Task, Tell
from benchmarks.workflow.environment import peak_memory_mb
from benchmarks.workflow.execution import description_of
from benchmarks.workflow.forecast import forecast
from benchmarks.workflow.planner import plan
from benchmarks.workflow.schedule import Estimate, Schedule
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Manifest, Store
from forge.core.compute import Compute
from forge.core.files import digest_json
from forge.core.progress import silent
from forge.faces.faceset import FileEntry
from forge.faces.sources import resolve as source_of

SEEDS = 100  # the most that a run may have
# detectors beside those of the suite, so that there are 100,000 stages
MORE = ("meso4", "mesoinception4", "f3net", "gramnet", "ferretnet", "spsl", "dct-cnn")
JOBS = 64  # tasks at a time
RESULT_BYTES = 20_000  # of the file in each result: scores of 1,500 images, about

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Taken:
    """What some work took.

    Attributes:
        seconds: wall time.
        processor: seconds of the processor; on a busy machine less than the wall time.
    """

    seconds: float
    processor: float


def many_stages(seeds: int = SEEDS) -> list[Figure]:
    """Plan, schedule and find a suite of many seeds.

    Args:
        seeds: of `faces64-quick` with seven detectors more: about 1,060 stages each.
    """
    settings = settings_of(seeds)  # here: checking them imports torch, which the processes below do without
    count, planning, scheduling, peak = apart(schedule_all, settings)
    figures = [
        _figure(
            f"planning {count:,} stages", planning, f"faces64-quick, {len(settings.detectors)} detectors, {seeds} seeds"
        ),
        _figure("… and scheduling them", scheduling, f"look-ups in an empty store, {JOBS} jobs that do nothing"),
        Figure("… memory of both", peak, "MB", "highest, of the process"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        apart(fill, settings, Path(folder))
        finding, peak = apart(find_all, settings, Path(folder))
        forecasting = apart(forecast_all, settings, Path(folder))
    how = f"planned, each result read and compared with its digests: manifest and {RESULT_BYTES / 1000:.0f} kB"
    return [
        *figures,
        _figure(f"a run of {count:,} stages, all cached", finding, how),
        Figure("… memory", peak, "MB", "highest, of the process"),
        _figure("… forecast of as many from the times of all", forecasting, "of bench run --dry-run"),
    ]


def schedule_all(settings: RunSettings) -> tuple[int, Taken, Taken, float]:
    """Plan and schedule stages; returns how many, what both took, and the highest memory in MB."""
    with _taking() as planning:
        stages = plan(settings, source_fingerprint="")
    with _taking() as scheduling, tempfile.TemporaryDirectory() as folder:
        state = status(stages, Store(Path(folder)))
        # as a forecast would know them: most stages are short and travel together
        estimates = {stage.key: Estimate(30.0 if stage.action in ("train", "fit") else 0.05) for stage in stages}
        schedule = Schedule(stages, state, {}, threads=1, estimates=estimates)
        Driver(schedule, _Idle(), Silent()).run()
    return len(stages), planning[0], scheduling[0], peak_memory_mb() or math.nan


def fill(settings: RunSettings, folder: Path) -> None:
    """Write a result for every stage, as a run would leave it, without waiting for the disk."""
    store, data = Store(folder), bytes(RESULT_BYTES)
    (folder / "results").mkdir()
    for stage in plan(settings, source_fingerprint=""):
        out = store.folder(stage.action, stage.key)
        out.mkdir()
        content = data + stage.key.encode()
        (out / "scores.parquet").write_bytes(content)
        manifest = Manifest(
            **description_of(stage),
            environment={"python": sys.version.split()[0], "device": "cpu", "threads": "1"},
            seconds=0.5,
            peak_memory_mb=900.0,
            files={
                "scores.parquet": FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest()),
            },
        ).model_dump(mode="json")
        text = json.dumps(manifest | {"sha256": digest_json(manifest)}, indent=1, ensure_ascii=False)
        (out / "manifest.json").write_text(text, encoding="utf-8")


def find_all(settings: RunSettings, folder: Path) -> tuple[Taken, float]:
    """Plan stages and execute them where all results are there; returns what it took, and the highest memory in MB."""
    with _taking() as finding:
        stages = plan(settings, source_fingerprint="")
        context = Context(source_of("rendered"), Compute(), 1, silent)
        executed = execute(stages, Store(folder), context, Silent())
    if len(executed.folders) != len(stages):
        raise RuntimeError(f"{len(executed.folders):,} of {len(stages):,} results were found")
    return finding[0], peak_memory_mb() or math.nan


def forecast_all(settings: RunSettings, folder: Path) -> Taken:
    """Estimate the duration of stages from the times in a store that has one for each."""
    stages = plan(settings, source_fingerprint="")
    with _taking() as forecasting:
        forecast(stages, Store(folder), folder / "reports")
    return forecasting[0]


def settings_of(seeds: int) -> RunSettings:
    """Return the settings of `faces64-quick` with seven detectors more and so many seeds."""
    suite = read_request(find_suite("faces64-quick"))
    asked = {"data": "rendered", "seeds": tuple(range(seeds)), "detector": [*suite.detector, *MORE]}
    request, _ = changed(suite, asked)
    return typed(resolve(request))


class _Idle(Engine):
    """Says of every stage at once that it is finished."""

    name = "idle"
    slots = JOBS

    def __init__(self) -> None:
        self.options = EngineOptions(jobs=JOBS)
        self._tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, seconds: float, tell: Tell) -> None:
        for stage in self._tasks.pop().stages:
            tell(Finished(stage.key, Path(), False, 0.0))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def apart(call: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> _R:
    """Call a function of this module in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments, **named).result()


@contextmanager
def _taking() -> Iterator[list[Taken]]:
    """Yield a list to which the block's duration is added when it ends."""
    taken: list[Taken] = []
    begin, processor = time.perf_counter(), time.process_time()
    yield taken
    taken.append(Taken(time.perf_counter() - begin, time.process_time() - processor))


def _figure(what: str, taken: Taken, how: str) -> Figure:
    return Figure(what, taken.seconds, "s", f"{how}; {taken.processor:.1f} s of processor time")
