"""`bench submit`: rank a detector that cannot be run here, from its scores alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench export images faces64 --out for-the-authors
  bench submit theirs.csv --suite faces64 --name theirs
"""


@implemented_in("benchmarks.cli.submit")
def submit(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: columns image and score, higher for forged.")],
    suite: Annotated[str, typer.Option("--suite", help="Finished run or suite whose test images were scored.")],
    name: Annotated[str, typer.Option("--name", help="Name of the detector in tables.")],
    reports: options.Reports = options.REPORTS,
) -> None:
    """Put a detector into the leaderboard of a suite from its scores of the test images (`bench export images`)."""
