"""Default folders of results, reports and the zoo: environment variables, else folders of the current one.

In place of its folder a store may be named by an address, as s3://bucket/prefix: its results are copied there and read
from there, by way of the folder that would be used without it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from forge.core.errors import InputError, quoted

STORE_VARIABLE, REPORTS_VARIABLE, REMOTE_VARIABLE = "BENCH_HOME", "BENCH_REPORTS", "BENCH_REMOTE"
ZOO_VARIABLE = "BENCH_ZOO"
STORE, REPORTS = Path("runs"), Path("runs/reports")
PUBLISHED = Path("reports")  # of a checkout: published reports, which are read by name and never written by default

# protocol, then at least one slash: `Path` makes one of two
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)


def store_folder(given: str | Path | None = None) -> Path:
    """Return the folder of results and checkpoints: what is given, else BENCH_HOME, else runs/."""
    return Path(given or os.environ.get(STORE_VARIABLE) or STORE)


def store_parts(given: str | Path) -> tuple[Path, str]:
    """Return the folder of a store and the address of its copy elsewhere, "" where there is none.

    Args:
        given: a folder, whose copy BENCH_REMOTE may name, or an address, whose folder is BENCH_HOME or runs/.

    Raises:
        InputError: BENCH_REMOTE is no address.
    """
    if (address := address_of(given)) is not None:
        folder = os.environ.get(STORE_VARIABLE) or STORE
        return (STORE if address_of(folder) else Path(folder)), address
    remote = os.environ.get(REMOTE_VARIABLE) or ""
    if remote and address_of(remote) is None:
        raise InputError(f"{REMOTE_VARIABLE}={quoted(remote)} is no address; write one as s3://bucket/prefix")
    return Path(given), address_of(remote) or ""


def address_of(given: str | Path) -> str | None:
    """Return an address that fsspec understands, also of a `Path` made of one; None of a folder's path.

    >>> address_of(Path("file:///shared/store")), address_of("runs")
    ('file:///shared/store', None)
    """
    parts = _ADDRESS.fullmatch(str(given))
    if parts is None:
        return None
    return f"{parts[1]}://{'/' if parts[1] in ('file', 'local') else ''}{parts[2]}"


def reports_folder(given: str | Path | None = None) -> Path:
    """Return the folder that holds a folder per report: what is given, else BENCH_REPORTS, else runs/reports/."""
    return Path(given or os.environ.get(REPORTS_VARIABLE) or REPORTS)


def report_roots(reports: Path) -> list[Path]:
    """Return the folders in which reports are looked for: that of runs, by default also the published ones."""
    # Only by default: with a folder of reports given, no others are read.
    return [reports, PUBLISHED] if reports == REPORTS else [reports]


def user_zoo() -> Path:
    """Return the folder of the user's members of the zoo: BENCH_ZOO, else zoo/ in the folder of the store."""
    return Path(os.environ.get(ZOO_VARIABLE) or store_parts(store_folder())[0] / "zoo")


def zoo_folders() -> list[Path]:
    """Return the folders that hold members: those that are shipped, then the user's, which go before the former."""
    packages = Path(__file__).resolve().parent
    inside = packages / "zoo_members"  # the wheel puts reports/zoo into the package
    return [inside if inside.is_dir() else packages.parent / "reports" / "zoo", user_zoo()]
