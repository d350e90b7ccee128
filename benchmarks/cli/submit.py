"""`bench submit`: rank a detector that cannot be run here, from its scores alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli.leaderboard import print_sheet, sheet_of, submitted
from benchmarks.pipeline.reading import read_report_scores
from benchmarks.pipeline.run import find_report
from benchmarks.pipeline.settings import safe_name
from benchmarks.tables.score_file import read_submission
from benchmarks.tables.submission import rows_of, suite_images
from detect.scoring import write_scores
from forge.errors import InputError, quoted


def submit(file: Path, suite: str, name: str, reports: Path) -> None:
    """Put a detector into the leaderboard of a suite from its scores of the test images (`bench export images`)."""
    if safe_name(name) != name:
        raise InputError(f"name {quoted(name)} cannot name a file everywhere; try --name {safe_name(name)}")
    folder = find_report(suite, reports)
    scores = read_report_scores(folder)
    if name in set(scores["detector"]):
        raise InputError(f"{folder.name} has a detector {quoted(name)} already; choose another --name")
    rows = rows_of(read_submission(file), suite_images(scores), name)
    target = submitted(folder)
    target.mkdir(parents=True, exist_ok=True)
    write_scores(rows[list(scores.columns)], target / f"{name}.parquet")
    sheet = sheet_of(suite, reports=reports)
    print_sheet(sheet)
    ranked = next(line for line in sheet.board.lines if line.detector == name)
    standing = ranked.columns[sheet.board.primary]
    if standing.high is not None and standing.high < 0.5:
        print(f"{name} scores forged images below real ones; higher must mean forged: do its scores mean 'real'?")
    print(f"stored as {target / name}.parquet; delete that file to take it out again")
