"""Data files of a finished report, read with every check: digest, bounds of JSON, types of the fields."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from benchmarks.measures.results import SCHEMA_VERSION, Results
from benchmarks.report.digests import DATA_FILES, SUMS, check_files
from forge.errors import BenchWarning, InputError
from forge.files import read_json_object

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.tables.reproduce import Expected

_REQUIRED = {"name", "cells", "detectors", "stages"}  # since the first version


def check_report(folder: Path, *names: str, note: bool = True) -> None:
    """Compare data files of a report with its SHA256SUMS.

    Args:
        folder: of the report.
        names: the files; all data files by default.
        note: warn where an earlier version wrote the report, without digests.

    Raises:
        CorruptError: a file was changed, is missing, or is not listed; names it.
    """
    if not check_files(folder, names or DATA_FILES) and note:
        warnings.warn(
            f"{folder} has no {SUMS} (an earlier version wrote it), its files are not checked; "
            f"`bench report {folder.name} --digests` writes one",
            BenchWarning,
            stacklevel=1,  # one line of code, so that it is said once a process
        )


def report_folders(reports: Path) -> list[Path]:
    """Return the folders of finished runs, by name; hidden ones are reports that a process is writing."""
    folders = (file.parent for file in reports.glob("*/results.json"))
    return sorted(folder for folder in folders if not folder.name.startswith("."))


def read_results(folder: Path, *, note: bool = True, checked: bool = True) -> dict[str, Any]:
    """Read results.json of a report folder as plain data.

    Args:
        folder: of the report.
        note: warn where an earlier version wrote the report, without digests.
        checked: compare the file with its digest.

    Raises:
        InputError: missing, not JSON, of another program or a newer version.
        CorruptError: changed after the report was written.
    """
    file = folder / "results.json"
    if checked:
        check_report(folder, file.name, note=note)
    results = read_json_object(file)
    if not results.keys() >= _REQUIRED:
        raise InputError(f"{file} is damaged, or of another program; run it again")
    version = results.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(f"{file} has schema {version}, this version reads up to {SCHEMA_VERSION}; upgrade")
    first_schema = not isinstance(version, int) or version < 2  # its comparisons have other fields, which nothing reads
    try:
        Results.model_validate(results | {"comparisons": []} if first_schema else results)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))[:80]
        raise InputError(f"{file} is damaged, or of another program: {field}: {first['msg'][:80]}") from error
    return results


def read_expected(folder: Path, *, note: bool = False) -> Expected | None:
    """Read expected.json of a report folder; None where the report has none.

    Raises:
        InputError: not JSON, or fields of another program.
        CorruptError: changed, or missing though SHA256SUMS lists it.
    """
    check_report(folder, "expected.json", note=note)
    file = folder / "expected.json"
    return expected_at(file) if file.exists() else None


def expected_at(file: Path) -> Expected:
    """Read any expected.json, also one that is not part of a report.

    Raises:
        InputError: not there, not JSON, or fields of another program.
    """
    from benchmarks.experiment.configs import validated
    from benchmarks.tables.reproduce import Expected

    return validated(Expected, read_json_object(file), where=str(file))


def read_report_scores(folder: Path) -> pd.DataFrame:
    """Read scores.parquet of a report folder.

    Raises:
        InputError: missing, or it lacks a score column.
        CorruptError: changed after the report was written, or not readable as Parquet.
    """
    from detect.scoring import read_scores

    check_report(folder, "scores.parquet", note=False)
    return read_scores(folder / "scores.parquet")
