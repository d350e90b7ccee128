"""Layouts of a report's scores: scores.parquet, one file a detector below scores/, or an archive elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pandas as pd

from benchmarks.report.digests import data_files
from benchmarks.report.score_archive import RECORD, archived
from benchmarks.report.score_files import decoded
from detect.score_rows import compact, read_compact
from detect.scoring import read_scores

TABLE, FILES = "scores.parquet", "scores"
Layout = Literal["table", "files", "archive"]


def layout_of(folder: Path) -> Layout:
    """Return how a report has its scores; "table", as a run writes them, also where it has none."""
    if (folder / RECORD).exists():
        return "archive"
    return "files" if any(name.startswith(f"{FILES}/") for name in data_files(folder)) else "table"


def read_report_scores(folder: Path, archive: Path | None = None) -> pd.DataFrame:
    """Read the scores of a report, whatever its layout; digests of files in the folder are not compared here.

    Args:
        folder: of the report.
        archive: file that has them, of a report with scores.json alone; None: beside the folder.

    Raises:
        InputError: there are none, or `archive` does not exist.
        CorruptError: they are not readable, or the archive is another one.
        ScoresAbsentError: the archive is not beside the report.
    """
    layout = layout_of(folder)
    if layout == "table":
        return read_scores(folder / TABLE)
    if layout == "archive":
        return decoded(archived(folder, archive), folder / RECORD)
    files = {file.stem: file.read_bytes() for file in sorted((folder / FILES).glob("*.parquet"))}
    return decoded(files, folder / FILES)


def read_compact_scores(folder: Path, archive: Path | None = None) -> pd.DataFrame:
    """Read the scores of a report as a compact table; arguments and errors are those of `read_report_scores`."""
    if layout_of(folder) == "table":
        return read_compact([folder / TABLE])  # text of a large file is never held as such
    return compact(read_report_scores(folder, archive))


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write encoded files into an empty folder, made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.parquet").write_bytes(data)


def remove_scores(folder: Path) -> None:
    """Remove the scores of a report in any layout; an archive stays."""
    for name in (TABLE, RECORD):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / FILES, ignore_errors=True)
