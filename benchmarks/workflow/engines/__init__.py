"""Engines: where stages run."""

from __future__ import annotations

from forge.core.errors import UnknownNameError
from forge.core.registry import Registry

ENGINES = Registry(
    "engine",
    "benchmarks.engines",
    {
        "local": "benchmarks.workflow.engines.local:LocalEngine",
        "serial": "benchmarks.workflow.engines.serial:SerialEngine",
    },
)


def known_engine(name: str) -> str:
    """Return the name of an engine; "local" where none is given.

    Raises:
        UnknownNameError: nothing has this name; carries all names.
    """
    if name and name not in ENGINES.names():
        raise UnknownNameError("engine", name, ENGINES.names())
    return name or "local"
