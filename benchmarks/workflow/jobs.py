"""Number of stages at a time and of threads of each: chosen by rules, never by a clock, and said with the reason.

Threads are part of the keys of trainings on a CPU, jobs of no key. So threads follow, in this order: what was asked for
(`--threads`, OMP_NUM_THREADS), the trainings of this run that the store has already, and the plan: many trainings get
one thread each and run side by side, a few get all cores one after another. Jobs fill the cores that are left.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.engines import known_engine
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.engines.fork_server import start_fork_server
from benchmarks.workflow.environment import available_memory_mb
from benchmarks.workflow.forecast import Past, estimates_of, past_of
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.stage import Stage
from benchmarks.workflow.store import Manifest, Store
from forge.core.compute import Compute, asked_threads, cores, devices_of, set_threads
from forge.core.errors import InputError
from forge.core.files import digest_json

if TYPE_CHECKING:
    from benchmarks.experiment.request_fields import RunRequest
    from benchmarks.workflow.runner import PlannedRun

MANY = 2  # trainings a core, from which on they run side by side
SOON_SECONDS = 20.0  # of expected work, below which a second process would not pay
UNKNOWN_MB = 700.0  # of a process whose stages were never measured: torch and a small network
MEMORY_SHARE = 0.9  # of what is free


@dataclass(frozen=True)
class Allotment:
    """How a command runs its stages.

    Attributes:
        runs: planned for the threads below.
        compute: device and threads of each stage.
        options: of the engine.
        estimates: key -> what similar stages took; empty where stages run one after another.
        notes: sentences on what was chosen, and why.
    """

    runs: Sequence[PlannedRun]
    compute: Compute
    options: EngineOptions
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    notes: Sequence[str] = ()


def allot(
    runs: Sequence[PlannedRun],
    store: Store,
    reports: Path,
    compute: Compute,
    *,
    jobs: int | None,
    threads: int | None,
    engine: str = "local",
    elsewhere: EngineOptions | None = None,
) -> Allotment:
    """Choose jobs and threads of runs.

    Args:
        runs: planned for `compute`.
        store: of their results.
        reports: folder of published reports, whose stages were timed too.
        compute: device, precision, and the threads that hold where the rules choose no others.
        jobs: asked for; None: chosen here.
        threads: asked for; None: chosen here.
        engine: name; another than "local" decides itself how many stages it has room for (`jobs` is then 0).
        elsewhere: from `elsewhere`, of an engine on other machines.

    Raises:
        InputError: several jobs below `torchrun`, whose processes train together.
    """
    options = replace(elsewhere or EngineOptions(), threads=compute.threads)
    alone = engine == "local" and jobs == 1
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if engine != "local" or jobs not in (None, 1):
            raise InputError("torchrun runs one training at a time in all its processes; leave out --jobs and --engine")
        return Allotment(runs, compute, options)
    is_free = threads is None and asked_threads() is None and compute.device == "cpu"
    if (alone and not is_free) or _is_complete(runs, store):
        return Allotment(runs, compute, options)
    past = list(past_of(store))
    reason = ""
    if is_free:
        count, reason = _threads(runs, store, past, cores() if engine != "local" else jobs or 0)
        compute = replace(compute, threads=count)
        set_threads(count)
        runs = [planned.computed_with(compute) for planned in runs]
        options = replace(options, threads=count)
    todo = _missing(runs, store)
    if alone or not todo:
        return Allotment(runs, compute, options)
    estimates = estimates_of(todo, past, reports)
    if engine != "local":
        notes = [f"{_counted(options.threads, 'thread')}: {reason}; --threads chooses otherwise"] if reason else []
        return Allotment(runs, compute, replace(options, jobs=jobs or 0), estimates, notes)
    options, notes = _local(options, compute, todo, estimates, jobs, threads or asked_threads(), reason)
    return Allotment(runs, compute, options, estimates if options.jobs > 1 else {}, notes)


def start_workers_early(request: RunRequest, threads: int | None) -> None:
    """Let the server of workers import torch while a run is planned, where several jobs are asked for.

    Args:
        request: names the jobs.
        threads: asked for; None: `allot` will choose, and the server is of use where it agrees with the guess here.
    """
    if known_engine(request.engine) != "local" or (request.jobs or 1) < 2 or "WORLD_SIZE" in os.environ:
        return
    start_fork_server(threads or asked_threads() or max(1, cores() // (request.jobs or 1)))


def elsewhere(request: RunRequest) -> EngineOptions:
    """Return what a request says of machines elsewhere.

    Raises:
        InputError: an option of another engine than the one asked for.
    """
    ray = {"--ray-address": request.ray_address, "--ship-below": request.ship_below}
    for option, engine, value in (
        *((name, "ray", value) for name, value in ray.items()),
        ("--slurm", "slurm", request.slurm),
    ):
        if value and request.engine != engine:
            raise InputError(f"{option} is of --engine {engine}, and the engine is {request.engine or 'local'}; add it")
    slurm = {name: str(value) for name, value in request.slurm.items()}
    return EngineOptions(address=request.ray_address, ship_below_mb=request.ship_below, slurm=slurm)


def _is_complete(runs: Sequence[PlannedRun], store: Store) -> bool:
    """Return whether all reports are there; by their names alone."""
    reports = [planned.stages[-1] for planned in runs]
    return all(store.lists(report.action, report.key) for report in reports)


def _missing(runs: Sequence[PlannedRun], store: Store) -> list[Stage]:
    """Return the stages whose result is not there, each once; by names alone."""
    stages = {stage.key: stage for planned in runs for stage in planned.stages}
    return [stage for stage in stages.values() if not store.lists(stage.action, stage.key)]


def _threads(runs: Sequence[PlannedRun], store: Store, past: Iterable[Past], jobs: int) -> tuple[int, str]:
    """Return the threads of a training on a CPU and the reason, for `jobs` trainings at a time (0: not said)."""
    stages = {stage.key: stage for planned in runs for stage in planned.stages}
    trainings = [stage for stage in stages.values() if _threads_of(stage.settings)]
    wanted = {_without_threads(stage.action, stage.seed, stage.settings) for stage in trainings}
    known: list[Past | Manifest] = [*past, *store.elsewhere({stage.action for stage in trainings})]
    kept = Counter(
        _threads_of(each.settings)
        for each in known
        if _threads_of(each.settings) and _without_threads(each.action, each.seed, each.settings) in wanted
    )
    if kept:
        count, number = max(kept.items(), key=lambda entry: (entry[1], entry[0]))
        return count, f"as {_counted(number, 'training')} of this run in the store"
    if jobs > 1:
        return max(1, cores() // jobs), f"{jobs} jobs share {_counted(cores(), 'core')}"
    if not jobs and len(trainings) >= MANY * cores() > MANY:
        return 1, f"{len(trainings):,} trainings run side by side"
    return cores(), f"{_counted(len(trainings), 'training')} to do with all cores, one after another"


def _threads_of(settings: Mapping[str, Any]) -> int:
    """Return the threads in the settings of a training; 0: it has none, or ran on a GPU."""
    numerics = settings.get("numerics")
    return int(numerics.get("threads", 0)) if isinstance(numerics, dict) else 0


def _without_threads(action: str, seed: int, settings: Mapping[str, Any]) -> str:
    numerics = {name: value for name, value in settings["numerics"].items() if name != "threads"}
    return digest_json([action, seed, {**settings, "numerics": numerics}])


def _local(
    options: EngineOptions,
    compute: Compute,
    todo: Sequence[Stage],
    estimates: Mapping[str, Estimate],
    jobs: int | None,
    asked: int | None,
    reason: str,
) -> tuple[EngineOptions, list[str]]:
    """Return the options of a pool, and what there is to say about them.

    Args:
        options: with the threads of a stage.
        compute: the device.
        todo: stages that are to run.
        estimates: of these.
        jobs: asked for; None: chosen here.
        asked: threads that were asked for.
        reason: for the threads, where they were chosen.
    """
    on_gpu = compute.device.startswith("cuda")
    devices = tuple(devices_of(compute.device)) if on_gpu else ()
    count, reason_of_jobs = (jobs, "") if jobs else _jobs(options.threads, devices, todo, estimates)
    room = _fitting(count, [estimates[stage.key].memory_mb or UNKNOWN_MB for stage in todo])
    threads = max(1, cores() // room) if on_gpu and not asked else options.threads  # on a GPU they decide no result
    options = replace(options, jobs=room, threads=threads, devices=devices if room > 1 else ())
    chosen = ["--jobs"] * (jobs is None) + ["--threads"] * bool(reason)
    reasons = [text for text in (reason, reason_of_jobs) if text]
    notes = []
    if chosen:
        verb = "choose" if len(chosen) > 1 else "chooses"
        text = f"{_counted(count, 'job')} of {_counted(threads, 'thread')}"
        notes.append(f"{text}: {', '.join(reasons)}; {' and '.join(chosen)} {verb} otherwise")
    if room < count:
        notes.append(
            f"{_counted(room, 'job')} instead of {count}: more would not fit into the memory, by what past stages took"
        )
    return options, notes


def _jobs(
    threads: int, devices: Sequence[str], todo: Sequence[Stage], estimates: Mapping[str, Estimate]
) -> tuple[int, str]:
    """Return the number of jobs and the reason."""
    if devices:
        return min(len(devices), len(todo)), "one for each GPU" if len(devices) > 1 else "there is one GPU"
    seconds = [estimates[stage.key].seconds for stage in todo]
    if None not in seconds and sum(filter(None, seconds)) < SOON_SECONDS:
        return 1, "there is little to do"
    return min(max(1, cores() // threads), len(todo)), f"{_counted(cores(), 'core')}"


def _fitting(jobs: int, peaks: Iterable[float]) -> int:
    """Return how many jobs fit into the free memory if the largest stages meet; at least one."""
    free = available_memory_mb()
    largest = sorted(peaks, reverse=True)
    while free is not None and jobs > 1 and sum(largest[:jobs]) > MEMORY_SHARE * free:
        jobs -= 1
    return jobs


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
