"""Trainings of one network by one loss: AdamW, a learning rate that warms up, gradients that are clipped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.training.decay import linear_decay
from forge.training.settings import LoopSettings
from forge.training.steps.base import StepContext, TrainingMethod
from forge.training.steps.setup import move_network


class DescentSettings(LoopSettings):
    """Settings of a training of one network: the loop's, and those of AdamW (Loshchilov and Hutter 2019)."""

    lr: float = Field(1e-3, gt=0, description="AdamW's learning rate")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decay of all weights")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's decay of the mean gradient")
    beta2: float = Field(0.99, ge=0, lt=1, description="AdamW's decay of the mean squared gradient")
    warm_up: int = Field(100, ge=0, description="steps in which the learning rate rises from 0")
    decay: float = Field(
        0.0, ge=0, le=1, description="last share of the training in which the learning rate falls to 0 on a line"
    )
    clip: float = Field(1.0, ge=0, description="longest gradient, as a norm over all weights; 0: any")


class DescentPlan(NamedTuple):
    """What decides a step beside its batch.

    Attributes:
        rate: share of the learning rate.
        measure: whether the norm of the gradient is recorded.
    """

    rate: float
    measure: bool


class Descent(TrainingMethod):
    """One network that follows the gradient of one loss; its averaged weights make the images.

    Args:
        context: from the loop.
        network: that is trained.
        settings: of the optimiser.
    """

    Settings = DescentSettings
    remedy = "lower generator.training.lr, or raise its warm_up"

    def __init__(self, context: StepContext, network: nn.Module, settings: DescentSettings) -> None:
        super().__init__(context)
        self.descent, device = settings, context.device
        self.generator = move_network(network, device)
        self.optimizer = torch.optim.AdamW(
            self.generator.parameters(),
            settings.lr,
            (settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )

    def rate_factor(self, progress: float) -> float:
        """Return the factor of the learning rate: 1, then down a line to 0."""
        return linear_decay(progress, self.descent.decay)

    def networks(self) -> Mapping[str, nn.Module]:
        """The generator alone."""
        return {"generator": self.generator}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return the optimiser of the generator."""
        return {"generator_optimizer": self.optimizer}

    def plan(self, step: int, *, measure: bool) -> DescentPlan:
        """Return the share of the learning rate at a step; each of the first steps is a variant of its own."""
        return DescentPlan(min(1.0, (step + 1) / max(1, self.descent.warm_up)), measure)

    def descend(self, loss: Tensor, plan: DescentPlan) -> None:
        """Follow the gradient of a loss for one step."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.context.processes.average_gradients(self.generator)
        norm = nn.utils.clip_grad_norm_(self.generator.parameters(), self.descent.clip or math.inf)
        with self._rate(plan.rate):
            self.optimizer.step()
        self.context.readings.record("loss", loss)
        if plan.measure:
            self.context.readings.record("grad_norm", norm)

    @contextmanager
    def _rate(self, share: float) -> Iterator[None]:
        """Lower the learning rates for the enclosed step."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        yield
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
