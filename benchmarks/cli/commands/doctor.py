"""`bench doctor`: what this machine has, and what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in


@implemented_in("benchmarks.cli.doctor")
def doctor(
    measure: Annotated[
        bool, typer.Option("--measure", help="Time every network in fp32 and bf16 and propose a table; minutes.")
    ] = False,
    as_json: options.Json = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Check versions, devices, precision, disk and places; says what is missing and what to do."""
