"""Engines: where stages run."""

from __future__ import annotations

from forge.core.registry import Registry

ENGINES = Registry("engine", "benchmarks.engines", {"serial": "benchmarks.workflow.engines.serial:SerialEngine"})
