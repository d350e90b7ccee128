"""Engines: where stages run."""

from __future__ import annotations

from forge.core.registry import Registry

ENGINES = Registry(
    "engine",
    "benchmarks.engines",
    {
        "local": "benchmarks.workflow.engines.local:LocalEngine",
        "serial": "benchmarks.workflow.engines.serial:SerialEngine",
        "ray": "benchmarks.workflow.engines.ray:RayEngine",
        "slurm": "benchmarks.workflow.engines.slurm:SlurmEngine",
    },
)
