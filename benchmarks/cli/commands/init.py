"""`bench init`: a commented starter suite."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli.groups import implemented_in

# used by cli/init.py too; here, since the help names them and must not import it
GENERATORS, DETECTORS = "gan,dcgan", "dct,spectrum,trivial-cues,random"  # small, and known to work
EXAMPLES = """\b
Examples:
  bench init
  bench init mine --data path/to/photos --generator dcgan,stylegan-lite --detector dct,xception
"""


@implemented_in("benchmarks.cli.init")
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the suite; its file is NAME.yaml.")] = "suite",
    data: Annotated[
        str | None, typer.Option("--data", help="Real faces: NAME, PATH or NAME:PATH. [default: rendered]")
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", help=f"Generators, comma-separated. [default: {GENERATORS}]")
    ] = None,
    detector: Annotated[
        str | None, typer.Option("--detector", "-d", help=f"Detectors, comma-separated. [default: {DETECTORS}]")
    ] = None,
) -> None:
    """Write a commented starter suite that `bench run NAME.yaml` accepts."""
