"""Figures of several GPU runs as one table, and how each network is fastest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.gpu.record import GpuFigure, Mode
from benchmarks.speed.gpu.run import GpuRun
from forge.core.errors import InputError
from forge.core.execution import Execution

PLAIN: Mode = "plain fp32"
IMPLEMENTED: tuple[Mode, ...] = ("eager fp32", "eager bf16", "graph fp32", "graph bf16")
WORTHWHILE = 1.05  # a graph that gains less is not worth its memory


@dataclass(frozen=True)
class Measured:
    """A figure with what was measured when and where.

    Attributes:
        figure: the number.
        device: name of the GPU.
        date: ISO 8601 day.
    """

    figure: GpuFigure
    device: str
    date: str


Table = Mapping[tuple[str, str, int], Mapping[Mode, Measured]]


def read_runs(files: Iterable[Path]) -> list[GpuRun]:
    """Read results of runs, the oldest first.

    Raises:
        InputError: a file is no results.json, or its run was a dry one on a CPU.
    """
    runs = []
    for file in files:
        run = GpuRun.read(file)
        if not run.device.startswith("cuda"):  # a dry run tests the programs, not the device
            raise InputError(f"{file} is of a dry run on {run.device}; its figures say nothing about a GPU")
        runs.append(run)
    return sorted(runs, key=lambda run: run.started)  # a later run replaces figures of an earlier one


def collect(runs: Sequence[GpuRun]) -> Table:
    """Return the newest figure of every task, network, resolution and mode."""
    table: dict[tuple[str, str, int], dict[Mode, Measured]] = {}
    for run in runs:
        device = str(run.facts.get("device", run.device))
        for figure in run.figures:
            # Later runs win, mode by mode; dates and devices stay with each figure.
            table.setdefault(figure.key, {})[figure.mode] = Measured(figure, device, run.started[:10])
    return {key: table[key] for key in sorted(table)}


def winners(table: Table, group: str) -> dict[str, Execution]:
    """Return the fastest execution of each network in training, where both eager steps and graphs were measured.

    Args:
        table: of `collect`.
        group: "generators" or "detectors".
    """
    task = {"generators": "train", "detectors": "fit"}[group]
    speeds: dict[str, dict[Mode, list[float]]] = {}
    for (measured_task, network, _), modes in table.items():
        if measured_task == task:
            for mode, measured in modes.items():
                if mode in IMPLEMENTED:
                    # logarithms: the mean over resolutions is of ratios
                    speeds.setdefault(network, {}).setdefault(mode, []).append(math.log(measured.figure.value))
    chosen = {}
    for network, by_mode in speeds.items():
        resolutions = max(map(len, by_mode.values()))
        # a mode that was measured at fewer resolutions cannot be compared
        means = {mode: sum(values) / len(values) for mode, values in by_mode.items() if len(values) == resolutions}
        # Without both there is no choice to make; the shipped entry stays.
        if any("graph" in mode for mode in means) and any("eager" in mode for mode in means):
            best = max(means, key=lambda mode: means[mode])
            eager = max((mode for mode in means if "eager" in mode), key=lambda mode: means[mode])
            # eager unless a graph gains enough for its memory
            best = best if means[best] > means[eager] + math.log(WORTHWHILE) else eager
            # "graph bf16": how, and in which precision
            chosen[network] = Execution(precision=best.rpartition(" ")[2], graph="graph" in best)
    return chosen
