"""`bench store …`: what lies in the store, what no report needs, a run as one file, damage, the copy elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import UNNAMED, Unnamed, WithDefault, implemented_in

EXAMPLES = """\b
Examples:
  bench store
  bench store gc
  bench store gc --yes
  bench store export faces64 faces64.tar
  bench store import faces64.tar
  bench store verify
  bench store push --store s3://bucket/prefix
"""

# Without the name of a command it shows what is there.
app = typer.Typer(add_completion=False, cls=WithDefault, rich_markup_mode=None, epilog=EXAMPLES)


@app.command(UNNAMED, cls=Unnamed, hidden=True)  # shown as the group itself, see groups.py
@implemented_in("benchmarks.cli.store")
def overview(
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    as_json: options.Json = False,
) -> None:
    """Show what lies in the store, by action and by run, and who works on it."""


@app.command()
@implemented_in("benchmarks.cli.store")
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, nothing is removed.")] = False,
    hours: Annotated[
        float, typer.Option("--hours", min=0, help="Keep younger results, which a stopped run may need.")
    ] = 24,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Remove checkpoints of stopped runs too, which then begin anew.")
    ] = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    as_json: options.Json = False,
) -> None:
    """Show what no report needs; with --yes remove it.

    What a running process works on stays. A copy elsewhere is left as it is.
    """


@app.command()
@implemented_in("benchmarks.cli.store")
def export(
    run: Annotated[str, typer.Argument(help="Name of a finished run; `bench list runs` shows them.")],
    file: Annotated[Path, typer.Argument(help="File to write, e.g. RUN.tar.")],
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    as_json: options.Json = False,
) -> None:
    """Write a run with all results behind it into one file.

    The same run gives the same bytes.
    """


@app.command("import")
@implemented_in("benchmarks.cli.store")
def import_file(
    file: Annotated[Path, typer.Argument(help="File that `bench store export` wrote.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report of the same name.")] = False,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    as_json: options.Json = False,
) -> None:
    """Read an exported run, checked to the last byte."""


@app.command()
@implemented_in("benchmarks.cli.store")
def verify(store: options.Store = options.STORE, as_json: options.Json = False) -> None:
    """Check every stored file; exit code 1 when one was changed."""


@app.command()
@implemented_in("benchmarks.cli.store")
def push(store: options.Store = options.STORE, as_json: options.Json = False) -> None:
    """Copy results to a store elsewhere that lacks them."""
