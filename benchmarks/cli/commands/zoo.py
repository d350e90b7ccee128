"""`bench zoo`: publish trained generators and detectors under names of their own, and add those of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench list zoo
  bench run -g zoo:stylegan-lite-64 -d npr
  bench detect zoo:npr-64 me.jpg
  bench zoo publish faces64 dcgan stylegan-lite npr
  bench zoo publish faces64 dcgan --out members --archive zoo.zip
  bench zoo add zoo.zip
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, epilog=EXAMPLES)


@app.callback()
def main() -> None:
    """Publish trained generators and detectors as zoo:NAME, and add those of others; bench list zoo shows them."""


@app.command("publish")
@implemented_in("benchmarks.cli.zoo")
def publish(
    run: Annotated[
        str, typer.Argument(help="Name of a finished run, or its report folder.", autocompletion=completion.runs)
    ],
    names: Annotated[list[str], typer.Argument(help="Generators and detectors of the run.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder that receives a folder per member. [default: your zoo]")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the member, if one is published. [default: NAME-PIXELS]")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Pack them into this file too, .zip or .tar.")
    ] = None,
    cards: Annotated[
        Path | None,
        typer.Option("--cards", help="Write their cards here too, without weights, and a picture of their faces."),
    ] = None,
    trained_on: options.TrainedOn = None,
    n: Annotated[int, typer.Option("-n", min=16, help="Images a side for the quality of a generator.")] = 1000,
    largest: Annotated[float, typer.Option("--largest", min=0.01, help="Megabytes that a member may have.")] = 8.0,
    show_real: Annotated[
        bool,
        typer.Option("--show-real", help="Publish samples of translators, which show the photos' faces altered."),
    ] = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
) -> None:
    """Write members of the zoo: half-precision weights, samples, quality beside its reference, and a card."""


@app.command("add")
@implemented_in("benchmarks.cli.zoo")
def add(
    file: Annotated[Path, typer.Argument(help="Archive of members, .zip or .tar.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace other members of the same names.")] = False,
) -> None:
    """Unpack an archive into your zoo: $BENCH_ZOO, else zoo/ in the folder of the store."""
