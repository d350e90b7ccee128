"""Command-line options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[
    Path, typer.Option("--store", envvar="BENCH_HOME", help="Where results and checkpoints lie.", show_default=True)
]
Reports = Annotated[Path, typer.Option("--reports", help="Where report folders go.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
PrecisionName = Annotated[
    str, typer.Option("--precision", help="auto (measured once a network and machine), fp32 or bf16.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Plugin = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="path/to/file.py:Class of the run; only code that is named is imported."),
]
STORE = Path("runs")
REPORTS = Path("reports")
