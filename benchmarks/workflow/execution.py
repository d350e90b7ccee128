"""Stages of a task, run one after another: find the result, else claim the key, compute it, publish it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.workflow.engines.base import Busy, Event, Failed, Finished, Lost, Noted, Progressed, Started, Task, Tell
from benchmarks.workflow.environment import describe_environment, peak_memory_mb, reset_peak_memory
from benchmarks.workflow.observer import Observer
from benchmarks.workflow.stage import Context, Job, Stage
from benchmarks.workflow.store import DamagedError, Store, write_manifest
from forge.core.errors import BenchError, InputError
from forge.core.files import explain_os_error, write_text


def run_task(task: Task, store: Store, context: Context, tell: Tell, *, worker: str = "") -> None:
    """Run the stages of a task in this process, whose number of threads is set already.

    Args:
        task: the stages.
        store: of their results.
        context: of the run.
        tell: receives an event for each beginning and end, and all between.
        worker: name of this process, for people.
    """
    context = replace(context, compute=replace(context.compute, device=task.device, threads=task.threads))
    for stage in task.stages:
        begin = time.perf_counter()
        try:
            folder, cached = _ensure(stage, task.folders, store, context, tell, worker=worker, patient=task.patient)
        except _BusyError:
            tell(Busy(stage.key))
        except BenchError as error:
            tell(Failed(stage.key, error, system=isinstance(error.__cause__, OSError)))
        except OSError as error:  # of the store, before or after the stage itself
            tell(Failed(stage.key, explain_os_error(error), system=True))
        else:
            tell(Finished(stage.key, folder, cached, time.perf_counter() - begin))


def ensure(wanted: Sequence[Stage], store: Store, context: Context, observer: Observer) -> dict[str, Path]:
    """Compute the results of some stages, and of all that these need, where a store lacks them; returns key -> folder.

    Raises:
        BenchError: a stage failed.
    """
    folders: dict[str, Path] = {}
    waiting = [*reversed(wanted)]
    while waiting:  # no recursion: chains of stages may be long
        stage = waiting[-1]
        before = [each for each in stage.inputs.values() if each.key not in folders]
        if before:
            waiting += reversed(before)
            continue
        waiting.pop()
        if stage.key in folders:  # it waited twice where two stages read it
            continue
        begin = time.perf_counter()
        folders[stage.key], cached = _ensure(stage, folders, store, context, partial(_show_of, observer, stage))
        observer.finished(stage, cached=cached, seconds=time.perf_counter() - begin)
    return folders


def _show_of(observer: Observer, stage: Stage, event: Event) -> None:
    show(observer, lambda key: stage, event)


def show(observer: Observer, stage_of: Callable[[str], Stage], event: Event) -> None:
    """Tell an observer what an event says; what follows from failures and losses, the driver says."""
    match event:
        case Started(key, worker):
            observer.started(stage_of(key), worker)
        case Progressed(key, progress):
            observer.progressed(stage_of(key), progress)
        case Finished(key, _, cached, seconds):
            observer.finished(stage_of(key), cached=cached, seconds=seconds)
        case Failed(key) | Busy(key):
            observer.ended(stage_of(key))
        case Lost(keys):
            for key in keys:
                observer.ended(stage_of(key))
        case Noted(text):
            observer.noted(text)


class _BusyError(Exception):
    """Another process holds the claim of a stage."""


def _ensure(
    stage: Stage,
    folders: Mapping[str, Path],
    store: Store,
    context: Context,
    tell: Tell,
    *,
    worker: str = "",
    patient: bool = True,
) -> tuple[Path, bool]:
    """Return the folder of a stage's result, and whether it was there or came from another process."""

    def busy() -> None:
        if not patient:
            raise _BusyError
        tell(Noted(f"another process is working on {stage.name}; waiting for it"))

    # The first look takes no lock, so that calls whose results are all there do not wait. The second look is under the
    # lock: the process that was waited for has published the result meanwhile.
    folder = _stored(stage, store, tell)
    if folder is None:
        with store.claim(stage.key, waiting=busy):
            folder = _stored(stage, store, tell)
            if folder is None:
                tell(Started(stage.key, worker))
                return _run(stage, folders, store, context, tell), False
    return folder, True


def _stored(stage: Stage, store: Store, tell: Tell) -> Path | None:
    try:
        return store.find(stage.action, stage.key)
    except DamagedError as error:
        aside = store.set_aside(error.folder)  # renamed, not deleted: the key is free again and nothing is lost
        tell(Noted(f"the stored result of {stage.name} is damaged ({error.problem}); kept as {aside.name}, redone"))
        return None


def description_of(stage: Stage) -> dict[str, Any]:
    """Return what a manifest says of a stage itself, before it ran."""
    return {
        "stage": stage.name,
        "action": stage.action,
        "about": stage.about,
        "fields": stage.described(),
        "version": stage.VERSION,
        "key": stage.key,
        "settings": stage.settings,
        "inputs": {name: before.key for name, before in stage.inputs.items()},
        "seed": stage.seed,
        "work_units": stage.work_units,
    }


def _run(stage: Stage, folders: Mapping[str, Path], store: Store, context: Context, tell: Tell) -> Path:
    # Not temporary: a killed call leaves its checkpoints here, and the next one of the same key continues from them.
    work = store.work(stage.key)
    work.mkdir(parents=True, exist_ok=True)
    observed = replace(context, on_progress=lambda event: tell(Progressed(stage.key, event)))
    begin = time.perf_counter()
    reset_peak_memory()  # the peak of this stage, not of an earlier one in this process
    try:
        # One rename publishes result and manifest together. The manifest is written last, since it lists every other
        # file.
        with store.publish(stage.action, stage.key) as out:
            inputs = {before.key: _input(before, folders, store) for before in stage.inputs.values()}
            facts = stage.run(Job(inputs, out, work, observed))
            write_manifest(
                out,
                **description_of(stage),
                environment=describe_environment(context.compute),
                seconds=round(time.perf_counter() - begin, 3),
                peak_memory_mb=peak_memory_mb(),
                facts=facts,
            )
    except BenchError:  # says already what to do
        raise
    except OSError as error:
        raise explain_os_error(error) from error
    except SystemExit as error:  # the exit code of a plug-in's file must not be the run's
        raise InputError(
            f"{stage.name} failed: its code ends the program ({error!r}); raise an exception in the file instead"
        ) from error
    except Exception as error:
        # `work` outlives the failure; `out` is removed when the block is left.
        record = work / "error.txt"
        write_text(record, traceback.format_exc())
        raise BenchError(
            f"{stage.name} failed: {type(error).__name__}: {error}; the details are in {record}; "
            "what was finished before is kept, the same command continues"
        ) from error
    return store.folder(stage.action, stage.key)


def _input(stage: Stage, folders: Mapping[str, Path], store: Store) -> Path:
    """Return the folder of an input's result, fetched now if only a store elsewhere has it."""
    if (folder := folders[stage.key]).is_dir():
        return folder
    fetched = store.find(stage.action, stage.key)
    if fetched is None:
        raise BenchError(f"{stage.name} is no longer in {store.root}/; the same command makes it again")
    return fetched
