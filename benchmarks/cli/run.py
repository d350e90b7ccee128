"""`bench run`: train generators, forge faces, train detectors, score, report."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.evaluation.numbers import duration
from benchmarks.experiment.configs import find_suite, parse_assignments
from benchmarks.experiment.external import notes_of
from benchmarks.experiment.forged import parse_forged
from benchmarks.experiment.request import changed, each_source, parse_pairs, read_request
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.resolve import resolve
from benchmarks.report.publish import refuse_foreign, refuse_other_request
from benchmarks.report.run_report import RunReport
from benchmarks.terminal import observer_for
from benchmarks.workflow.disk import check_places, check_room
from benchmarks.workflow.drive import status
from benchmarks.workflow.engines import known_engine
from benchmarks.workflow.engines.slurm_options import parsed
from benchmarks.workflow.forecast import forecast
from benchmarks.workflow.jobs import allot, elsewhere, start_workers_early
from benchmarks.workflow.joint import follow
from benchmarks.workflow.runner import execute_run, prepare_run
from benchmarks.workflow.simulate import with_more_jobs
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.compute import PRECISIONS, Compute, asked_threads, choose_device, cores, set_threads, tune_allocator
from forge.core.errors import BenchError, UnknownNameError
from forge.core.progress import silent

if TYPE_CHECKING:
    from benchmarks.workflow.runner import PlannedRun, RunOutcome
    from benchmarks.workflow.store import Store
    from forge.core.compute import Compute, PrecisionAsked


def run(
    file: str | None,
    generator: str | None,
    detector: str | None,
    add_generator: str | None,
    add_detector: str | None,
    condition: str | None,
    metric: str | None,
    section: str | None,
    data: str | None,
    preset: str | None,
    seed: int | None,
    seeds: str | None,
    rounds: int | None,
    resolution: int | None,
    device: str,
    precision: str,
    threads: int | None,
    name: str | None,
    store: Path,
    reports: Path,
    assignments: list[str] | None,
    workers: int,
    jobs: int | None,
    engine: str | None,
    ray_address: str | None,
    ship_below: float | None,
    slurm: str | None,
    show_real: bool,
    external: list[str] | None,
    forged: list[str] | None,
    attribute: bool,
    track: Path | None,
    plugin: list[str] | None,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train generators, forge faces, train detectors, score them, write a report."""
    tune_allocator()  # before torch allocates anything

    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    compute = Compute(
        _own_gpu(choose_device(device)), cast("PrecisionAsked", precision), threads or asked_threads() or cores()
    )
    set_threads(compute.threads)
    chosen = compute.device  # "auto" resolved, as notes and presets need it
    flags = {
        "generator": generator,
        "detector": detector,
        "add_generator": add_generator,
        "add_detector": add_detector,
        "condition": condition,
        "metric": metric,
        "section": section,
        "data": data,
        "preset": preset,
        "seed": seed,
        "seeds": seeds.split(",") if seeds else None,
        "rounds": rounds,
        "resolution": resolution,
        "name": name,
        "jobs": jobs,
        "engine": engine,
        "ray_address": ray_address,
        "ship_below": ship_below,
        "slurm": parsed(slurm or ""),
        "show_real": show_real or None,  # None leaves a suite's `show_real: true`
        "external": parse_pairs(external or ()),
        "forged": parse_forged(forged or ()),
        "conditions": {"attribute": True} if attribute else {},
        "set": parse_assignments(assignments or []),
    }
    suite = find_suite(file) if file else None
    request, notes = changed(read_request(suite) if suite else RunRequest(), flags)
    # a suite may name several sources of real faces: one run each
    parts = each_source(request, suite.stem if suite else "run")
    every = [resolve(part, device=chosen, file=suite) for part in parts]
    notes += notes_of(every[0])  # all sources are tested on the same photos from elsewhere
    # Cheap checks of places before planning, which reads all photos' names and imports torch.
    opened = Store(store)
    check_places(store=opened.root, reports=reports)
    opened.reach()
    if not dry_run:
        start_workers_early(request, threads)
    check_room(every, opened, lambda settings: prepare_run(settings, compute=compute))
    engine = known_engine(request.engine)  # an unknown one is refused before the planning
    others = elsewhere(request)
    # All of them are planned before the first one starts: a mistake in the third source shows at once.
    runs = [prepare_run(settings, memory=opened.root / "plans", compute=compute) for settings in every]
    for settings in every:
        refuse_foreign(reports / settings.name)
    # Planned anew for other threads, where the rules choose some; below `torchrun` for none.
    allotment = allot(
        runs, opened, reports, compute, jobs=request.jobs, threads=threads, engine=engine, elsewhere=others
    )
    runs, compute = list(allotment.runs), allotment.compute
    notes += allotment.notes
    # A dry run ends before the refusals that --overwrite lifts, since it replaces nothing.
    if dry_run:
        for note in () if as_json or quiet else notes:
            print(note)
        _print_plans(runs, opened, reports, jobs=allotment.options.jobs, as_json=as_json)
        return
    for planned in () if overwrite else runs:
        refuse_other_request(reports / planned.settings.name, planned.settings.request, planned.photos)

    # RANK is set by `torchrun`. The first process runs everything; the others take part in its trainings and in
    # the fits of networks, and in the same order of runs.
    if int(os.environ.get("RANK", "0")):
        for planned in runs:
            _follow(planned, compute)
        return
    outcomes: list[RunOutcome] = []
    for planned in runs:
        with observer_for(quiet=quiet or as_json) as observer:
            for note in notes:
                observer.noted(note)
            if preset is None:
                observer.noted(f"preset {planned.settings.preset} (on {chosen}); --preset chooses another")
            if len(runs) > 1:
                observer.noted(f"{planned.settings.name}, {len(outcomes) + 1} of {len(runs)} sources")
            outcomes.append(
                execute_run(
                    planned,
                    store=opened,
                    reports=reports,
                    compute=compute,
                    workers=workers or cores(),
                    observer=observer,
                    track=track,
                    engine=engine,
                    options=allotment.options,
                    estimates=allotment.estimates,
                )
            )
    from benchmarks.cli.outcome import print_outcomes  # imports pandas

    print_outcomes([RunReport(outcome.report) for outcome in outcomes], quiet=quiet, as_json=as_json)
    # After the reports are written and named: exit code 1, since what was asked for is not all there.
    if failures := [failure for outcome in outcomes for failure in outcome.failures]:
        several = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise BenchError(f"{failures[0]}{several}; the report is there without; the same command tries again")


def _own_gpu(device: str) -> str:
    """Return the GPU that `torchrun` assigns to this process."""
    # each process computes on the GPU of its number on this machine
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


def _follow(planned: PlannedRun, compute: Compute) -> None:
    """Join the first process in trainings and fits; it alone writes and reports."""
    # nothing but these: no workers, no external pairs, no events
    follow(Context(planned.source, compute, 1, silent))


def _print_plans(runs: Sequence[PlannedRun], store: Store, reports: Path, *, jobs: int, as_json: bool) -> None:

    # The store is looked at, nothing is run or locked.
    states = [status(planned.stages, store) for planned in runs]
    if as_json:
        plans = [_rows(planned, state) for planned, state in zip(runs, states, strict=True)]
        print(json.dumps(plans[0] if len(plans) == 1 else plans, indent=1))
        return
    for planned, state in zip(runs, states, strict=True):
        if len(runs) > 1:
            print(f"{planned.settings.name}:")
        _print_plan(planned, state, store, reports, jobs)


def _rows(planned: PlannedRun, state: Mapping[str, str]) -> list[dict[str, str]]:
    # the 16 digits are those of the folder in the store
    return [{"stage": stage.name, "key": stage.key[:16], "state": state[stage.key]} for stage in planned.stages]


def _print_plan(planned: PlannedRun, state: Mapping[str, str], store: Store, reports: Path, jobs: int) -> None:

    todo = [stage for stage in planned.stages if state[stage.key].startswith("run")]
    rows = _rows(planned, state)
    missing = Counter(stage.action for stage in todo)
    # A suite has hundreds of stages: then counts per action.
    if len(rows) <= _LISTED:
        width = max(len(row["stage"]) for row in rows)
        for row in rows:
            print(f"{row['stage']:<{width}}  {row['key']}  {row['state']}")
    else:
        for action, count in Counter(stage.action for stage in planned.stages).items():
            print(f"{action:<10}  {count:>6,} stages, {missing[action]:,} to run")
    if not todo:
        print("nothing to run: all results are there")
        return
    expected = forecast(todo, store, reports)
    time = "how long they take is not known yet: none like them was timed"
    if expected.timed:
        shared = f", which {jobs} jobs share" if jobs > 1 else ""
        time = f"about {duration(expected.seconds)} on this machine{shared}, "
        time += f"from the times of {expected.timed:,} like them"
    print(f"to run: {len(todo):,} of {len(rows):,} stages; {time}")
    if expected.untimed:  # eight names fit on a line or two
        more = f" and {len(expected.untimed) - 8} more" if len(expected.untimed) > 8 else ""
        print(f"never timed here: {', '.join(expected.untimed[:8])}{more}")
    if expected.seconds > _WORTH_JOBS:
        first, *others = with_more_jobs(planned.stages, {stage.key for stage in todo}, expected.each, max(1, jobs))
        sizes = ", ".join(f"{duration(run.makespan)} with {run.workers}" for run in others)
        elsewhere = f"; where there are cores for more, {sizes}" if others else "; more would save little"
        print(f"simulated: {duration(first.makespan)} with {first.workers} job{'s' * (first.workers > 1)}{elsewhere}")


_WORTH_JOBS = 120.0  # seconds of work, below which more machines are not worth a thought
_LISTED = 200  # stages that are listed one by one
