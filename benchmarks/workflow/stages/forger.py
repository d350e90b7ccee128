"""The stages that make forged faces, as one type."""

from __future__ import annotations

from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.tamper import Tamper
from benchmarks.workflow.stages.translate import Translate

Trained = Synthesize | Translate  # by a generator that was trained
Forger = Trained | Tamper | Gather
