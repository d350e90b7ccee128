"""Values of `--slurm`: names of sbatch and two of ours, as the parameters that submitit takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.workflow.engines.base import Task
from forge.core.errors import InputError, quoted

_OURS = ("cluster", "time", "memory")
_NAMED = ("account", "constraint", "exclude", "nodelist", "partition", "qos")  # parameters that submitit names itself
DAY_MINUTES = 24 * 60  # of a job whose duration is not known
GROUP_SECONDS = 600.0  # expected duration of the tasks that one job runs: starting a job takes seconds to minutes
_MARGIN = 3.0  # times the forecast, and ten minutes: a job that is cut off costs more than one that asked for too much
_MEMORY_MARGIN = 1.25


def parsed(text: str) -> dict[str, str]:
    """Return the options of "partition=gpu,time=120".

    Raises:
        InputError: a part has no name or no value.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, _, value in pairs:
        if not name.strip() or not value.strip():
            raise InputError(f"--slurm {quoted(text)} is not NAME=VALUE,…, e.g. partition=gpu,time=120")
    return {name.strip(): value.strip() for name, _, value in pairs}


def refuse_unusable(options: Mapping[str, str]) -> None:
    """Check the values of `--slurm`.

    Raises:
        InputError: a number is none; names the value.
    """
    for name in ("time", "memory"):
        _number(options, name)
    if options.get("cluster", "slurm") not in ("slurm", "local"):
        raise InputError(f"--slurm cluster={quoted(options['cluster'])} is not known; use slurm, or local for a trial")


def parameters(tasks: list[Task], options: Mapping[str, str], *, gpu: bool) -> dict[str, Any]:
    """Return what submitit is told of a job.

    Args:
        tasks: that it runs one after another.
        options: of `--slurm`.
        gpu: whether one of them computes on a GPU.
    """
    limit = _number(options, "time")
    minutes = limit or DAY_MINUTES
    if all(task.seconds is not None for task in tasks):
        expected = math.fsum(task.seconds for task in tasks if task.seconds is not None) / 60
        minutes = min(minutes, 10 + _MARGIN * expected)
    memory = _number(options, "memory")
    known = [task.memory_mb for task in tasks if task.memory_mb is not None]
    if memory is None and len(known) == len(tasks):
        memory = max(1.0, _MEMORY_MARGIN * max(known) / 1024)
    values: dict[str, Any] = {
        "name": "bench",
        "timeout_min": math.ceil(minutes),
        "cpus_per_task": max(task.threads for task in tasks),
        "gpus_per_node": int(gpu),
    }
    if memory is not None:
        values["mem_gb"] = math.ceil(memory)
    if options.get("cluster") == "local":
        return values
    values |= {f"slurm_{name}": value for name, value in options.items() if name in _NAMED}
    others = {name: value for name, value in options.items() if name not in (*_NAMED, *_OURS)}
    return values | ({"slurm_additional_parameters": others} if others else {})


def groups(tasks: list[Task]) -> list[list[Task]]:
    """Return tasks in the groups that one job each runs: short ones of a device together, others alone."""
    made: list[list[Task]] = []
    filling: dict[str, tuple[list[Task], float]] = {}
    for task in tasks:
        seconds = math.inf if task.seconds is None else task.seconds
        group, total = filling.get(task.device, ([], math.inf))
        if total + seconds > GROUP_SECONDS:
            group, total = [], 0.0
            made.append(group)
        group.append(task)
        filling[task.device] = group, total + seconds
    return made


def _number(options: Mapping[str, str], name: str) -> float | None:
    if name not in options:
        return None
    try:
        value = float(options[name])
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        unit = "minutes" if name == "time" else "GB"
        raise InputError(f"--slurm {name}={quoted(options[name])} is no number of {unit} above 0")
    return value
