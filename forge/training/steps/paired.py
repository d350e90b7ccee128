"""Paired translation: a generator that is shown a condition, against a discriminator that is shown condition and photo.

pix2pix's game (Isola et al. 2017, eq. 4): the objective of the discriminator, plus a weighted L1 distance to the photo
that the condition was made from. Conditions are made afresh in each step, from the mirrored photo, so that both are
always mirrored together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.faces.faceset import Indices
from forge.faces.tensors import to_float, to_uint8
from forge.generators.translation.base import TranslationNetwork, Translator
from forge.training.batches import Batch
from forge.training.losses import OBJECTIVES
from forge.training.monitor.observe import gradient_norm
from forge.training.monitor.thresholds import TranslationThresholds
from forge.training.monitor.translation import paired_readings
from forge.training.settings import LoopSettings
from forge.training.steps.base import StepContext, TrainingMethod
from forge.training.steps.setup import move_network
from forge.training.task import Training

READ = 64  # photos whose translations a health check reads


class PairedSettings(LoopSettings):
    """Settings of a paired translation; the defaults are the paper's."""

    objective: Literal["non-saturating", "least-squares", "hinge"] = Field(
        "non-saturating", description="losses of discriminator and generator, per patch"
    )
    generator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the generator")
    discriminator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the discriminator")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's decay of the mean gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's decay of the mean squared gradient")
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distance to the photo; 0: the game alone")
    gan_weight: float = Field(1.0, ge=0, description="weight of the game in the generator's loss; 0: L1 alone")
    health: TranslationThresholds = Field(
        TranslationThresholds(), description="thresholds of failure modes, and the reaction"
    )
    decay: float = Field(
        0.5, ge=0, le=1, description="last share of the training in which the learning rates fall to 0 on a line"
    )


class Paired(TrainingMethod):
    """One generator of conditions, one discriminator of condition and output together."""

    Settings = PairedSettings
    remedy = "lower generator.training.discriminator_lr and generator_lr, or raise l1_weight"
    starts_tellable = False  # some translators restore most pixels, so that even an untrained one is near the photo

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        self.translator, self.settings = translator_of(context.training), paired_settings(context.training)
        self.objective = OBJECTIVES[self.settings.objective]
        generator = self.translator.generator()
        assert isinstance(generator, TranslationNetwork)
        self.generator: TranslationNetwork = generator
        move_network(generator, context.device)
        self.discriminator = move_network(self.translator.discriminator(), context.device)
        self.generator_optimizer = self._adam(generator, self.settings.generator_lr)
        self.discriminator_optimizer = self._adam(self.discriminator, self.settings.discriminator_lr)
        # sum and number of the discriminator's accuracies since the health monitor asked
        self._accuracies = torch.zeros(2, device=context.device)

    def _adam(self, network: nn.Module, rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(network.parameters(), rate, (self.settings.beta1, self.settings.beta2), fused=True)

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse an architecture that is no translator, and one that nothing would train.

        Raises:
            InputError: says which.
        """
        settings = paired_settings(training)
        translator_of(training)
        if not settings.l1_weight and not settings.gan_weight:
            raise InputError("l1_weight and gan_weight are both 0, so that nothing trains the generator; raise one")

    def networks(self) -> Mapping[str, nn.Module]:
        """Generator and discriminator."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return an optimiser for each network."""
        return {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def scalars(self) -> Mapping[str, Tensor]:
        """Sums over steps."""
        return {"accuracies": self._accuracies}

    def rate_factor(self, progress: float) -> float:
        """Keep the learning rates, then let them fall to 0 on a line."""
        decay = self.settings.decay
        return 1.0 if not decay else min(1.0, (1 - progress) / decay)

    @property
    def guided(self) -> bool:
        """The L1 distance leads the generator where the discriminator says the same of all its images."""
        return self.settings.l1_weight > 0

    def generator_readings(self, generator: nn.Module) -> dict[str, float]:
        """Compare translations of some photos, held-out ones where there are any, with these photos."""
        assert isinstance(generator, TranslationNetwork)
        chosen, seeds = self._drawn(READ)
        pixels = (self.context.training.held_out or self.context.training.view).read(chosen)
        photos = to_float(torch.from_numpy(pixels)).to(self.context.device)
        conditions = self.translator.conditions(pixels, seeds).to(self.context.device)
        outputs = generator.predict(conditions).float()
        return paired_readings(
            self.translator.decode(outputs, conditions),
            photos,
            outputs=outputs,
            targets=self.translator.target(photos),
            start=self.translator.untrained(conditions),
            hole=self.translator.hole(conditions),
        )

    def inputs(self, count: int) -> tuple[Tensor, ...]:
        """Make the conditions of random photos: of held-out ones, where there are any."""
        chosen, seeds = self._drawn(count)
        photos = (self.context.training.held_out or self.context.training.view).read(chosen)
        return (self.translator.conditions(photos, seeds).to(self.context.device),)

    def _drawn(self, count: int) -> tuple[Indices, list[int]]:
        """Draw places of photos and seeds of their conditions from torch's random state."""
        training = self.context.training
        chosen = torch.randint(len(training.held_out or training.view), (count,)).numpy()
        return chosen, torch.randint(2**31, (count,)).tolist()

    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train the discriminator, then the generator, on the same forgeries."""
        context, measure = self.context, bool(plan)
        photos = self.real_images(batches[0])
        # seeds are drawn for the whole batch, so that several processes make the conditions that one would
        seeds = torch.randint(2**31, (self.settings.batch,))[context.share].tolist()
        conditions = self.translator.conditions(to_uint8(photos).cpu().numpy(), seeds).to(context.device)
        conditions = conditions.contiguous(memory_format=torch.channels_last)
        targets = self.translator.target(photos)
        context.random.local()
        with context.training.compute.autocast(context.precision):
            forged = self.generator.predict(conditions).float()
        if self.settings.gan_weight:
            self._d_step(conditions, targets, forged.detach(), measure=measure)
        self._g_step(conditions, targets, forged, measure=measure)

    def _logits(self, conditions: Tensor, outputs: Tensor) -> Tensor:
        with self.context.training.compute.autocast(self.context.precision):
            logits: Tensor = self.discriminator(torch.cat([conditions, outputs], 1))
        return logits.float()

    def _d_step(self, conditions: Tensor, targets: Tensor, forged: Tensor, *, measure: bool) -> None:
        self.discriminator.requires_grad_(True)
        # instance norm does not mix images: real and forged ones pass as one batch
        both = self._logits(torch.cat([conditions, conditions]), torch.cat([targets, forged]))
        real_logits, forged_logits = both.chunk(2)
        loss = self.objective.discriminator(real_logits, forged_logits) / 2  # halved, as the paper slows D down
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.context.processes.average_gradients(self.discriminator)
        readings = self.context.readings
        if measure:
            readings.record("d_grad_norm", gradient_norm(self.discriminator.parameters()))
        self.discriminator_optimizer.step()
        with torch.no_grad():
            boundary = self.objective.boundary or 0.0
            accuracy = ((real_logits > boundary).float().mean() + (forged_logits < boundary).float().mean()) / 2
            readings.record("d_loss", loss)
            readings.record("d_accuracy", accuracy)
            self._accuracies.add_(torch.stack([accuracy, torch.ones_like(accuracy)]))

    def _g_step(self, conditions: Tensor, targets: Tensor, forged: Tensor, *, measure: bool) -> None:
        settings, readings = self.settings, self.context.readings
        self.discriminator.requires_grad_(False)
        distance, hole = (forged - targets).abs(), self.translator.hole(conditions)
        # of a hole, per pixel of the hole: large and small holes count alike per pixel that is forged
        l1 = distance.mean() if hole is None else distance.sum() / (hole.sum() * distance.shape[1]).clamp(min=1)
        loss = settings.l1_weight * l1
        if settings.gan_weight:
            logits = self._logits(conditions, forged)
            game = self.objective.generator(logits, logits)
            readings.record("gan_loss", game)
            loss = loss + settings.gan_weight * game
        self.generator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.context.processes.average_gradients(self.generator)
        if measure:
            readings.record("g_grad_norm", gradient_norm(self.generator.parameters()))
        self.generator_optimizer.step()
        readings.record("l1", l1)
        readings.record("g_loss", loss)

    def interval_readings(self) -> dict[str, float]:
        """Return the mean accuracy of the discriminator since the last call."""
        if not self.settings.gan_weight:
            return {}
        mean = (self._accuracies[0] / self._accuracies[1].clamp(min=1)).reshape(1)
        self.context.processes.average([mean])
        self._accuracies.zero_()
        return {"d_accuracy": float(mean)}


def paired_settings(training: Training) -> PairedSettings:
    """Return the settings of a paired translation.

    Raises:
        InputError: they are those of another method.
    """
    if not isinstance(training.settings, PairedSettings):
        name = type(training.settings).__name__
        raise InputError(f"{training.name} has {name}, which are not the settings of a paired translation")
    return training.settings


def translator_of(training: Training) -> Translator:
    """Return the translator that is trained.

    Raises:
        InputError: the architecture is none.
    """
    if not isinstance(training.architecture, Translator):
        raise InputError(f"{training.name} makes images from latents; paired training needs a translator as pix2pix")
    return training.architecture
