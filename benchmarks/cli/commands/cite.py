"""`bench cite`: a methods paragraph and BibTeX of a finished run."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench cite faces64
  bench cite faces64 --format latex > methods.tex
  bench cite faces64 --format bibtex > run.bib
"""


@implemented_in("benchmarks.cli.cite")
def cite(
    run: Annotated[
        str,
        typer.Argument(help="Name of a finished run, or its report folder.", autocompletion=completion.runs),
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", help="Part: text, latex (the paragraphs) or bibtex. [default: text, then bibtex]"),
    ] = None,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Print how a run was made, for the methods section of a paper, and what to cite."""
