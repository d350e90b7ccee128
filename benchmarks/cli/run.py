"""`bench run`: train generators, forge faces, train detectors, score, report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from benchmarks.cli import completion, options

if TYPE_CHECKING:
    from benchmarks.workflow.runner import PlannedRun, RunOutcome
    from benchmarks.workflow.store import Store
    from forge.compute import Compute, PrecisionAsked


EXAMPLES = """\b
Examples:
  bench run --generator dcgan --detector xception
  bench run -g dcgan -d xception,dct --data path/to/photos --preset quick
  bench run -g dcgan -d dct --set generator.training.kimg=100 --seed 1 --dry-run
"""


def run(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUITE|FILE]",
            help="A shipped suite (`bench list suites`), or a YAML file with the names of the flags; flags win.",
            show_default=False,
            autocompletion=completion.suites,
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator",
            "-g",
            help="Generators, comma-separated; or path/to/file.py:Class.",
            autocompletion=completion.generators,
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            "--detector",
            "-d",
            help="Detectors, comma-separated; or path/to/file.py:Class.",
            autocompletion=completion.detectors,
        ),
    ] = None,
    add_generator: Annotated[
        str | None,
        typer.Option(
            "--add-generator", help="Generators beside those of the suite.", autocompletion=completion.generators
        ),
    ] = None,
    add_detector: Annotated[
        str | None,
        typer.Option(
            "--add-detector", help="Detectors beside those of the suite.", autocompletion=completion.detectors
        ),
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option("--condition", help="Label columns for conditional generators, comma-separated, e.g. gender."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", help="Metrics beside those of the protocol, comma-separated; or path/to/file.py:Class."
        ),
    ] = None,
    section: Annotated[
        str | None,
        typer.Option(
            "--section", help="Sections of the page beside the shipped ones, comma-separated; or path/to/file.py:Class."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Real faces: NAME, PATH or NAME:PATH. [default: rendered]")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="smoke, quick, standard or full. [default: quick, on a GPU standard]",
            autocompletion=completion.presets,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed of the whole run. [default: 0]")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Seeds of a repeated run, comma-separated, e.g. 0,1,2.")
    ] = None,
    resolution: Annotated[int | None, typer.Option("--resolution", help="Pixels. [default: the preset's]")] = None,
    device: options.Device = "auto",
    precision: options.PrecisionName = "auto",
    threads: options.Threads = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run and its report folder.")] = None,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, e.g. generator.training.kimg=100; repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read photos; 0: one a core.")] = 0,
    show_real: Annotated[bool, typer.Option("--show-real", help="Embed photos of --data in the report.")] = False,
    external: Annotated[
        list[str] | None,
        typer.Option("--external", help="Also test on NAME=REAL_DIR,FORGED_DIR, which nobody here made; repeatable."),
    ] = None,
    track: Annotated[
        Path | None, typer.Option("--track", help="Folder for TensorBoard events of the trainings (extra `track`).")
    ] = None,
    plugin: options.Plugin = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a report of this name, of another command or other photos.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and why.")] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train generators, forge faces, train detectors, score them, write a report."""
    from forge.compute import tune_allocator

    tune_allocator()  # before torch allocates anything
    from benchmarks.experiment.configs import find_suite, parse_assignments
    from benchmarks.experiment.request import changed, each_source, parse_pairs, read_request
    from benchmarks.experiment.resolve import resolve
    from benchmarks.experiment.settings import RunRequest
    from benchmarks.report.publish import refuse_foreign, refuse_other_request
    from benchmarks.workflow.disk import check_places, check_room
    from benchmarks.workflow.runner import execute_run, prepare_run
    from benchmarks.workflow.store import Store
    from forge.compute import PRECISIONS, Compute, choose_device, cores, default_threads, set_threads
    from forge.errors import BenchError, UnknownNameError

    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    compute = Compute(_own_gpu(choose_device(device)), cast("PrecisionAsked", precision), threads or default_threads())
    set_threads(compute.threads)
    chosen = compute.device
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
        "resolution": resolution,
        "name": name,
        "show_real": show_real or None,
        "external": parse_pairs(external or ()),
        "set": parse_assignments(assignments or []),
    }
    suite = find_suite(file) if file else None
    request, notes = changed(read_request(suite) if suite else RunRequest(), flags)
    parts = each_source(request, suite.stem if suite else "run")
    every = [resolve(part, device=chosen, file=suite) for part in parts]
    check_places(store=store, reports=reports)
    check_room(every, store)
    place = Store(store)
    runs = [prepare_run(settings, memory=place.root / "plans", compute=compute) for settings in every]
    for settings in every:
        refuse_foreign(reports / settings.name)
    if dry_run:
        _print_plans(runs, place, reports, as_json=json)
        return
    for planned in () if overwrite else runs:
        refuse_other_request(reports / planned.settings.name, planned.settings.request, planned.photos)
    from benchmarks.cli.outcome import print_outcomes
    from benchmarks.report.run_report import RunReport
    from benchmarks.terminal import observer_for

    if int(os.environ.get("RANK", "0")):
        for planned in runs:
            _follow(planned, compute)
        return
    outcomes: list[RunOutcome] = []
    for planned in runs:
        with observer_for(quiet=quiet or json) as observer:
            for note in notes:
                observer.noted(note)
            if preset is None:
                observer.noted(f"preset {planned.settings.preset} (on {chosen}); --preset chooses another")
            if len(runs) > 1:
                observer.noted(f"{planned.settings.name}, {len(outcomes) + 1} of {len(runs)} sources")
            outcomes.append(
                execute_run(
                    planned,
                    store=place,
                    reports=reports,
                    compute=compute,
                    workers=workers or cores(),
                    observer=observer,
                    track=track,
                )
            )
    print_outcomes([RunReport(outcome.report) for outcome in outcomes], quiet=quiet, as_json=json)
    if failures := [failure for outcome in outcomes for failure in outcome.failures]:
        several = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise BenchError(f"{failures[0]}{several}; the report is there without; the same command tries again")


def _own_gpu(device: str) -> str:
    """Of several GPUs, the one that `torchrun` gives this process."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


def _follow(planned: PlannedRun, compute: Compute) -> None:
    """Join the first process in its trainings; it alone writes and reports."""
    from benchmarks.workflow.stage import Context
    from benchmarks.workflow.stages.train import follow
    from forge.progress import silent

    follow(Context(planned.source, compute, 1, silent))


def _print_plans(runs: Sequence[PlannedRun], store: Store, reports: Path, *, as_json: bool) -> None:
    import json

    from benchmarks.workflow.engines.local import status

    states = [status(planned.stages, store) for planned in runs]
    if as_json:
        found = [_rows(planned, state) for planned, state in zip(runs, states, strict=True)]
        print(json.dumps(found[0] if len(found) == 1 else found, indent=1))
        return
    for planned, state in zip(runs, states, strict=True):
        if len(runs) > 1:
            print(f"{planned.settings.name}:")
        _print_plan(planned, state, store, reports)


def _rows(planned: PlannedRun, state: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"stage": stage.name, "key": stage.key[:16], "state": state[stage.key]} for stage in planned.stages]


def _print_plan(planned: PlannedRun, state: Mapping[str, str], store: Store, reports: Path) -> None:
    from benchmarks.measures.numbers import duration
    from benchmarks.workflow.forecast import forecast

    todo = [stage for stage in planned.stages if state[stage.key].startswith("run")]
    expected = forecast(todo, store, reports)
    rows = _rows(planned, state)
    if len(rows) <= _LISTED:
        width = max(len(row["stage"]) for row in rows)
        for row in rows:
            print(f"{row['stage']:<{width}}  {row['key']}  {row['state']}")
    else:
        for kind in dict.fromkeys(stage.kind for stage in planned.stages):
            of_kind = [stage for stage in planned.stages if stage.kind == kind]
            missing = sum(stage in todo for stage in of_kind)
            print(f"{kind:<10}  {len(of_kind):>6,} stages, {missing:,} to run")
    if not todo:
        print("nothing to run: all results are there")
        return
    time = "how long they take is not known yet: none like them was timed"
    if expected.timed:
        time = f"about {duration(expected.seconds)} on this machine, from the times of {expected.timed:,} like them"
    print(f"to run: {len(todo):,} of {len(rows):,} stages; {time}")
    if expected.untimed:
        more = f" and {len(expected.untimed) - 8} more" if len(expected.untimed) > 8 else ""
        print(f"never timed here: {', '.join(expected.untimed[:8])}{more}")


_LISTED = 200  # stages that are listed one by one
