"""The stage that trains a generator on against a frozen detector: a round of an arms race."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.stage import Job
from benchmarks.workflow.stages.fit import Fit
from benchmarks.workflow.stages.train import Train
from forge.core.errors import InputError, quoted

if TYPE_CHECKING:
    from forge.training.task import Guidance, Training


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
        """Return the training with the weights that it begins with, and with the detector's loss."""
        guidance = None if self.detector is None else self._guidance(job, self.detector)
        return replace(training, start=self.base.trained(job, None), guidance=guidance)

    def _guidance(self, job: Job, fit: Fit) -> Guidance:
        """Return the loss softplus(score) of a detector, at least 0 and lower where images pass for real.

        Raises:
            InputError: its score has no gradient.
        """
        from torch import Tensor  # all import torch
        from torch.nn.functional import softplus

        from forge.training.task import Guidance

        trained = fit.load(job)
        score = trained.detector.score_function(job.context.compute)
        if score is None:
            raise InputError(
                f"an arms race needs the gradient of the score, and {quoted(fit.detector)} has none; attack another "
                "detector: --set race.detector=NAME"
            )

        def loss(images: Tensor) -> Tensor:
            pixels = (images.permute(0, 2, 3, 1) + 1) * 127.5  # as they will be stored, but not rounded
            return softplus(score(pixels)).mean().float()

        return Guidance(loss, self.weight, {"detector": fit.key})
