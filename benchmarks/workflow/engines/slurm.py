"""The Slurm engine, once it is known that submitit is there: importing this refuses with a sentence where it is not."""

from __future__ import annotations

from forge.core.extras import require

require("--engine slurm", "slurm", "submitit")

from benchmarks.workflow.engines.slurm_engine import SlurmEngine  # noqa: E402 - after the check

__all__ = ["SlurmEngine"]
