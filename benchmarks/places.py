"""Default folders of results and reports: two environment variables, else two folders of the current one."""

from __future__ import annotations

import os
from pathlib import Path

STORE_VARIABLE, REPORTS_VARIABLE = "BENCH_HOME", "BENCH_REPORTS"
STORE, REPORTS = Path("runs"), Path("runs/reports")
PUBLISHED = Path("reports")  # of a checkout: published reports, which are read by name and never written by default


def store_folder(given: str | Path | None = None) -> Path:
    """Return the folder of results and checkpoints: what is given, else BENCH_HOME, else runs/."""
    return Path(given or os.environ.get(STORE_VARIABLE) or STORE)


def reports_folder(given: str | Path | None = None) -> Path:
    """Return the folder that holds a folder per report: what is given, else BENCH_REPORTS, else runs/reports/."""
    return Path(given or os.environ.get(REPORTS_VARIABLE) or REPORTS)


def report_roots(reports: Path) -> list[Path]:
    """Return the folders in which reports are looked for: that of runs, by default also the published ones."""
    # Only by default: with a folder of reports given, no others are read.
    return [reports, PUBLISHED] if reports == REPORTS else [reports]
