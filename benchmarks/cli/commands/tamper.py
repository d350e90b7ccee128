"""`bench tamper`: own photos, altered, with the mask of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench tamper retouch me.jpg
  bench tamper splice holiday/ --crop face --resolution 128 --out pictures/spliced
  bench tamper inpaint me.jpg --set methods=[patchmatch] --set 'area=[0.05, 0.1]' --seed 3
  bench tamper my.py:Mosaic me.jpg
"""


@implemented_in("benchmarks.cli.tamper")
def tamper(
    name: Annotated[
        str, typer.Argument(help="Edit: copy-move, inpaint, retouch, self-blended, splice, or path/to/file.py:Class.")
    ],
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    resolution: Annotated[int, typer.Option("--resolution", min=32, max=1024, help="Pixels a side.")] = 256,
    crop: Annotated[str, typer.Option("--crop", help="Crop: none or face.")] = "none",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the edit, as in `bench show NAME`: name=value.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the forgeries. [default: pictures/NAME]", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the edits.")] = 0,
) -> None:
    """Alter photos: write each, marked as altered, its mask, and a sheet of photo, forgery and mask."""
