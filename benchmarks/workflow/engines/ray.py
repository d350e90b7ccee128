"""The Ray engine, once it is known that Ray is there: importing this module refuses with a sentence where it is not."""

from __future__ import annotations

import os

from forge.core.extras import require

require("--engine ray", "ray", "ray")
# Read when Ray is imported: what its processes say is not printed into what this one writes, e.g. --json.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from benchmarks.workflow.engines.ray_engine import RayEngine  # noqa: E402 - after its environment

__all__ = ["RayEngine"]
