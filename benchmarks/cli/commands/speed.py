"""`bench speed`: how fast this machine is, and how much faster than plain code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.groups import implemented_in


@implemented_in("benchmarks.cli.speed")
def speed(
    only: Annotated[str | None, typer.Option("--only", help="Measurements, comma-separated.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write the figures to as well.")] = None,
    photos: Annotated[str | None, typer.Option("--photos", help="Source for the measurement of prepare.")] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option("--merge", help="Files results.json of `make gpu`, taken into reports/speed.md."),
    ] = None,
) -> None:
    """Measure start-up, whole runs, rendering, preparing, training and scoring; minutes in all."""
