"""`bench serve`: runs and reports in a browser, and detectors that answer for a photo dropped there."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench serve
  bench serve --port 0 --reports other/reports
  bench serve --detector meso4-published
  bench serve --host 0.0.0.0
"""


@implemented_in("benchmarks.cli.serve")
def serve(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 8000,  # 0 is printed with the port that the system chose
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; 0.0.0.0 lets everybody in the network in.")
    ] = "127.0.0.1",
    detector: Annotated[
        list[str] | None,
        typer.Option(
            "--detector", "-d", help="Folder with detector.json to offer too, or path/to/file.py:Class of a run's."
        ),
    ] = None,
    generator: Annotated[
        list[str] | None,
        typer.Option(
            "--generator", "-g", help="Class, as path/to/file.py:Class, whose discriminator a detector contains."
        ),
    ] = None,
    max_mb: Annotated[float, typer.Option("--max-mb", min=0.01, max=100, help="Size of a photo's file.")] = 10,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", min=0.01, max=100, help="Size of a photo, before it is decoded.")
    ] = 40,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
) -> None:
    """Show all runs and reports in a browser, and try a detector on a photo; for this machine alone unless --host.

    Photos stay in memory: they are neither stored nor logged.
    """
