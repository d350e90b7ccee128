"""The interface of what shows or records a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from benchmarks.workflow.stage import Activity
from forge.core.progress import ProgressEvent


class Observer(Protocol):
    """Shows or records what an engine does."""

    def planned(self, stages: Sequence[Activity], todo: Collection[str]) -> None:
        """Take note that a run begins; `todo` are the keys of the stages that have no result yet."""

    def started(self, stage: Activity, worker: str = "") -> None:
        """Take note that a stage begins; `worker` says where, if not in this process."""

    def progressed(self, stage: Activity, event: ProgressEvent) -> None:
        """Take note of the progress of a stage."""

    def finished(self, stage: Activity, *, cached: bool, seconds: float) -> None:
        """Take note that a stage's result is there."""

    def ended(self, stage: Activity) -> None:
        """Take note that a stage that began has ended without a result: it failed, or its worker died."""

    def noted(self, text: str) -> None:
        """Show a sentence that a person should know."""
