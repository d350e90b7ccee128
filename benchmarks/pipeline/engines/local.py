"""The local engine: one stage after another in this process."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from benchmarks.pipeline.environment import describe_environment, peak_memory_mb, reset_peak_memory
from benchmarks.pipeline.job import Context, Job
from benchmarks.pipeline.plan import VERSIONS, Stage
from benchmarks.pipeline.stages import STAGES
from benchmarks.pipeline.store import DamagedError, Store, write_manifest
from forge.errors import BenchError
from forge.files import explain_os_error, write_text
from forge.progress import Tick


class Observer(Protocol):
    """Told what an engine does."""

    def started(self, stage: Stage) -> None:
        """A stage begins."""

    def progressed(self, stage: Stage, tick: Tick) -> None:
        """A stage tells how far it is."""

    def finished(self, stage: Stage, *, cached: bool, seconds: float) -> None:
        """A stage's result is there."""

    def noted(self, text: str) -> None:
        """Something a person should know."""


def survey(stages: Sequence[Stage], store: Store) -> dict[str, str]:
    """What would happen to each stage: key -> "cached", "run: no result yet", "run: damaged …" or "skip: …".

    A stage whose result is missing is skipped when everything that would read it is there.
    """
    state: dict[str, str] = {}
    for stage in stages:
        try:
            found = store.find(stage.kind, stage.key)
            state[stage.key] = "cached" if found else "missing"
        except DamagedError as error:
            state[stage.key] = f"run: damaged ({error.problem})"
    needed: set[str] = set()

    def need(stage: Stage) -> None:
        if stage.key not in needed and state[stage.key] != "cached":
            needed.add(stage.key)
            for before in stage.inputs.values():
                need(before)

    need(stages[-1])
    for stage in stages:
        if state[stage.key].startswith("run"):
            need(stage)
    for stage in stages:
        if state[stage.key] == "missing":
            work = store.work(stage.key).is_dir()
            reason = "run: continue from its checkpoint" if work else "run: no result yet"
            state[stage.key] = reason if stage.key in needed else "skip: nothing needs it"
    return state


def execute(stages: Sequence[Stage], store: Store, context: Context, observer: Observer) -> Mapping[str, Path]:
    """Bring every needed stage's result into the store.

    Args:
        stages: each after what it needs.
        store: where results lie.
        context: device, workers, source.
        observer: told what happens.

    Returns:
        Key -> directory, for every stage whose result is there.

    Raises:
        BenchError: a stage failed; everything finished before stays in the store.
    """
    places: dict[str, Path] = {}
    state = survey(stages, store)
    for stage in stages:
        if state[stage.key].startswith("skip"):
            continue
        if state[stage.key] != "cached":
            observer.started(stage)
        places[stage.key] = _ensure(stage, places, store, context, observer)
    return places


def _ensure(stage: Stage, places: Mapping[str, Path], store: Store, context: Context, observer: Observer) -> Path:
    def busy() -> None:
        observer.noted(f"another process is working on {stage.name}; waiting for it")

    begin = time.perf_counter()
    found = _found(stage, store, observer)
    if found is None:
        with store.claim(stage.key, waiting=busy):
            found = _found(stage, store, observer)
            if found is None:
                found = _run(stage, places, store, context, observer)
                observer.finished(stage, cached=False, seconds=time.perf_counter() - begin)
                return found
    observer.finished(stage, cached=True, seconds=time.perf_counter() - begin)
    return found


def _found(stage: Stage, store: Store, observer: Observer) -> Path | None:
    try:
        return store.find(stage.kind, stage.key)
    except DamagedError as error:
        aside = store.set_aside(error.place)
        observer.noted(f"the stored result of {stage.name} is damaged ({error.problem}); kept as {aside.name}, redone")
        return None


def _run(stage: Stage, places: Mapping[str, Path], store: Store, context: Context, observer: Observer) -> Path:
    work = store.work(stage.key)
    work.mkdir(parents=True, exist_ok=True)
    told = replace(context, report=lambda tick: observer.progressed(stage, tick))
    begin = time.perf_counter()
    reset_peak_memory()
    try:
        with store.publish(stage.kind, stage.key) as out:
            inputs = {name: places[before.key] for name, before in stage.inputs.items()}
            facts = STAGES[stage.kind](Job(stage, inputs, out, work, told))
            write_manifest(
                out,
                stage=stage.name,
                version=VERSIONS[stage.kind],
                key=stage.key,
                settings=stage.settings,
                inputs={name: before.key for name, before in stage.inputs.items()},
                seed=stage.seed,
                environment=describe_environment(context.compute),
                seconds=round(time.perf_counter() - begin, 3),
                peak_memory_mb=peak_memory_mb(),
                facts=facts,
            )
    except BenchError:
        raise
    except OSError as error:
        raise explain_os_error(error) from error
    except Exception as error:
        record = work / "error.txt"
        write_text(record, traceback.format_exc())
        raise BenchError(
            f"{stage.name} failed: {type(error).__name__}: {error}; the details are in {record}; "
            "what was finished before is kept, the same command continues"
        ) from error
    return store.place(stage.kind, stage.key)
