"""`bench export images`: the test images of a suite under neutral names, for those who score them elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import implemented_in

# one command, but a group: others can be added without renaming it
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
