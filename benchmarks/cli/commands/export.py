"""`bench export`: test images under neutral names, for those who score them elsewhere; figures for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Give others what they need to be compared."""


@app.command("images")
@implemented_in("benchmarks.cli.export")
def images(
    suite: Annotated[str, typer.Argument(help="Name of a finished run or suite.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    real: Annotated[
        bool, typer.Option("--real", help="Include the real faces, where their licence lets you pass them on.")
    ] = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write every test image as PNG under a name that says nothing of its class, and a scores.csv to fill in."""


@app.command("figures")
@implemented_in("benchmarks.cli.figures")
def figures(
    run: Annotated[
        str, typer.Argument(help="Name of a finished run, or its report folder.", autocompletion=completion.runs)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write into.")],
    names: Annotated[
        str | None,
        typer.Option("--only", help="Names of figures, comma-separated, e.g. overview,roc-*. [default: all]"),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="Format: pdf (needs Chromium) or svg.")] = "pdf",
    width: Annotated[float, typer.Option("--width", help="Width in mm: 84 of one column, 174 of two.")] = 84.0,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write the figures of a report for a paper: on white, at the width of a column."""
