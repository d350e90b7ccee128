"""`bench doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import packaging.requirements as req
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.places import REPORTS_VARIABLE, STORE_VARIABLE
from benchmarks.speed.precision import measure_gains
from benchmarks.workflow.environment import available_memory_mb
from forge.core.compute import Compute, choose_device, set_threads, tune_allocator
from forge.core.execution import execution_table


def doctor(measure: bool, as_json: bool, store: Path, reports: Path) -> None:
    """Check versions, devices, precision, disk and places; says what is missing and what to do."""
    if measure:
        _measure(as_json=as_json)
        return
    # Software first: what is missing there explains what is missing below.
    rows = [*_software(), *_hardware(), *_folders(store, reports)]
    if as_json:
        # names of JSON that scripts read
        print(json.dumps([{"what": a, "found": b, "advice": c} for a, b, c in rows], indent=1))
        return

    table = Table(title="bench doctor", title_justify="left")
    for heading in ("what", "found", "advice"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    open_console().print(table)


Row = tuple[str, str, str]


def _software() -> list[Row]:
    rows = []
    # The requirements of the installed package, so that this list is that of pyproject.toml.
    for line in requires("deepfake-bench") or []:
        requirement = req.Requirement(line)
        # of an extra, which only its own verbs need
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(requirement.name)
            fits = have in requirement.specifier
            rows.append((requirement.name, have, "" if fits else f"needs {requirement.specifier}; reinstall"))
        except PackageNotFoundError:
            rows.append((requirement.name, "missing", f"pip install '{line}'"))
    return rows


def _hardware() -> list[Row]:
    device = choose_device()
    compute = Compute(device)
    fast, memory = compute.has_bf16(), available_memory_mb()
    rows = [
        ("device", f"{device}: {compute.describe()}", ""),
        ("cores", str(os.cpu_count()), ""),
        (
            "threads",
            str(compute.threads),
            "a training's result depends on them; --threads, OMP_NUM_THREADS",
        ),
        ("memory that is free", f"{memory / 1024:.1f} GiB" if memory else "not known", "it bounds --jobs of bench run"),
        ("bf16 arithmetic", "yes" if fast else "no", "" if fast else "trainings run in fp32"),
    ]
    # Decided as a training would decide it, network by network.
    if fast:
        decided = {
            name: compute.decide(entry) for entries in execution_table().values() for name, entry in entries.items()
        }
        in_bf16 = ", ".join(name for name, precision in decided.items() if precision == "bf16")
        rows.append(("trained in bf16", in_bf16, "by the shipped table; --precision chooses for a run"))
    return rows


def _measure(*, as_json: bool) -> None:
    """Time every network of the table in both precisions, and print what the table should say here."""
    tune_allocator()
    compute = Compute("cpu")  # what is proposed is the column cpu of forge/execution.yaml
    set_threads(compute.threads)
    rows = []
    for gain in measure_gains(compute):
        rows.append(vars(gain) | {"proposed": gain.proposed})  # `proposed` is a property and not among the attributes
        if not as_json:
            note = "" if gain.proposed == gain.shipped else f"  (by the table {gain.shipped})"
            print(
                f"{gain.name:<14} fp32 {gain.fp32:7,.0f} images/s, bf16 {gain.bf16:7,.0f}, "
                f"{gain.bf16 / gain.fp32:.2f} times: {gain.proposed}{note}",
                flush=True,  # minutes in all: each line is shown when it is known
            )
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print(
        "Nothing was changed: results do not depend on a measurement. To train in the proposed precision, give "
        "--precision, or edit the column cpu of forge/execution.yaml."
    )


def _folders(store: Path, reports: Path) -> list[Row]:
    rows = []
    for name, folder, variable in (("store", store, STORE_VARIABLE), ("reports", reports, REPORTS_VARIABLE)):
        # The folder itself may not exist yet; the disk is that of the nearest one above it.
        here = folder
        while not here.exists():
            here = here.parent if here != here.parent else Path("/")
        free = shutil.disk_usage(here).free / 2**30
        advice = "less than 5 GiB free: a quick run needs about 1" if free < 5 else ""

        if not os.access(here, os.W_OK):  # goes before the advice on space: it stops the run at once
            advice = f"not writable; use --{name} DIR or {variable}"
        # empty advice says how to move the folder
        rows.append((name, f"{folder} ({free:.0f} GiB free)", advice or f"--{name} or {variable} moves it"))
    faces = Path(os.environ.get("BENCH_FACES", "../shared/faces"))
    rows.append(("photos for the tests", str(faces) if faces.is_dir() else "none", ""))
    return rows
