"""`bench speed`: how fast this machine is, and how much faster than plain code."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.speed.figure import Figure
from benchmarks.speed.gpu.merge import merge as merge_runs
from benchmarks.speed.measurements import MEASUREMENTS
from forge.core.compute import tune_allocator
from forge.core.errors import UnknownNameError
from forge.core.files import write_json


def speed(only: str | None, json_file: Path | None, photos: str | None, merge: list[Path] | None) -> None:
    """Measure start-up, whole runs, rendering, preparing, training and scoring; minutes in all."""
    if merge:
        for path in merge_runs(merge, Path.cwd()):
            print(path)
        return
    tune_allocator()
    # an unknown name before the first measurement, which takes minutes
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
        digits = 0 if figure.value >= 100 else 1 if figure.value >= 10 else 2  # three significant digits below 1,000
        table.add_row(figure.what, f"{figure.value:,.{digits}f} {figure.unit}", figure.how)
    open_console().print(table)
    if json_file:
        write_json(json_file, [vars(figure) for figure in figures])
