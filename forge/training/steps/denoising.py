"""Denoising: a network learns to predict what noise hides; the loss is the generator's own (`Denoiser.loss`).

Diffusion models and flow matching are trained so. One step is one gradient of the mean loss of a batch; no value is
read back from the device.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from forge.core.errors import InputError
from forge.generators.denoiser import Denoiser
from forge.training.batches import Batch
from forge.training.steps.base import StepContext
from forge.training.steps.descent import Descent, DescentPlan, DescentSettings
from forge.training.task import Training

QUARTERS = 4  # of the time from 0 to 1, in which losses are read
GUIDED_IMAGES = 8  # images of each step that a further loss sees; each takes as many predictions as sampling does
GUIDED_STEPS = 4  # predictions of each that follow its gradient
MEMORY = 0.98  # share of the losses by quarter that a step keeps


class DenoisingSettings(DescentSettings):
    """Settings of a denoising training."""


def denoising_settings(training: Training) -> DenoisingSettings:
    """Return the settings of a denoising training.

    Raises:
        InputError: it has those of another method.
    """
    if not isinstance(training.settings, DenoisingSettings):
        name = type(training.settings).__name__
        raise InputError(f"{training.name} has {name}, which are not the settings of a denoising training")
    return training.settings


class Denoising(Descent):
    """One network that learns to denoise.

    Attributes:
        watched: fewer than of a GAN, whose images take one pass of the network and not twenty.
    """

    Settings = DenoisingSettings
    watched = 128
    takes_guidance = True
    generator: Denoiser

    def __init__(self, context: StepContext) -> None:
        self.settings = denoising_settings(context.training)
        architecture = context.training.architecture
        generator = architecture.generator()
        if not isinstance(generator, Denoiser):
            raise InputError(
                f"{type(architecture).__name__} is trained by denoising, but its generator() returns "
                f"{type(generator).__name__}; return a subclass of forge.generators.denoiser.Denoiser"
            )
        super().__init__(context, generator, self.settings)
        # sums of losses, and numbers of images, by quarter of the time; older steps fade
        self._quarters = torch.zeros(2, QUARTERS, device=context.device)

    @property
    def capturable(self) -> bool:
        """A step draws for the whole batch from the state it finds, and reads nothing back.

        A graph holds the rates it was captured with, so that one whose rate falls cannot be replayed.
        """
        return not self.settings.decay and self.context.training.guidance is None

    def scalars(self) -> Mapping[str, Tensor]:
        """Losses by quarter."""
        return {"quarters": self._quarters}

    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train for one step."""
        batch, context = batches[0], self.context
        real = self.real_images(batch)
        # drawn for the whole batch, so that several processes see what one would
        times = self.generator.times(self.settings.batch, context.device)[context.share]
        noise = torch.randn(self.settings.batch, *real.shape[1:], device=context.device)[context.share]
        context.random.local()  # for what a network draws itself
        with context.training.compute.autocast(context.precision):
            losses = self.generator.loss(real, times, noise, batch.labels).float()
        guidance = self._guidance(batch.labels)
        loss = losses.mean() if guidance is None else losses.mean() + guidance
        self.descend(loss, cast(DescentPlan, plan))
        self._read_quarters(times, losses.detach())

    def _guidance(self, labels: Tensor | None) -> Tensor | None:
        """Return the further loss of some images, sampled as forgeries are."""
        context = self.context
        if context.training.guidance is None:
            return None
        count = min(GUIDED_IMAGES, context.share.stop - context.share.start)
        latents = context.training.architecture.latents(count, context.device)
        with context.training.compute.autocast(context.precision):
            forged = self.generator.differentiable(
                latents, None if labels is None else labels[:count], steps=GUIDED_STEPS
            )
        return self.guidance(forged)

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
