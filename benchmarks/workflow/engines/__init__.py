"""Engines: where stages run."""

from __future__ import annotations

from forge.core.registry import Registry

ENGINES = Registry(
    "engine",
    "benchmarks.engines",
    {
        "local": "benchmarks.workflow.engines.local:LocalEngine",
        "serial": "benchmarks.workflow.engines.serial:SerialEngine",
    },
)
