"""`bench reproduce`: whether the published table of a suite comes out again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options

EXAMPLES = """\b
Examples:
  bench reproduce faces64-quick
  bench reproduce faces64-quick --against runs/other/expected.json --all
"""


def reproduce(
    suite: Annotated[str, typer.Argument(help="Name of a published suite or finished run, or its report folder.")],
    against: Annotated[
        Path | None, typer.Option("--against", help="An expected.json. [default: that of the suite]")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every value, not only those that changed.")] = False,
    reports: options.Reports = options.REPORTS,
    json: options.Json = False,
) -> None:
    """Compute every AUC, mean and rank again from the stored scores and compare; exit code 1 where one DIFFERS."""
    from benchmarks.measures.results import Results
    from benchmarks.pipeline.configs import validated
    from benchmarks.pipeline.environment import versions
    from benchmarks.pipeline.run import find_report
    from benchmarks.tables.cells import cells_of
    from benchmarks.tables.leaderboard import ranked
    from benchmarks.tables.reproduce import Expected, causes, counted, expected_of, to_rows
    from benchmarks.tables.reproduce import reproduce as compare
    from detect.scoring import read_scores
    from forge.errors import BenchError, InputError
    from forge.files import read_json

    folder = find_report(suite, reports)
    file = against or folder / "expected.json"
    if not file.is_file():
        raise InputError(f"{file} does not exist; `bench run` writes it beside a report")
    expected = validated(Expected, read_json(file), where=str(file))
    results = validated(Results, read_json(folder / "results.json"), where=str(folder / "results.json"))
    cells = cells_of(read_scores(folder / "scores.parquet"))
    found = expected_of(results, cells, ranked(cells) if cells else None)
    verdicts = compare(expected, found)
    counts = counted(verdicts)
    if json:
        import json as encoder

        print(encoder.dumps({"counts": counts, "values": to_rows(verdicts)}, indent=1))
    else:
        for one in verdicts:
            if everything or one.status != "IDENTICAL":
                numbers = "" if one.expected is None else f"  {one.expected:.6f} then"
                numbers += "" if one.found is None else f", {one.found:.6f} now"
                print(f"{one.status:<9}  {one.what}{numbers}")
        print(f"{expected.name}: " + ", ".join(f"{count:,} {status}" for status, count in counts.items() if count))
        if counts["IDENTICAL"] < len(verdicts):
            for cause in causes(expected.environment, expected.environment | versions()):
                print(f"  possible cause: {cause}")
    if counts["DIFFERS"] or counts["MISSING"]:
        raise BenchError(f"{counts['DIFFERS']} values differ and {counts['MISSING']} are missing")
