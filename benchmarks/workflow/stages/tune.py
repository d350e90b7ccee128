"""The stage that trains a generator on against a frozen detector: a round of an arms race."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.stage import Job
from benchmarks.workflow.stages.fit import Fit
from benchmarks.workflow.stages.train import Train

if TYPE_CHECKING:
    from forge.training.task import Training


@dataclass(frozen=True, eq=False, kw_only=True)
class Tune(Train):
    """A finished training and a fitted detector to a generator that the detector takes for real more often.

    Attributes:
        base: the training that it goes on from.
        detector: frozen; None: a control that is trained on as long, without one.
        weight: of the detector's loss, softplus of the score.
        round: of the race; no part of the key.
        against: the detector in words; no part of the key.
    """

    action = "tune"
    VERSION = 1

    base: Train
    detector: Fit | None
    weight: float
    round: int
    against: str

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings of the training, and the weight of the detector."""
        return {**super().settings, "weight": self.weight}

    def begun(self, job: Job, training: Training) -> Training:
        """Return the training with the weights that it begins with, and with the detector's loss.

        Raises:
            InputError: the score of the detector has no gradient.
        """
        begun = replace(training, start=self.base.trained(job, None))
        if self.detector is None:
            return begun
        from benchmarks.workflow.guidance import guidance_of  # imports torch

        origin = {"detector": self.detector.key}
        return replace(begun, guidance=guidance_of(self.detector.load(job), job.context.compute, self.weight, origin))
