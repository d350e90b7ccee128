"""`bench report`: the page of a finished run, written again, opened, or as PDF."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench report                             # of the run that ended last
  bench report faces64 --open
  bench report faces64 --from-scores # every number computed again from scores.parquet
  bench report faces64 --format pdf
  bench report faces64 --publish     # its scores in few bytes, for a repository or a release
  bench report --index                     # a page that links to all reports
  bench report faces64 --section my.py:MySection
"""


@implemented_in("benchmarks.cli.report")
def report(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Name of a finished run or suite. [default: the last one]",
            autocompletion=completion.runs,
            show_default=False,
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    from_scores: Annotated[
        bool, typer.Option("--from-scores", help="Compute every number again from scores.parquet, without the store.")
    ] = False,
    digests: Annotated[
        bool, typer.Option("--digests", help="Write only SHA256SUMS anew, for the files as they are.")
    ] = False,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish",
            help="Write only the scores anew, in few bytes: one file a detector, or an archive for a release.",
        ),
    ] = False,
    limit: Annotated[
        float | None,
        typer.Option(
            "--limit",
            min=0,
            help="MB of scores that --publish keeps in the report; more go into the archive. [default: 4]",
            show_default=False,
        ),
    ] = None,
    index: Annotated[
        bool,
        typer.Option("--index", help="Write only index.html of the folder of reports, which links to each of them."),
    ] = False,
    form: Annotated[str, typer.Option("--format", help="Format: html, or pdf (needs Chromium).")] = "html",
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    section: Annotated[
        str | None,
        typer.Option("--section", help="Additional sections of the page, comma-separated; or path/to/file.py:Class."),
    ] = None,
    plugin: options.Plugin = None,
) -> None:
    """Write the report of a finished run again, with the pages of this version."""
