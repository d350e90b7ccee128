"""Precision and CUDA graphs per network, from a shipped table: results never depend on a time measurement."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

Networks = Literal["generators", "detectors"]


class Execution(BaseModel):
    """Default precision and graph mode of one network.

    Attributes:
        precision: of its training on a GPU with bf16 arithmetic; detectors score in the precision of their fit.
        graph: whether training steps are replayed as CUDA graphs.
        cpu: precision of its training on a CPU with bf16 instructions; fp32 on any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    precision: Literal["fp32", "bf16"] = "bf16"
    graph: bool = False
    cpu: Literal["fp32", "bf16"] = "fp32"


@cache
def execution_table() -> dict[Networks, dict[str, Execution]]:
    """Return the shipped table, `forge/execution.yaml`: generators or detectors -> name -> how it runs."""
    raw = yaml.safe_load(files("forge").joinpath("execution.yaml").read_text(encoding="utf-8"))
    return {key: {name: Execution(**entry) for name, entry in entries.items()} for key, entries in raw.items()}


def execution_of(networks: Networks, name: str) -> Execution:
    """Return the execution of a network; one that is not in the table runs on a GPU in bf16 without graphs."""
    # a plug-in's step may read values back or change shapes, which a graph cannot hold: off unless the table says so
    return execution_table()[networks].get(name, Execution())
