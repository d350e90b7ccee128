"""`bench run`: train generators, forge faces, train detectors, score, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

# `\b` keeps click from joining the lines that follow into one paragraph. The same marker begins EXAMPLES of all
# commands.
EXAMPLES = """\b
Examples:
  bench run --generator dcgan --detector xception
  bench run -g dcgan -d xception,dct --data path/to/photos --preset quick
  bench run -g dcgan -d dct --set generator.training.kimg=100 --seed 1 --dry-run
"""


@implemented_in("benchmarks.cli.run")
def run(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUITE|FILE]",
            help="Name of a suite (`bench list suites`), or YAML file with the names of the flags; flags override it.",
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
        typer.Option("--section", help="Additional sections of the page, comma-separated; or path/to/file.py:Class."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Real faces: NAME, PATH or NAME:PATH. [default: rendered]")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Preset: smoke, quick, standard or full. [default: quick, on a GPU standard]",
            autocompletion=completion.presets,
        ),
    ] = None,
    # None, not a default: only what was given may override a suite.
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed of the whole run. [default: 0]")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Seeds of a repeated run, comma-separated, e.g. 0,1,2.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, max=20, help="Rounds of an arms race; its settings: --set race…."),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", help="Height and width in pixels. [default: the preset's]")
    ] = None,
    device: options.Device = "auto",
    precision: options.PrecisionName = "auto",
    threads: options.Threads = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run and its report folder.")] = None,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Setting and value, e.g. generator.training.kimg=100; repeatable.")
    ] = None,
    # results do not depend on the number of processes
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read photos; 0: one per core.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            envvar="BENCH_JOBS",
            help="Stages at a time, in processes; 1: in this one. [default: by cores, memory and GPUs]",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="Engine that runs the stages: local, ray or slurm. [default: local]")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address", help="Ray cluster: HOST:PORT of its head, or auto. [default: RAY_ADDRESS, else its own]"
        ),
    ] = None,
    ship_below: Annotated[
        float | None,
        typer.Option(
            "--ship-below",
            min=0,
            max=1000,
            help="MB of results that travel to Ray nodes without the store. [default: 0]",
        ),
    ] = None,
    slurm: Annotated[
        str | None, typer.Option("--slurm", help="Options of Slurm's jobs, e.g. partition=gpu,time=120 (minutes).")
    ] = None,
    show_real: Annotated[bool, typer.Option("--show-real", help="Embed photos of --data in the report.")] = False,
    external: Annotated[
        list[str] | None,
        typer.Option(
            "--external",
            help="Test also on photos from elsewhere: NAME=ROOT, a public test set of known layout, or "
            "NAME=REAL_DIR,FORGED_DIR, localisers with ,MASK_DIR or ,column:NAME behind; repeatable.",
        ),
    ] = None,
    forged: Annotated[
        list[str] | None,
        typer.Option(
            "--forged",
            help="Forgeries that are files, as a generator: NAME=ROOT or NAME:FAMILY=ROOT, a folder of images or a "
            "public set; repeatable.",
        ),
    ] = None,
    attribute: Annotated[
        bool, typer.Option("--attribute", help="Tell which generator made an image, by each detector's features.")
    ] = False,
    track: Annotated[
        Path | None, typer.Option("--track", help="Folder for TensorBoard events of the trainings (extra `track`).")
    ] = None,
    plugin: options.Plugin = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a report of this name that another command or other photos made.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages and their state without running them.")
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train generators, forge faces, train detectors, score them, write a report."""
