"""Where results and reports lie where nobody says: two environment variables, else two folders of the current one."""

from __future__ import annotations

import os
from pathlib import Path

STORE_VARIABLE, REPORTS_VARIABLE = "BENCH_HOME", "BENCH_REPORTS"
STORE, REPORTS = Path("runs"), Path("reports")


def store_folder(given: str | Path | None = None) -> Path:
    """The folder of results and checkpoints: what is given, else BENCH_HOME, else runs/."""
    return Path(given or os.environ.get(STORE_VARIABLE) or STORE)


def reports_folder(given: str | Path | None = None) -> Path:
    """The folder that holds a folder for each report: what is given, else BENCH_REPORTS, else reports/."""
    return Path(given or os.environ.get(REPORTS_VARIABLE) or REPORTS)
