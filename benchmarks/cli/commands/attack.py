"""`bench attack`: own photos, changed so that a detector takes them for the other class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench attack dcgan-npr-rendered-quick forged.png
  bench attack dcgan-npr-rendered-quick forged/ --kind apgd --epsilon 2 --out pictures/attacked
  bench attack dcgan-npr-rendered-quick me.jpg --aim frame --kind square --set queries=2000
  bench attack dcgan-dct-rendered-quick forged.png --kind my.py:Blur
"""


@implemented_in("benchmarks.cli.attack")
def attack(
    run: options.DetectorRun,
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="Attack: fgsm, pgd, apgd, patch, square (`bench list attacks`), or path/to/file.py:Class."
        ),
    ] = "pgd",
    epsilon: Annotated[
        float,
        typer.Option("--epsilon", help="Largest change in grey levels, of 255; patch has none."),
    ] = 4.0,
    aim: Annotated[
        str, typer.Option("--aim", help="Aim: evade, to be taken for real; frame, to be taken for forged.")
    ] = "evade",
    detector: options.Detector = None,
    trained_on: options.TrainedOn = None,
    crop: options.Crop = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the attack, as in `bench show KIND`: name=value.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the images. [default: pictures/RUN/KIND]", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the attack.")] = 0,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
) -> None:
    """Change images within a budget against a detector: write each, marked as altered, and a sheet of the changes."""
