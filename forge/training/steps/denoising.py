"""Denoising: a network learns to predict what noise hides; the loss is the generator's own (`Denoiser.loss`).

Diffusion models and flow matching are trained so. One step is one gradient of the mean loss of a batch; no value is
read back from the device.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.generators.denoiser import Denoiser
from forge.training.batches import Batch
from forge.training.decay import linear_decay
from forge.training.settings import LoopSettings
from forge.training.steps.base import StepContext, TrainingMethod
from forge.training.steps.setup import move_network
from forge.training.task import Training

QUARTERS = 4  # of the time from 0 to 1, in which losses are read
MEMORY = 0.98  # share of the losses by quarter that a step keeps


class DenoisingSettings(LoopSettings):
    """Settings of a denoising training: the loop's, and those of AdamW (Loshchilov and Hutter 2019)."""

    lr: float = Field(1e-3, gt=0, description="AdamW's learning rate")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decay of all weights")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's decay of the mean gradient")
    beta2: float = Field(0.99, ge=0, lt=1, description="AdamW's decay of the mean squared gradient")
    warm_up: int = Field(100, ge=0, description="steps in which the learning rate rises from 0")
    decay: float = Field(
        0.0, ge=0, le=1, description="last share of the training in which the learning rate falls to 0 on a line"
    )
    clip: float = Field(1.0, ge=0, description="longest gradient, as a norm over all weights; 0: any")


class DenoisingPlan(NamedTuple):
    """What decides a step beside its batch.

    Attributes:
        rate: share of the learning rate.
        measure: whether the norm of the gradient is recorded.
    """

    rate: float
    measure: bool


def denoising_settings(training: Training) -> DenoisingSettings:
    """Return the settings of a denoising training.

    Raises:
        InputError: it has those of another method.
    """
    if not isinstance(training.settings, DenoisingSettings):
        name = type(training.settings).__name__
        raise InputError(f"{training.name} has {name}, which are not the settings of a denoising training")
    return training.settings


class Denoising(TrainingMethod):
    """One network that learns to denoise; its averaged weights make the images.

    Attributes:
        watched: fewer than of a GAN, whose images take one pass of the network and not twenty.
    """

    Settings = DenoisingSettings
    remedy = "lower generator.training.lr, or raise its warm_up"
    watched = 128

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        self.settings = settings = denoising_settings(context.training)
        architecture, device = context.training.architecture, context.device
        generator = architecture.generator()
        if not isinstance(generator, Denoiser):
            raise InputError(
                f"{type(architecture).__name__} is trained by denoising, but its generator() returns "
                f"{type(generator).__name__}; return a subclass of forge.generators.denoiser.Denoiser"
            )
        self.generator: Denoiser = cast(Denoiser, move_network(generator, device))
        self.optimizer = torch.optim.AdamW(
            self.generator.parameters(),
            settings.lr,
            (settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )
        # sums of losses, and numbers of images, by quarter of the time; older steps fade
        self._quarters = torch.zeros(2, QUARTERS, device=device)

    @property
    def capturable(self) -> bool:
        """A step draws for the whole batch from the state it finds, and reads nothing back.

        A graph holds the rates it was captured with, so that one whose rate falls cannot be replayed.
        """
        return not self.settings.decay

    def rate_factor(self, progress: float) -> float:
        """Return the factor of the learning rate: 1, then down a line to 0."""
        return linear_decay(progress, self.settings.decay)

    def networks(self) -> Mapping[str, nn.Module]:
        """The generator alone."""
        return {"generator": self.generator}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return the optimiser of the generator."""
        return {"generator_optimizer": self.optimizer}

    def scalars(self) -> Mapping[str, Tensor]:
        """Losses by quarter."""
        return {"quarters": self._quarters}

    def plan(self, step: int, *, measure: bool) -> DenoisingPlan:
        """Return the share of the learning rate at a step; each of the first steps is a variant of its own."""
        return DenoisingPlan(min(1.0, (step + 1) / max(1, self.settings.warm_up)), measure)

    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train for one step."""
        plan, batch = cast(DenoisingPlan, plan), batches[0]
        context, readings = self.context, self.context.readings
        real = self.real_images(batch)
        # drawn for the whole batch, so that several processes see what one would
        times = self.generator.times(self.settings.batch, context.device)[context.share]
        noise = torch.randn(self.settings.batch, *real.shape[1:], device=context.device)[context.share]
        context.random.local()  # for what a network draws itself
        with context.training.compute.autocast(context.precision):
            losses = self.generator.loss(real, times, noise, batch.labels).float()
        loss = losses.mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        context.processes.average_gradients(self.generator)
        norm = nn.utils.clip_grad_norm_(self.generator.parameters(), self.settings.clip or math.inf)
        with self._rate(plan.rate):
            self.optimizer.step()
        readings.record("loss", loss)
        if plan.measure:
            readings.record("grad_norm", norm)
        self._read_quarters(times, losses.detach())

    @contextmanager
    def _rate(self, share: float) -> Iterator[None]:
        """Lower the learning rates for the enclosed step."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        yield
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _read_quarters(self, times: Tensor, losses: Tensor) -> None:
        """Record the mean loss of the last steps by quarter of the time: which part of the way is learned."""
        numbers = (times * QUARTERS).long().clamp(0, QUARTERS - 1)
        inside = (numbers[:, None] == torch.arange(QUARTERS, device=times.device)).float()
        news = torch.stack([losses @ inside, inside.sum(0)])
        self.context.processes.average([news])
        self._quarters.mul_(MEMORY).add_(news)
        sums, counts = self._quarters
        for number in range(QUARTERS):
            # a quarter that no time fell into yet has loss 0
            self.context.readings.record(f"quarter{number + 1}_loss", sums[number] / counts[number].clamp(min=1e-6))
