"""The imports that all workers share, done once by the server of forks as it imports this; it ends with the driver."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress

from benchmarks.workflow.engines.fork_server import FORKED_BY
from forge.core.parent import ending_with_parent

MODULES = ("benchmarks.workflow.engines.worker", "forge.training.train", "detect.training.loop", "pandas")

_driver = int(os.environ.get(FORKED_BY, os.getppid()))

with ending_with_parent(_driver):  # afterwards the server itself sees that the driver is gone
    for _name in MODULES:
        with suppress(Exception):  # whatever a broken library raises: a worker that needs it says so
            importlib.import_module(_name)
