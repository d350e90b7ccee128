"""One measured number, and how calls and commands are timed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forge.faces.faceset import FaceSet

REPEATS = 3


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        what: is measured.
        value: the median of the repeats.
        unit: of the value.
        how: it was measured.
    """

    what: str
    value: float
    unit: str
    how: str


def run_bench(*arguments: str) -> float:
    """Wall seconds of one `bench` command in a process of its own."""
    begin = time.perf_counter()
    # a process of its own, as users start it: imports are part of the time
    command = [sys.executable, "-m", "benchmarks.cli.main", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def timed(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def prepared(source: str, path: Path, count: int | None) -> FaceSet:
    """Make a FaceSet at 64 px with `bench data prepare`, in a process of its own."""
    limit = ("--count", str(count)) if count else ()
    run_bench("data", "prepare", source, *limit, "--out", str(path))
    return FaceSet.open(path)
