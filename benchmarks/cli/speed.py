"""`bench speed`: how fast this machine is, and how much faster than plain code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.streams import console as open_console


def speed(
    only: Annotated[str | None, typer.Option("--only", help="Comma-separated names of measurements.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    photos: Annotated[str | None, typer.Option("--photos", help="Source for the measurement of prepare.")] = None,
    merge: Annotated[
        list[Path] | None, typer.Option("--merge", help="results.json of `make gpu`, taken into reports/speed.md.")
    ] = None,
) -> None:
    """Measure start-up, whole runs, rendering, preparing, training and scoring; minutes in all."""
    if merge:
        from benchmarks.speed.gpu.merge import merge as merge_runs

        for path in merge_runs(merge, Path.cwd()):
            print(path)
        return
    from forge.compute import tune_allocator

    tune_allocator()
    from rich.table import Table

    from benchmarks.speed.measurements import MEASUREMENTS, Figure
    from forge.errors import UnknownNameError
    from forge.files import write_json

    names = [name.strip() for name in only.split(",")] if only else list(MEASUREMENTS)
    for name in names:
        if name not in MEASUREMENTS:
            raise UnknownNameError("measurement", name, MEASUREMENTS)
    figures: list[Figure] = []
    for name in names:
        print(f"{name} …", flush=True)
        figures += MEASUREMENTS[name](photos)
    table = Table(title="bench speed", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_column("how", overflow="fold")
    for figure in figures:
        digits = 0 if figure.value >= 100 else 1 if figure.value >= 10 else 2
        table.add_row(figure.what, f"{figure.value:,.{digits}f} {figure.unit}", figure.how)
    open_console().print(table)
    if json:
        write_json(json, [vars(figure) for figure in figures])
