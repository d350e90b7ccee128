"""Adversarial training: a discriminator learns to tell real images from forged ones, a generator to be taken for real.

One step is `d_steps` discriminator steps and then `g_steps` generator steps. No value is read back from the device, so
that a GPU always has work waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from forge.core.compute import Precision
from forge.core.errors import InputError
from forge.faces.tensors import to_float
from forge.generators.blocks.growth import Growing
from forge.generators.blocks.san import logits_along_directions
from forge.training.augment import adapted, augment
from forge.training.batches import Batch
from forge.training.losses import (
    OBJECTIVES,
    gradient_penalty,
    path_lengths,
    wasserstein_discriminator,
    zero_centred_penalty,
)
from forge.training.monitor.observe import aside, gradient_norm
from forge.training.schedule import ScheduleSettings, cosine
from forge.training.settings import TrainingSettings
from forge.training.steps.adversarial_plan import AdversarialPlan, DiscriminatorStep, GeneratorStep, plan_of
from forge.training.steps.base import StepContext, TrainingMethod
from forge.training.steps.setup import accepts_joint_batch, move_network, trial_step
from forge.training.task import Training


def adversarial_settings(training: Training) -> TrainingSettings:
    """Return the settings of an adversarial training.

    Raises:
        InputError: it has those of another method.
    """
    if not isinstance(training.settings, TrainingSettings):
        name = type(training.settings).__name__
        raise InputError(f"{training.name} has {name}, which are not the settings of an adversarial training")
    return training.settings


class Adversarial(TrainingMethod):
    """One generator against one discriminator, under one of the objectives of `forge.training.losses`."""

    Settings = TrainingSettings
    remedy = "lower generator.training.discriminator_lr and generator_lr"
    takes_guidance = True

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        self.training, self.device = context.training, context.device
        self.settings = settings = adversarial_settings(context.training)
        self.objective = OBJECTIVES[settings.objective]
        self.generator = move_network(self.training.architecture.generator(), self.device)
        self.discriminator = move_network(self.training.architecture.discriminator(), self.device)
        self.generator_optimizer = self._adam(self.generator, settings.generator_lr)
        self.discriminator_optimizer = self._adam(self.discriminator, settings.discriminator_lr)
        # [0] augmentation probability; [1] sum and [2] number of D's signs at real images since it changed; [3] mean
        # path length; [4] sum and [5] number of D's accuracies since the health monitor asked
        self._scalars = torch.tensor([settings.first_probability, 0.0, 0.0, 0.0, 0.0, 0.0], device=self.device)
        share = context.share
        self.joint = accepts_joint_batch(self.discriminator, share.stop - share.start)
        # with one step of each, both are computed on the same forged images
        self._together = settings.d_steps == settings.g_steps == 1 and settings.share_forgeries
        self._schedule, self._penalty_factor = settings.schedule or ScheduleSettings(), 1.0

    def _adam(self, network: nn.Module, rate: float) -> torch.optim.Adam:
        betas = (self.settings.beta1, self.settings.beta2)
        capturable = self.device.type == "cuda"
        return torch.optim.Adam(network.parameters(), rate, betas, fused=True, capturable=capturable)

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse a path-length penalty where there are no styles.

        Raises:
            InputError: there are none.
        """
        if adversarial_settings(training).path_length and not training.architecture.truncates:
            raise InputError("path_length needs a style-based generator such as stylegan-lite; set it to 0")

    @classmethod
    def trial_step(cls, training: Training) -> Callable[[Precision], None]:
        """Return a forward and backward pass of both networks, which take most of the memory."""
        return trial_step(training)

    @property
    def batches_per_step(self) -> int:
        """One for each discriminator step."""
        return self.settings.d_steps

    @property
    def capturable(self) -> bool:
        """Several steps of a kind are seeded one by one, which a CUDA graph cannot hold; nor can it hold a schedule."""
        changing = self._schedule.model_copy(update={"ema": None})  # averaging is no part of a step
        return self._together and changing == ScheduleSettings() and self.training.guidance is None

    def rate_factor(self, progress: float) -> float:
        """Follow the schedule of the learning rates."""
        return cosine(1.0, self._schedule.lr, progress)

    def ema_factor(self, progress: float) -> float:
        """Follow the schedule of the averaging."""
        return cosine(1.0, self._schedule.ema, progress)

    def begin_step(self, progress: float) -> None:
        """Follow the schedules of penalties and beta2, and let the networks grow."""
        self._penalty_factor = cosine(1.0, self._schedule.penalty, progress)
        beta2 = cosine(self.settings.beta2, self._schedule.beta2, progress)
        for optimizer in self.optimizers().values():
            for group in optimizer.param_groups:
                group["betas"] = (self.settings.beta1, beta2)
        for network in (self.generator, self.discriminator):
            if isinstance(network, Growing):
                network.follow(progress)

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
        """Adaptive values, and sums over steps."""
        return {"scalars": self._scalars}

    def plan(self, step: int, *, measure: bool) -> AdversarialPlan:
        """Return penalties that are computed at one step."""
        grown = not isinstance(self.generator, Growing) or self.generator.grown
        return plan_of(self.settings, step, grown=grown, measure=measure)

    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train the discriminator, then the generator."""
        d_plans, g_plans, _ = cast(AdversarialPlan, plan)
        if self._together:
            self._step_together(d_plans[0], g_plans[0], batches[0])
        else:
            self._step_apart(d_plans, g_plans, batches)

    def _step_together(self, d_plan: DiscriminatorStep, g_plan: GeneratorStep, batch: Batch) -> None:
        """One step of each network on the same forged images."""
        real, latents = self.real_images(batch), self._latents()
        self.context.random.local()
        forged = self._forge(latents, batch.labels)
        self.d_step(real, forged.detach().float(), batch.labels, d_plan)
        self.g_step(forged, real, batch.labels, g_plan)

    def _step_apart(
        self, d_plans: Sequence[DiscriminatorStep], g_plans: Sequence[GeneratorStep], batches: Sequence[Batch]
    ) -> None:
        """Steps that each make their own forged images; the generator's use the last batch of real ones."""
        random, settings = self.context.random, self.settings
        for i, (batch, d_plan) in enumerate(zip(batches, d_plans, strict=True)):
            random.shared(i)
            real, latents = self.real_images(batch), self._latents()
            random.local(i)
            with torch.no_grad():
                forged = self._forge(latents, batch.labels).float()
            self.d_step(real, forged, batch.labels, d_plan)
        for i, g_plan in enumerate(g_plans):
            random.shared(settings.d_steps + i)
            latents = self._latents()
            random.local(settings.d_steps + i)
            self.g_step(self._forge(latents, batch.labels), real, batch.labels, g_plan)

    def _latents(self) -> Tensor:
        return self.training.architecture.latents(self.settings.batch, self.device)[self.context.share]

    def _forge(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        with self.training.compute.autocast(self.context.precision):
            forged: Tensor = self.generator(latents) if labels is None else self.generator(latents, labels)
        return forged

    def _logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logits [N] in fp32 of images as the discriminator sees them: augmented."""
        adapts = self.settings.augment_target is not None
        probability = self._scalars[0] if adapts else self.settings.first_probability
        with self.training.compute.autocast(self.context.precision):
            seen = augment(images, self.settings.augment, probability)
            logits: Tensor = self.discriminator(seen) if labels is None else self.discriminator(seen, labels)
        return logits.float()

    def d_step(self, real: Tensor, forged: Tensor, labels: Tensor | None, plan: DiscriminatorStep) -> None:
        """Train the discriminator.

        Args:
            real: [N, 3, H, W] in -1..1.
            forged: [N, 3, H, W], without a gradient.
            labels: int64 [N, C] of both.
            plan: what else is computed.
        """
        self.discriminator.requires_grad_(True)
        with logits_along_directions(self.discriminator) as along:
            if self.joint:
                both = None if labels is None else torch.cat([labels, labels])
                real_logits, forged_logits = self._logits(torch.cat([real, forged]), both).chunk(2)
            else:
                real_logits, forged_logits = self._logits(real, labels), self._logits(forged, labels)
        loss = self.objective.discriminator(real_logits, forged_logits)
        if along:  # SAN: the direction of the last layer has the Wasserstein loss, and nothing else does
            loss = loss + wasserstein_discriminator(*torch.cat(along).chunk(2))
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if plan.penalise:
            self._penalise(real, forged, labels)
        self.context.processes.average_gradients(self.discriminator)
        readings = self.context.readings
        if plan.measure:
            readings.record("d_grad_norm", gradient_norm(self.discriminator.parameters()))
        self.discriminator_optimizer.step()
        with torch.no_grad():
            accuracy = self._accuracy(real_logits, forged_logits)
            readings.record("d_loss", loss)
            readings.record("d_accuracy", accuracy)
            self._scalars[4].add_(accuracy)
            self._scalars[5].add_(1)
            self._real_logits = real_logits.detach()
            if self.settings.augment_target is not None:
                self._adapt_augmentation(real_logits, change=plan.adapt)

    def g_step(self, forged: Tensor, real: Tensor, labels: Tensor | None, plan: GeneratorStep) -> None:
        """Train the generator.

        Args:
            forged: [N, 3, H, W] of the generator, with gradients.
            real: [N, 3, H, W] in -1..1, for objectives that compare.
            labels: int64 [N, C] of both.
            plan: what else is computed.
        """
        self.discriminator.requires_grad_(False)
        logits = self._logits(forged, labels)
        real_logits = self._real_logits
        if self.objective.relative:
            with torch.no_grad():
                real_logits = self._logits(real, labels)
        loss = self.objective.generator(real_logits, logits)
        guidance = self.guidance(forged)
        loss = loss if guidance is None else loss + guidance
        self.generator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if plan.smooth:
            self._smooth_paths(labels)
        self.context.processes.average_gradients(self.generator)
        if plan.measure:
            self.context.readings.record("g_grad_norm", gradient_norm(self.generator.parameters()))
        self.generator_optimizer.step()
        self.context.readings.record("g_loss", loss)

    def _accuracy(self, real: Tensor, forged: Tensor) -> Tensor:
        """Return the share of images on the right side of the boundary; without one, of pairs in the right order."""
        boundary = self.objective.boundary
        if boundary is None:
            return (real > forged).float().mean()
        return ((real > boundary).float().mean() + (forged < boundary).float().mean()) / 2

    def _penalise(self, real: Tensor, forged: Tensor, labels: Tensor | None) -> None:
        """Add the gradients of the penalties, not in bf16, whose gradients of gradients are too coarse."""
        settings = self.settings

        def discriminate(images: Tensor) -> Tensor:
            logits: Tensor = self.discriminator(images) if labels is None else self.discriminator(images, labels)
            return logits

        penalties: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "r1": (settings.r1_gamma, lambda: zero_centred_penalty(discriminate, real)),
            "r2": (settings.r2_gamma, lambda: zero_centred_penalty(discriminate, forged)),
            "gradient_penalty": (settings.gradient_penalty, lambda: gradient_penalty(discriminate, real, forged)),
        }
        for name, (weight, penalty) in penalties.items():
            if weight:
                with self.training.compute.tensor_cores(self.context.precision):
                    value = penalty()
                    # lazy regularisation: a penalty at every n-th step counts n times (Karras et al. 2020, appendix B)
                    factor = weight * self._penalty_factor * settings.penalty_every
                    torch.autograd.backward(value * factor)
                self.context.readings.record(name, value)

    def _adapt_augmentation(self, real_logits: Tensor, *, change: bool) -> None:
        """Add up the signs of D at real images, and change the augmentation probability every few steps (ADA)."""
        settings, processes, scalars = self.settings, self.context.processes, self._scalars
        signs = (real_logits - (self.objective.boundary or 0.0)).sign().sum().reshape(1)
        processes.average([signs])
        scalars[1].add_(signs[0] * processes.size)
        scalars[2].add_(settings.batch)
        if change:
            probability = adapted(
                scalars[0],
                scalars[1] / scalars[2],
                target=settings.augment_target or 0.0,
                images=scalars[2],
                kimg=settings.augment_kimg,
                upper=settings.augment_most,
            )
            scalars[0].copy_(probability)
            scalars[1:3].zero_()
        self.context.readings.record("augment", scalars[0])

    def _smooth_paths(self, labels: Tensor | None) -> None:
        """Path-length penalty on half a batch, as in StyleGAN2: images should move equally far with every style.

        The target is a running mean of the lengths, which all processes share.
        """
        latents = self._latents()
        half = max(1, len(latents) // 2)
        given = () if labels is None else (labels[:half],)
        images, styles = cast(Any, self.generator).with_styles(latents[:half], *given)
        lengths = path_lengths(images, styles)
        mean = lengths.detach().mean().reshape(1)
        self.context.processes.average([mean])
        self._scalars[3:4].lerp_(mean, 0.01)
        penalty = (lengths - self._scalars[3]).square().mean()
        torch.autograd.backward(penalty * (self.settings.path_length * self.settings.path_every))
        self.context.readings.record("path_length", lengths.mean())

    def interval_readings(self) -> dict[str, float]:
        """Return the mean accuracy of the discriminator since the last call, as single steps swing."""
        mean = (self._scalars[4] / self._scalars[5].clamp(min=1)).reshape(1)
        self.context.processes.average([mean])
        self._scalars[4:].zero_()
        return {"d_accuracy": float(mean)}

    def discriminate(self, forged: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the discriminator with logits above 0 for real, whatever the objective's boundary is."""
        look = aside(self.discriminator, lambda: self.training.compute.autocast(self.context.precision))
        boundary = self.objective.boundary
        if boundary is None:  # only differences mean something: half way between real and forged
            reals = to_float(torch.from_numpy(self.training.view.read(slice(0, len(forged))))).to(self.device)
            boundary = float(look(reals).mean() + look(forged).mean()) / 2
        return lambda images: look(images) - boundary
