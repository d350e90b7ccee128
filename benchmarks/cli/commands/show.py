"""`bench show`: what a name stands for, how a finished run came out, what a trained generator makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench show dcgan --preset quick
  bench show dcgan-xception-rendered-quick
  bench show dcgan-xception-rendered-quick --generator dcgan
  bench show dcgan-xception-rendered-quick -g dcgan@24k --out pictures/early --seed 1
"""


@implemented_in("benchmarks.cli.show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Generator, detector, source, finished run, zoo:NAME, or directory of a trained generator."
        ),
    ],
    preset: Annotated[str, typer.Option("--preset", help="Show settings as of this preset.")] = "quick",
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator", "-g", help="Generator of the run, e.g. dcgan or dcgan@24k: write pictures of its faces."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the pictures. [default: pictures/RUN/GENERATOR]")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the pictures' latents.")] = 0,
    animation: Annotated[
        str, typer.Option("--format", help="Format of the animation: gif, or apng (lossless).")
    ] = "gif",
    against: Annotated[
        Path | None, typer.Option("--against", help="FaceSet it was trained on: show the forgeries nearest to a photo.")
    ] = None,
    backward: options.Backward = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Show settings, the table of a finished run, or pictures of a trained generator's faces."""
