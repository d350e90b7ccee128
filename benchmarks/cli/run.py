"""`bench run`: train generators, forge faces, train detectors, score, report."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import click
import typer

from benchmarks.cli import completion, options

if TYPE_CHECKING:
    from benchmarks.pipeline.run import PlannedRun, RunOutcome
    from benchmarks.pipeline.settings import RunSettings
    from benchmarks.pipeline.store import Store
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
    condition: Annotated[
        str | None,
        typer.Option("--condition", help="Label columns for conditional generators, comma-separated, e.g. gender."),
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
        int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Of all randomness. [default: 0]")
    ] = None,
    resolution: Annotated[int | None, typer.Option("--resolution", help="Pixels. [default: the preset's]")] = None,
    device: options.Device = "auto",
    precision: options.PrecisionName = "auto",
    name: Annotated[str | None, typer.Option("--name", help="Of the run and its report folder.")] = None,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and why.")] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train generators, forge faces, train detectors, score them, write a report."""
    from forge.compute import tune_allocator

    tune_allocator()  # before torch allocates anything
    from benchmarks.pipeline.configs import find_suite
    from benchmarks.pipeline.run import execute_run, prepare_run, refuse_foreign
    from benchmarks.pipeline.store import Store
    from forge.compute import PRECISIONS, Compute, choose_device
    from forge.errors import BenchError, InputError, UnknownNameError

    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    chosen = _own_gpu(choose_device(device))
    flags = {
        "generator": generator,
        "detector": detector,
        "condition": condition,
        "data": data,
        "preset": preset,
        "seed": seed,
        "resolution": resolution,
        "name": name,
    }
    suite = find_suite(file) if file else None
    every = [
        gather(suite, flags | part, assignments or [], chosen, show_real=show_real, pairs=external or ())
        for part in _parts(suite, data, name)
    ]
    for option, folder in (("--store", store), ("--reports", reports)):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{option} {folder} is not a folder; choose another place")
    place = Store(store)
    runs = [prepare_run(settings, memory=place.root / "plans") for settings in every]
    compute = Compute(chosen, cast("PrecisionAsked", precision), store / "precision.json")
    for settings in every:
        refuse_foreign(reports / settings.name)
    if dry_run:
        _print_plans(runs, place, reports, as_json=json)
        return
    from benchmarks.cli.outcome import print_outcomes
    from benchmarks.cli.terminal import observer_for

    if int(os.environ.get("RANK", "0")):
        for planned in runs:
            _follow(planned, compute)
        return
    outcomes: list[RunOutcome] = []
    for planned in runs:
        with observer_for(quiet=quiet or json) as observer:
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
                    workers=workers or _cores(),
                    observer=observer,
                    track=track,
                )
            )
    print_outcomes([outcome.report for outcome in outcomes], quiet=quiet, as_json=json)
    if failures := [failure for outcome in outcomes for failure in outcome.failures]:
        several = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise BenchError(f"{failures[0]}{several}; the report is there without; the same command tries again")


def _parts(suite: Path | None, data: str | None, name: str | None) -> list[dict[str, str]]:
    """What flags are in each run of a suite with several sources: the source, and a report's name of its own."""
    from benchmarks.pipeline.configs import read_yaml, validated
    from benchmarks.pipeline.settings import RunFile, safe_name, source_name

    if suite is None or data is not None:
        return [{}]
    sources = validated(RunFile, read_yaml(suite), where=str(suite)).sources
    if len(sources) < 2:
        return [{"data": source} for source in sources] or [{}]
    return [{"data": one, "name": f"{name or suite.stem}-{safe_name(source_name(one))}"} for one in sources]


def _own_gpu(device: str) -> str:
    """Of several GPUs, the one that `torchrun` gives this process."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


def _follow(planned: PlannedRun, compute: Compute) -> None:
    """Join the first process in its trainings; it alone writes and reports."""
    from benchmarks.pipeline.face_stages import follow
    from benchmarks.pipeline.job import Context
    from forge.progress import silent

    follow(Context(planned.source, compute, 1, silent))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gather(
    file: Path | None,
    flags: dict[str, Any],
    assignments: list[str],
    device: str,
    *,
    show_real: bool,
    pairs: Sequence[str] | Mapping[str, tuple[str, str]] = (),
) -> RunSettings:
    """Settings from a YAML file, flags and `--set`; flags win.

    Args:
        file: the YAML file.
        flags: values by name, None where not given.
        assignments: of `--set`.
        device: that will compute.
        show_real: embed photos in the report.
        pairs: texts of `--external`, or name -> folders of real and of forged photos.

    Raises:
        InputError: a value that cannot be; a YAML file that names code.
    """
    from benchmarks.measures.results import PROTOCOL_VERSION
    from benchmarks.pipeline.configs import merged, parse_assignments, read_yaml, validated
    from benchmarks.pipeline.settings import RunFile, compose
    from forge.errors import InputError
    from forge.registry import is_file_reference

    stored = validated(RunFile, read_yaml(file), where=str(file)) if file else RunFile()
    for names in (stored.generator, stored.detector):
        for entry in [names] if isinstance(names, str) else names or []:
            if is_file_reference(entry):
                raise InputError(f"{file} names the file {entry!r}; a YAML never imports code: give it as a flag")
    given = {key: value for key, value in flags.items() if value is not None}
    if stored.sources and (stored.data or "data" not in given):
        raise InputError(
            f"{file} names both data and sources; keep one"
            if stored.data
            else f"{file} names several sources, which `bench run` runs one after another; here give data, one of: "
            f"{', '.join(stored.sources)}"
        )
    left = {"set", "conditions", "external", "title", "protocol", "sources"}
    asked = stored.model_dump(exclude=left, exclude_none=True) | given
    named = dict(pairs) if isinstance(pairs, Mapping) else dict(map(_pair, pairs))
    absent = [(label, part) for label, folders in named.items() for part in folders if not Path(part).is_dir()]
    for label, part in absent[:1]:
        raise InputError(f"--external {label}: there is no folder {part}")
    external = stored.external | named
    if stored.protocol not in (None, PROTOCOL_VERSION):
        raise InputError(
            f"{file} is written for protocol {stored.protocol}; this version measures by protocol {PROTOCOL_VERSION}"
        )
    if "seed" in given:
        asked.pop("seeds", None)
    preset = asked.get("preset") or ("quick" if device == "cpu" else "standard")
    preset_too = {} if stored.preset else {"preset": preset}  # what the device chose here it may not choose elsewhere
    of_file = merged(stored.set, {"conditions": stored.conditions} if stored.conditions else {})
    overrides = merged(of_file, parse_assignments(assignments))
    return compose(
        generators=_names(asked.get("generator"), "generator"),
        detectors=_names(asked.get("detector"), "detector"),
        condition=_names(asked["condition"], "condition") if "condition" in asked else (),
        preset=preset,
        seed=asked.get("seed", 0),
        seeds=asked.get("seeds", ()),
        source=asked.get("data", "rendered"),
        resolution=asked.get("resolution"),
        name=asked.get("name") or (file.stem if file and stored.seeds else None),
        overrides=overrides,
        external=external,
        show_real=show_real,
        command=_command(asked | {"preset": preset}, of_file, assignments, show_real, external)
        if file is None or not stored.seeds
        else _again(file, given | preset_too, assignments, show_real, named),
    )


def gather_again(command: str, data: str | None, device: str) -> RunSettings:
    """The settings of a published run from the command that its report names.

    Args:
        command: `bench run …`.
        data: where the real faces lie here; None: where the command says.
        device: that will compute.

    Raises:
        InputError: the command cannot be read by this version.
    """
    from benchmarks.pipeline.configs import find_suite
    from forge.errors import InputError

    alone = typer.Typer()
    alone.command("run")(run)
    try:
        given = typer.main.get_command(alone).make_context("run", shlex.split(command)[2:]).params
    except click.UsageError as error:
        raise InputError(f"the report's command {command!r} is not understood: {error.message}") from error
    names = ("generator", "detector", "condition", "data", "preset", "seed", "resolution", "name")
    flags = {name: given[name] for name in names} | ({"data": data} if data else {})
    return gather(
        find_suite(given["file"]) if given["file"] else None,
        flags,
        given["assignments"] or [],
        device,
        show_real=given["show_real"],
        pairs=given["external"] or (),
    )


def _names(value: str | list[str] | None, option: str) -> list[str]:
    from forge.errors import InputError

    entries = value.split(",") if isinstance(value, str) else value or []
    names = [entry.strip() for entry in entries if entry.strip()]
    if not names:
        raise InputError(f"no {option} was named; give --{option} NAME (`bench list {option}s` shows all)")
    if len(set(names)) < len(names):
        raise InputError(f"--{option} names {max(names, key=names.count)!r} twice; once is enough")
    return names


def _pair(text: str) -> tuple[str, tuple[str, str]]:
    """NAME=REAL_DIR,FORGED_DIR as a name and two folders."""
    from forge.errors import InputError

    name, equals, folders = text.partition("=")
    commas = [at for at, letter in enumerate(folders) if letter == ","]
    splits = [(folders[:at], folders[at + 1 :]) for at in commas]
    splits = [(real, forged) for real, forged in splits if real and forged]
    if not (name and equals and splits):
        raise InputError(f"--external {text!r} must look like NAME=REAL_DIR,FORGED_DIR, two folders of photos")
    there = [(real, forged) for real, forged in splits if Path(real).is_dir() and Path(forged).is_dir()]
    if len(there) > 1:
        raise InputError(f"--external {name} can be read in {len(there)} ways; give it as external in a YAML file")
    return name, (there or splits)[0]  # folder names may hold commas


def _again(
    file: Path,
    given: dict[str, Any],
    assignments: list[str],
    show_real: bool,
    external: Mapping[str, tuple[str, str]],
) -> str:
    """The command that runs a suite again: what the file says need not be repeated."""
    from benchmarks.pipeline.configs import suites

    name = file.stem if suites().get(file.stem) == file else str(file)
    return _command(given, {}, assignments, show_real, external).replace(
        "bench run", f"bench run {shlex.quote(name)}", 1
    )


def _command(
    asked: dict[str, Any],
    stored: dict[str, Any],
    assignments: list[str],
    show_real: bool,
    external: Mapping[str, tuple[str, str]],
) -> str:
    """The command that makes this run again, whatever file and defaults it came from."""
    from benchmarks.pipeline.configs import as_assignments

    parts = ["bench", "run"]
    for key, value in asked.items():
        parts += [f"--{key}", ",".join(value) if isinstance(value, list) else str(value)]
    for assignment in [*as_assignments(stored), *assignments]:
        parts += ["--set", assignment]
    for name, (real, forged) in external.items():
        parts += ["--external", f"{name}={real},{forged}"]
    return shlex.join([*parts, "--show-real"] if show_real else parts)


def _print_plans(runs: Sequence[PlannedRun], store: Store, reports: Path, *, as_json: bool) -> None:
    import json

    from benchmarks.pipeline.engines.local import survey

    states = [survey(planned.stages, store) for planned in runs]
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
    from benchmarks.pipeline.forecast import forecast
    from benchmarks.report.numbers import duration

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
    print(f"to run: {len(todo):,} of {len(rows):,} stages; about {duration(expected.seconds)} on this machine, "
          f"from the times of {expected.timed:,} like them")  # fmt: skip
    if expected.untimed:
        more = f" and {len(expected.untimed) - 8} more" if len(expected.untimed) > 8 else ""
        print(f"never timed here: {', '.join(expected.untimed[:8])}{more}")


_LISTED = 200  # stages that are listed one by one
