"""`bench doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from benchmarks.cli import options


def doctor(
    json: options.Json = False, store: options.Store = options.STORE, reports: options.Reports = options.REPORTS
) -> None:
    """Check versions, devices, precision, disk and places; says what is missing and what to do."""
    rows = [*_software(), *_hardware(store), *_places(store, reports)]
    if json:
        import json as encoder

        print(encoder.dumps([{"what": a, "found": b, "advice": c} for a, b, c in rows], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="bench doctor", title_justify="left")
    for heading in ("what", "found", "advice"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


Row = tuple[str, str, str]


def _software() -> list[Row]:
    from importlib.metadata import PackageNotFoundError, requires

    import packaging.requirements as req

    rows = []
    for line in requires("deepfake-bench") or []:
        requirement = req.Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(requirement.name)
            fits = have in requirement.specifier
            rows.append((requirement.name, have, "" if fits else f"needs {requirement.specifier}; reinstall"))
        except PackageNotFoundError:
            rows.append((requirement.name, "missing", f"pip install '{line}'"))
    return rows


def _hardware(store: Path) -> list[Row]:
    import os

    import torch

    from forge.compute import Compute, choose_device
    from forge.files import read_json_object

    device = choose_device()
    compute = Compute(device)
    rows = [("device", f"{device}: {compute.describe()}", ""), ("cores", str(os.cpu_count()), "")]
    if device == "cpu":
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        rows.append(("bf16 on the CPU", "yes" if fast else "no", "" if fast else "trainings run in fp32"))
    memory = store / "precision.json"
    measured = read_json_object(memory) if memory.is_file() else {}
    for key, entry in measured.items():
        gain = entry["seconds_fp32"] / entry["seconds_bf16"]
        rows.append((f"precision of {key[:60]}", f"{entry['choice']} (bf16 is {gain:.2f} times as fast)", ""))
    return rows


def _places(store: Path, reports: Path) -> list[Row]:
    rows = []
    for name, place in (("store", store), ("reports", reports)):
        here = place
        while not here.exists():
            here = here.parent if here != here.parent else Path("/")
        free = shutil.disk_usage(here).free / 2**30
        advice = "less than 5 GiB free: a quick run needs about 1" if free < 5 else ""
        import os

        if not os.access(here, os.W_OK):
            advice = f"not writable; use --{name} DIR"
        rows.append((name, f"{place} ({free:.0f} GiB free)", advice))
    faces = Path(os.environ.get("BENCH_FACES", "../shared/faces"))
    rows.append(("photos for the tests", str(faces) if faces.is_dir() else "none", ""))
    return rows
