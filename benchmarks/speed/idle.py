"""Stages that only wait, for measurements of what surrounds stages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.workflow.stage import Facts, Job, Stage


@dataclass(frozen=True, eq=False, kw_only=True)
class Idle(Stage):
    """A stage that waits and has no result.

    Attributes:
        number: tells it from others.
        wait: seconds.
        before: what it comes after.
    """

    action = "idle"
    VERSION = 1

    number: int
    wait: float = 0.0
    before: tuple[Idle, ...] = field(default=())

    @property
    def label(self) -> str:
        """Return its number."""
        return str(self.number)

    @property
    def settings(self) -> dict[str, Any]:
        """Return its number and how long it waits."""
        return {"number": self.number, "wait": self.wait}

    def run(self, job: Job) -> Facts:
        """Wait."""
        time.sleep(self.wait)
        return {}


def many(count: int) -> list[Idle]:
    """Return stages that do nothing, and a last one that comes after all of them."""
    stages = [Idle(number=number) for number in range(count)]
    return [*stages, Idle(number=count, before=tuple(stages))]


def tree(trainings: int = 8, fits: int = 3, scores: int = 4) -> list[Idle]:
    """Return stages as a suite has them: trainings of seconds, fits on each, scores of each fit, and an evaluation."""
    stages: list[Idle] = []

    def add(wait: float, *before: Idle) -> Idle:
        stages.append(Idle(number=len(stages), wait=wait, before=before))
        return stages[-1]

    for training in range(trainings):
        trained = add(1.0 + 0.25 * training)
        for fit in range(fits):
            fitted = add(0.3 + 0.2 * fit, trained)
            for score in range(scores):
                add(0.15 + 0.05 * score, fitted)
    add(0.5, *stages)
    return stages
