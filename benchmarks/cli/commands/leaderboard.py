"""`bench leaderboard`: the detectors of a finished run or suite, ranked."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench leaderboard faces64
  bench leaderboard faces64 --format md
  bench leaderboard faces64 --format latex --columns matrix,robust > table.tex
  bench leaderboard faces64 --by robust --columns matrix,seen
  bench leaderboard faces64 --per generator --format latex > generators.tex
  bench leaderboard faces64 --per detector --columns unseen,robust,seen
  bench leaderboard tampered --by localisation
  bench leaderboard faces64-fairface faces64-lfw
"""


@implemented_in("benchmarks.cli.leaderboard")
def leaderboard(
    suite: Annotated[
        list[str],
        typer.Argument(
            help="Name of a finished run or suite, or its report folder; of several, detectors are ranked over all.",
            autocompletion=completion.runs,
        ),
    ],
    form: Annotated[str, typer.Option("--format", help="Format: table, md, html, latex, csv or json.")] = "table",
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="Column that ranks; localisation: F1 of the maps of altered pixels. [default: unseen, else matrix, "
            "else seen]",
        ),
    ] = None,
    per: Annotated[
        str | None,
        typer.Option(
            "--per",
            help="Table by tested generator: generator, a column for each, of the column that ranks; detector, a table "
            "of generators by conditions for each detector.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="Columns to show, e.g. matrix,robust; csv and json of ranks have all."),
    ] = None,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Rank detectors from the stored scores of every image: means, intervals, ties, what is missing."""
