"""From the results of `make gpu` to the speed page and to the table of how networks run on a GPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.gpu.collect import collect, read_runs, winners
from benchmarks.speed.gpu.page import render_page
from benchmarks.speed.gpu.run import GpuRun
from forge.core.errors import InputError
from forge.core.execution import execution_table
from forge.core.files import write_json, write_text

HEADER = """\
# How each network is computed where no precision is asked for. precision and graph: on a GPU; whether a training
# step is replayed as a CUDA graph. cpu: on a CPU with bf16 instructions (avx512_bf16 or amx_bf16; any other CPU
# computes in fp32). Where a line names no measurement: by rule, bf16 and a graph. `bench speed --merge` writes this
# file from the results of `make gpu`; `bench doctor --measure` proposes the column cpu. A network that is not
# listed: bf16 on a GPU, without graphs, and fp32 on a CPU."""
# HTML comments, which Markdown does not show
BEGIN, END = "<!-- GPU figures, written by bench speed --merge -->", "<!-- end -->"


def merge(files: Sequence[Path], root: Path) -> list[Path]:
    """Take results of runs into a checkout: `reports/gpu/`, the speed page, and the table of how networks run.

    Args:
        files: results.json of `make gpu`.
        root: of the checkout.

    Returns:
        What was written.

    Raises:
        InputError: no checkout, a page without the marks, or a file that is no result.
    """
    page, table = root / "reports" / "speed.md", root / "forge" / "execution.yaml"
    if not page.is_file() or not table.is_file():  # before anything is written
        raise InputError(f"{root} is no checkout of the bench: reports/speed.md or forge/execution.yaml is not there")
    folder = root / "reports" / "gpu"
    written = []
    for run in read_runs(files):
        # Named by device and time of the run: merging a file twice writes it once.
        name = re.sub(r"[^a-z0-9]+", "-", str(run.facts.get("device", "gpu")).lower()).strip("-")
        path = folder / f"{name}-{run.started[:10]}-{run.started[11:16].replace(':', '')}.json"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, run.model_dump(mode="json"))
        written.append(path)
    # All runs that are in the checkout, not only the new ones: page and table follow from the folder alone.
    runs = read_runs(sorted(folder.glob("*.json")))
    write_text(page, with_block(page.read_text(encoding="utf-8"), render_page(runs)))
    write_text(table, render_execution(runs))
    return [*written, page, table]


def with_block(text: str, block: str) -> str:
    """Return a page with what stands between the marks replaced.

    Raises:
        InputError: the page has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"reports/speed.md has no place for GPU figures: the lines {BEGIN!r} and {END!r}")
    # `block` ends with a line feed, so that END stays on a line of its own
    return f"{before}{BEGIN}\n{block}{END}{after}"


def render_execution(runs: Sequence[GpuRun]) -> str:
    """Return the text of forge/execution.yaml: the shipped entries, and the winners of these runs."""
    table = collect(runs)
    devices = ", ".join(sorted({measured.device for modes in table.values() for measured in modes.values()}))
    lines = [HEADER]
    for group, entries in execution_table().items():
        measured = winners(table, group)
        lines.append(f"{group}:")
        # shipped entries first: a network that was not measured keeps its line
        for name, entry in {**entries, **measured}.items():
            note = f"  # measured: {devices}" if name in measured else ""
            # the column cpu is proposed by another command and stays
            graph, cpu = str(entry.graph).lower(), entries.get(name, entry).cpu
            lines.append(f"  {name}: {{precision: {entry.precision}, graph: {graph}, cpu: {cpu}}}{note}")
    return "\n".join(lines) + "\n"
