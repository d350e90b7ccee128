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
DetectorRun = Annotated[
    str,
    typer.Argument(
        help="Name of a finished run (`bench list runs` shows them), zoo:NAME (`bench list zoo`), or folder of a "
        "detector with detector.json."
    ),
]
Detector = Annotated[str | None, typer.Option("--detector", "-d", help="Detector of the run. [default: its leader]")]
TrainedOn = Annotated[
    str | None, typer.Option("--trained-on", help="Training of the detector. [default: on the most generators]")
]
MaxFpr = Annotated[
    float | None,
    typer.Option(
        "--max-fpr",
        help="Largest share of real validation images called forged, e.g. 0.01. [default: the run's threshold]",
        show_default=False,
    ),
]
Discriminators = Annotated[
    list[str] | None,
    typer.Option(
        "--generator", "-g", help="Class, as path/to/file.py:Class, whose discriminator the detector contains."
    ),
]
Crop = Annotated[
    str | None, typer.Option("--crop", help="Crop: none, face or ff++. [default: as the run did, or none]")
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
