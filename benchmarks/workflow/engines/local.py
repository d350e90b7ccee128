"""The local engine: one stage after another in this process."""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks.workflow.environment import describe_environment, peak_memory_mb, reset_peak_memory
from benchmarks.workflow.stage import Activity, Collecting, Context, Job, Stage
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.score import Score
from benchmarks.workflow.store import DamagedError, Store, write_manifest
from forge.core.errors import BenchError, DetectorError, InputError
from forge.core.files import explain_os_error, write_text
from forge.core.progress import ProgressEvent


class Observer(Protocol):
    """Shows or records what an engine does."""

    def planned(self, stages: Sequence[Activity], todo: Collection[str]) -> None:
        """Take note that a run begins; `todo` are the keys of the stages that have no result yet."""

    def started(self, stage: Activity) -> None:
        """Take note that a stage begins."""

    def progressed(self, stage: Activity, event: ProgressEvent) -> None:
        """Take note of the progress of a stage."""

    def finished(self, stage: Activity, *, cached: bool, seconds: float) -> None:
        """Take note that a stage's result is there."""

    def noted(self, text: str) -> None:
        """Show a sentence that a person should know."""


def status(stages: Sequence[Stage], store: Store) -> dict[str, str]:
    """Return what would happen to each stage: key -> "cached", "run: no result yet", "run: damaged …" or "skip: …".

    A stage whose result is missing is skipped when everything that would read it is there.
    """
    state: dict[str, str] = {}
    for stage in stages:
        try:
            state[stage.key] = "cached" if store.find(stage.action, stage.key) else "missing"
        except DamagedError as error:
            state[stage.key] = f"run: damaged ({error.problem})"
    needed: set[str] = set()

    def need(stage: Stage) -> None:
        if stage.key not in needed and state[stage.key] != "cached":
            needed.add(stage.key)
            for before in stage.inputs.values():
                need(before)

    # Depth-first from the report, the last stage: what only serves cached results is not computed again, also where the
    # store no longer has it.
    need(stages[-1])
    # A damaged result is set aside and computed anew in any case, so that its inputs must be there too.
    for stage in stages:
        if state[stage.key].startswith("run"):
            need(stage)
    for stage in stages:
        if state[stage.key] == "missing":
            work = store.work(stage.key).is_dir()  # left by a call that was stopped or killed
            reason = "run: continue from its checkpoint" if work else "run: no result yet"
            state[stage.key] = reason if stage.key in needed else "skip: nothing needs it"
    return state


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


def execute(stages: Sequence[Stage], store: Store, context: Context, observer: Observer) -> Executed:
    """Compute every needed stage that the store lacks; what does not depend on a failed one is computed nevertheless.

    Args:
        stages: each after what it needs; evaluation and report, the last two, leave out what failed.
        store: where results lie.
        context: device, workers, source.
        observer: shows what happens.

    Raises:
        BenchError: a stage failed without which there is no report; everything finished before stays in the store.
    """
    folders: dict[str, Path] = {}
    failures: dict[str, BenchError] = {}
    lost: set[str] = set()  # keys of what failed and of what needs it
    replaced: dict[str, Stage] = {}  # key of a reduced stage before -> the stage after
    state = status(stages, store)
    needed = [stage for stage in stages if not state[stage.key].startswith("skip")]
    observer.planned(needed, {stage.key for stage in needed if state[stage.key] != "cached"})
    for planned in stages:
        # Evaluation and report shrink to what is there; a changed input changes their key, so that a later call without
        # failures computes both anew instead of finding the reduced ones.
        stage = planned
        if failures and isinstance(planned, Collecting):
            reasons = {failed.name: str(failures[failed.key]) for failed in stages if failed.key in failures}
            # scores of a fit that is unusable on one set are left out on all
            usable = {*folders} - _unusable(stages, failures)
            stage = replaced[planned.key] = planned.without_failed(usable, reasons, replaced)
        elif state[stage.key].startswith("skip"):
            continue
        # A cached result is used although an input of it failed this time: it was made when the input was there.
        elif state[stage.key] != "cached" and any(before.key in lost for before in stage.inputs.values()):
            lost.add(stage.key)
            continue
        if isinstance(stage, Evaluate) and not stage.scores:  # there is no table to write a report of
            break
        if state.get(stage.key) != "cached":  # a reduced stage has a key that `state` does not know
            observer.started(stage)
        try:
            folders[stage.key] = _ensure(stage, folders, store, context, observer)
        except BenchError as error:
            # wrong input is for people to correct first; a full disk fails everything
            if not stage.optional or isinstance(error, InputError) or isinstance(error.__cause__, OSError):
                raise
            failures[stage.key] = error
            lost.add(stage.key)
            observer.noted(f"{error}; going on without it")
    if stage.key not in folders:  # the loop ended before the report: the first failure is the reason
        raise next(iter(failures.values()))
    return Executed(folders, failures, folders[stage.key])


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


def ensure(wanted: Sequence[Stage], store: Store, context: Context, observer: Observer) -> dict[str, Path]:
    """Compute the results of some stages, and of all that these need, where a store lacks them; returns key -> folder.

    Raises:
        BenchError: a stage failed.
    """
    folders: dict[str, Path] = {}

    def reach(stage: Stage) -> None:
        if stage.key in folders:
            return
        for before in stage.inputs.values():  # post-order: inputs first
            reach(before)
        if store.find(stage.action, stage.key) is None:
            observer.started(stage)
        folders[stage.key] = _ensure(stage, folders, store, context, observer)

    for stage in wanted:
        reach(stage)
    return folders


def _ensure(stage: Stage, folders: Mapping[str, Path], store: Store, context: Context, observer: Observer) -> Path:
    def busy() -> None:
        observer.noted(f"another process is working on {stage.name}; waiting for it")

    begin = time.perf_counter()
    # The first look takes no lock, so that calls whose results are all there do not wait. The second look is under the
    # lock: the process that was waited for has published the result meanwhile.
    folder = _stored(stage, store, observer)
    if folder is None:
        with store.claim(stage.key, waiting=busy):
            folder = _stored(stage, store, observer)
            if folder is None:
                folder = _run(stage, folders, store, context, observer)
                observer.finished(stage, cached=False, seconds=time.perf_counter() - begin)
                return folder
    observer.finished(stage, cached=True, seconds=time.perf_counter() - begin)
    return folder


def _stored(stage: Stage, store: Store, observer: Observer) -> Path | None:
    try:
        return store.find(stage.action, stage.key)
    except DamagedError as error:
        aside = store.set_aside(error.folder)  # renamed, not deleted: the key is free again and nothing is lost
        observer.noted(f"the stored result of {stage.name} is damaged ({error.problem}); kept as {aside.name}, redone")
        return None


def _run(stage: Stage, folders: Mapping[str, Path], store: Store, context: Context, observer: Observer) -> Path:
    # Not temporary: a killed call leaves its checkpoints here, and the next one of the same key continues from them.
    work = store.work(stage.key)
    work.mkdir(parents=True, exist_ok=True)
    observed = replace(context, on_progress=lambda event: observer.progressed(stage, event))
    begin = time.perf_counter()
    reset_peak_memory()  # the peak of this stage, not of an earlier one in this process
    try:
        # One rename publishes result and manifest together. The manifest is written last, since it lists every other
        # file.
        with store.publish(stage.action, stage.key) as out:
            inputs = {before.key: folders[before.key] for before in stage.inputs.values()}
            facts = stage.run(Job(inputs, out, work, observed))
            write_manifest(
                out,
                stage=stage.name,
                action=stage.action,
                about=stage.about,
                fields=stage.described(),
                version=stage.VERSION,
                key=stage.key,
                settings=stage.settings,
                inputs={name: before.key for name, before in stage.inputs.items()},
                seed=stage.seed,
                environment=describe_environment(context.compute),
                seconds=round(time.perf_counter() - begin, 3),
                peak_memory_mb=peak_memory_mb(),
                work_units=stage.work_units,
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
