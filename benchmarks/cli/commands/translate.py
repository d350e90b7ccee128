"""`bench translate`: forgeries of own photos by a trained translator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench translate my-run me.jpg --generator pix2pix:colour
  bench translate my-run holiday/ --crop face --out pictures/coloured -g pix2pix:colour
  bench translate path/to/trained-generator me.jpg
  bench translate my-run me.jpg -g cyclegan --backward
"""


@implemented_in("benchmarks.cli.translate")
def translate(
    name: Annotated[str, typer.Argument(help="Finished run, or directory of a trained translator.")],
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", help="Translator of the run. [default: its only one]")
    ] = None,
    crop: Annotated[str, typer.Option("--crop", help="Crop: none, face or ff++.")] = "none",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the forgeries. [default: pictures/RUN/GENERATOR]")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the conditions.")] = 0,
    backward: options.Backward = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Translate photos: write the forgery of each, marked as forged, and a sheet of photo, condition and forgery."""
