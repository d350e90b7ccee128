"""Schedules of an adversarial training: values that change over the training along half a cosine.

Huang et al.: The GAN is dead; long live the GAN! A Modern Baseline GAN. NeurIPS 2024, arXiv 2501.05441, appendix. R3GAN
lowers learning rates and the weight of the gradient penalties, and raises Adam's beta2 and the half-life of the
averaged weights.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field


class ScheduleSettings(BaseModel):
    """Values at the end of a training; None keeps what the training begins with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lr: float | None = Field(None, gt=0, description="learning rates at the end, as a share of those at the start")
    penalty: float | None = Field(None, ge=0, description="weights of gradient penalties at the end, likewise")
    beta2: float | None = Field(None, ge=0, lt=1, description="Adam's decay of the mean squared gradient at the end")
    ema: float | None = Field(None, gt=0, description="half-life of the averaged weights, as a share of ema_kimg")


def cosine(start: float, end: float | None, progress: float) -> float:
    """Return the value of half a cosine from `start` at progress 0 to `end` at progress 1; None: always the start.

    Flat at both ends: the first and the last tenth of a training change the value by 2.4 % of the way each.
    """
    if end is None:
        return start
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, max(0.0, progress)))) / 2
