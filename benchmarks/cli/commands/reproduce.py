"""`bench reproduce`: compute a published table again and compare every number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.cli.groups import implemented_in

EXAMPLES = """\b
Examples:
  bench reproduce faces64
  bench reproduce faces64 --fetch faces64-scores.tar     # scores that are a file of the release
  bench reproduce reports/*                              # every report there
  bench reproduce faces64 --from checkpoints --only "dct@dcgan on cgan"
  bench reproduce faces64 --from scratch --only "dct@dcgan on cgan #0" --data path/to/photos
"""


@implemented_in("benchmarks.cli.reproduce")
def reproduce(
    suites: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITE...",
            help="Name of a published suite or finished run, or its report folder; several are compared one by one.",
            autocompletion=completion.runs,
        ),
    ],
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="Start: scores (stored), checkpoints (score again with stored detectors) or scratch (train again).",
        ),
    ] = "scores",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Tests whose name contains this, with checkpoints and scratch; repeatable."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Folder of the real faces, with checkpoints and scratch.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="File expected.json to compare with. [default: that of the suite]")
    ] = None,
    fetch: Annotated[
        list[Path] | None,
        typer.Option("--fetch", help="Archive of scores that the report names, a local file; repeatable."),
    ] = None,
    require_scores: Annotated[
        bool,
        typer.Option("--require-scores", help="Exit with 3 where the archive of one of several is not here."),
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Print every value, not only those that changed.")] = False,
    work: Annotated[
        Path, typer.Option("--work", help="Store of the new results, with scratch; another call continues there.")
    ] = Path("runs-again"),  # not the store: results of a reproduction must not mix with those of the run
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    threads: options.Threads = None,
    plugin: options.Plugin = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Compute published tables again and compare every number; exit code 1 where one DIFFERS or is MISSING.

    From scores every AUC, mean and rank is computed again and must be IDENTICAL. From checkpoints or scratch tests are
    scored again: a new AUC inside the published 95 % interval is WITHIN; the causes of a difference are named.
    A report whose files no longer match its SHA256SUMS is refused. One whose scores are in an archive that is not here
    is ABSENT: exit code 3, among several reports 0.
    """
