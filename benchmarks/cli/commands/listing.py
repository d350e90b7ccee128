"""`bench list`: the names that other verbs take."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in


@implemented_in("benchmarks.cli.listing")
def list_names(
    category: Annotated[
        str,
        typer.Argument(
            help="Names: generators, detectors, attacks, metrics, sections, perturbations, sources, layouts, suites, "
            "runs, zoo."
        ),
    ],
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Detectors: count parameters too (seconds; remembered in the store).")
    ] = False,
    as_json: options.Json = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """List generators, detectors, attacks, metrics, sections, perturbations, sources, layouts, suites, runs, or zoo."""
