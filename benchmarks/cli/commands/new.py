"""`bench new`: a working generator, detector or attack of one file, with its tests, to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench new generator my_gan
  bench new detector my_detector --out plugins
  bench new attack my_attack
"""


@implemented_in("benchmarks.cli.new")
def new(
    template: Annotated[str, typer.Argument(help="Template: generator, detector or attack.")],
    name: Annotated[
        str, typer.Argument(help="Name of the file and its class: my_gan makes my_gan.py with class MyGan.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the files.")] = Path(),
) -> None:
    """Write NAME.py, a small working generator, detector or attack, and test_NAME.py, which says what it must keep."""
