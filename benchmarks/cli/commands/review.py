"""`bench review`: what the table of a finished run can carry, as answers to the questions of a reviewer."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench review faces64
  bench review faces64 --format md > review.md
"""


@implemented_in("benchmarks.cli.review")
def review(
    run: Annotated[
        str,
        typer.Argument(help="Name of a finished run, or its report folder.", autocompletion=completion.runs),
    ],
    form: Annotated[str, typer.Option("--format", help="Format: table, md or json.")] = "table",
    reports: options.Reports = options.REPORTS,
) -> None:
    """Answer what a reviewer asks of a table: chance, parts of the uncertainty, ranks elsewhere, audits, limits."""
