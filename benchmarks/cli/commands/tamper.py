"""`bench tamper`: own photos, altered, with the mask of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench tamper retouch me.jpg
  bench tamper splice holiday/ --crop face --resolution 128 --out pictures/spliced
  bench tamper inpaint me.jpg --set methods=[patchmatch] --set 'area=[0.05, 0.1]' --seed 3
  bench tamper my.py:Mosaic me.jpg
  bench tamper edit:dcgan me.jpg --run my-run --crop face --set strength=[2,3]
"""


@implemented_in("benchmarks.cli.tamper")
def tamper(
    name: Annotated[
        str,
        typer.Argument(
            help="Edit: copy-move, inpaint, retouch, self-blended, splice, path/to/file.py:Class; with --run also "
            "edit:NAME, inversion:NAME."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    resolution: Annotated[
        int | None,
        typer.Option(
            "--resolution",
            min=32,
            max=1024,
            help="Pixels a side. [default: 256; with --run those of the generator]",
            show_default=False,
        ),
    ] = None,
    crop: Annotated[str, typer.Option("--crop", help="Crop: none, face or ff++.")] = "none",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the edit, as in `bench show NAME`: name=value.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the forgeries. [default: pictures/NAME]", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the edits.")] = 0,
    run: Annotated[
        str | None, typer.Option("--run", help="Finished run whose generator edit:NAME and inversion:NAME invert.")
    ] = None,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Alter photos: write each, marked as altered, its mask, and a sheet of photo, forgery and mask."""
