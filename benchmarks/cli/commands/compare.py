"""`bench compare`: two detectors of a suite on the same images, with a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench compare spectrum dct --suite faces64
  bench compare spectrum dct --suite faces64 --column unseen
"""


@implemented_in("benchmarks.cli.compare")
def compare(
    a: Annotated[str, typer.Argument(help="Detector of the suite.")],
    b: Annotated[str, typer.Argument(help="Detector to compare it with.")],
    suite: Annotated[str, typer.Option("--suite", help="Finished run or suite.")],
    column: Annotated[str | None, typer.Option("--column", help="Show every cell of one column, e.g. unseen.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File of the picture. [default: pictures/SUITE/A-vs-B.svg]")
    ] = None,
    reports: options.Reports = options.REPORTS,
    as_json: options.Json = False,
) -> None:
    """Test two detectors against each other: paired on the same images, over generators and seeds, Holm-adjusted."""
