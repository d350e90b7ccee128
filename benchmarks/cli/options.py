"""Command-line options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks import places

Store = Annotated[
    # --store wins over the variable, the variable over the default
    Path,
    typer.Option(
        "--store",
        envvar=places.STORE_VARIABLE,
        help="Folder of results and checkpoints, or address of a store elsewhere, e.g. s3://bucket/prefix.",
    ),
]
Reports = Annotated[Path, typer.Option("--reports", envvar=places.REPORTS_VARIABLE, help="Folder of the reports.")]
Device = Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda or cuda:N.")]
PrecisionName = Annotated[
    str,
    typer.Option(
        "--precision", help="Precision: fp32, bf16, or auto, by a shipped table and the processor's instructions."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="Processor threads, on which results of a training depend. [default: OMP_NUM_THREADS, else one per core]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Plugin = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        help="Class, as path/to/file.py:Class, that a run or detector needs; only named code is imported.",
    ),
]
Backward = Annotated[
    bool, typer.Option("--backward", help="Opposite direction of a translator that learned both, as cyclegan.")
]
STORE = places.STORE
REPORTS = places.REPORTS
