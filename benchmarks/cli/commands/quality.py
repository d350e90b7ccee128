"""`bench quality`: how good a set of forged faces is, beside what held-out real faces would get."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench quality dcgan
  bench quality "dcgan #1"              (seed 1 of a run with several seeds)
  bench quality path/to/forged --against path/to/real -n 2000
  bench quality path/to/real            (the floor alone: held-out reals)
"""


@implemented_in("benchmarks.cli.quality")
def quality(
    faces: Annotated[
        str, typer.Argument(metavar="SET", help="FaceSet directory, a generator in the store, or zoo:NAME.")
    ],
    against: Annotated[
        Path | None, typer.Option("--against", help="Real FaceSet. [default: what the generator was trained on]")
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=16, help="Images per side.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of all draws.")] = 0,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Metrics of plug-ins, comma-separated: names or path/to/file.py:Class."),
    ] = None,
    fid: Annotated[Path | None, typer.Option("--fid", help="Inception weights of torch-fidelity (.pth).")] = None,
    usefulness: Annotated[
        bool,
        typer.Option(help="Train label classifiers on forgeries that have labels; about a minute a column."),
    ] = True,
    store: options.Store = options.STORE,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure forged faces against the real ones they imitate: likeness, diversity, copies, faces found."""
