"""The loss that a frozen detector gives a generator: low where its images pass for real."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from detect.artifact import TrainedDetector
from forge.core.compute import Compute
from forge.core.errors import InputError, quoted
from forge.training.task import Guidance


def guidance_of(trained: TrainedDetector, compute: Compute, weight: float, origin: dict[str, Any]) -> Guidance:
    """Return the loss softplus(score) of a detector, at least 0 and lower where images pass for real.

    Args:
        trained: the detector.
        compute: the device.
        weight: of the loss.
        origin: what decides the detector, JSON values.

    Raises:
        InputError: its score has no gradient.
    """
    score = trained.detector.score_function(compute)
    if score is None:
        raise InputError(
            f"an arms race needs the gradient of the score, and {quoted(trained.name)} has none; attack another "
            "detector: --set race.detector=NAME"
        )

    def loss(images: Tensor) -> Tensor:
        pixels = (images.permute(0, 2, 3, 1) + 1) * 127.5  # as they will be stored, but not rounded
        return softplus(score(pixels)).mean().float()

    return Guidance(loss, weight, origin)
