"""`bench submit`: rank a detector that cannot be run here, from its scores alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli.leaderboard import print_sheet
from benchmarks.evaluation.score_file import read_submission
from benchmarks.evaluation.submission import rows_of, suite_images
from benchmarks.experiment.names import safe_name
from benchmarks.report.run_leaderboard import sheet_of, submitted
from benchmarks.report.run_report import RunReport
from detect.scoring import write_scores
from forge.core.errors import InputError, quoted


def submit(file: Path, suite: str, name: str, reports: Path) -> None:
    """Put a detector into the leaderboard of a suite from its scores of the test images (`bench export images`)."""
    if safe_name(name) != name:  # the name becomes a file beside the report
        raise InputError(f"name {quoted(name)} cannot name a file everywhere; try --name {safe_name(name)}")
    report = RunReport.open(suite, reports)
    scores = report.scores
    if name in set(scores["detector"]):
        raise InputError(f"{report.name} has a detector {quoted(name)} already; choose another --name")
    # Matched with the test images by their neutral names; the labels are those of the suite, not of the file.
    rows = rows_of(read_submission(file), suite_images(scores), name)
    target = submitted(report.folder)
    target.mkdir(parents=True, exist_ok=True)
    # the columns of the suite in their order; read together with them
    write_scores(rows[list(scores.columns)], target / f"{name}.parquet")
    sheet = sheet_of(report)
    print_sheet(sheet)
    ranked = next(line for line in sheet.board.lines if line.detector == name)
    # An interval wholly below one half: more than a weak detector, most likely the other sign.
    standing = ranked.columns[sheet.board.primary]
    if standing.high is not None and standing.high < 0.5:
        print(f"{name} scores forged images below real ones; higher must mean forged: do its scores mean 'real'?")
    print(f"stored as {target / name}.parquet; delete that file to take it out again")
