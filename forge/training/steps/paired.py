"""Paired translation: a generator that is shown a condition, against a discriminator that is shown condition and photo.

pix2pix's game (Isola et al. 2017, eq. 4): the objective of the discriminator, plus a weighted L1 distance to the photo
that the condition was made from. Conditions are made afresh in each step, from the mirrored photo, so that both are
always mirrored together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.faces.tensors import to_float, to_uint8
from forge.generators.translation.base import TranslationNetwork
from forge.training.batches import Batch
from forge.training.losses import PatchObjective
from forge.training.monitor.translation import READ, paired_readings
from forge.training.steps.base import StepContext
from forge.training.steps.setup import move_network
from forge.training.steps.translating import Translating, TranslationSettings, settings_of
from forge.training.task import Training


class PairedSettings(TranslationSettings):
    """Settings of a paired translation; the defaults are the paper's."""

    objective: PatchObjective = Field("non-saturating", description="losses of discriminator and generator, per patch")
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distance to the photo; 0: the game alone")
    gan_weight: float = Field(1.0, ge=0, description="weight of the game in the generator's loss; 0: L1 alone")


class Paired(Translating):
    """One generator of conditions, one discriminator of condition and output together."""

    Settings = PairedSettings
    title = "paired"
    remedy = "lower generator.training.discriminator_lr and generator_lr, or raise l1_weight"
    takes_guidance = True
    starts_tellable = False  # some translators restore most pixels, so that even an untrained one is near the photo

    settings: PairedSettings

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        generator = self.translator.generator()
        assert isinstance(generator, TranslationNetwork)
        self.generator: TranslationNetwork = generator
        move_network(generator, context.device)
        self.discriminator = move_network(self.translator.discriminator(), context.device)
        self.generator_optimizer = self.adam(generator.parameters(), self.settings.generator_lr)
        self.discriminator_optimizer = self.adam(self.discriminator.parameters(), self.settings.discriminator_lr)

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse an architecture that is no translator, and one that nothing would train.

        Raises:
            InputError: says which.
        """
        super().check(training)
        settings = settings_of(training, PairedSettings, cls.title)
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

    @property
    def guided(self) -> bool:
        """The L1 distance leads the generator where the discriminator says the same of all its images."""
        return self.settings.l1_weight > 0

    def generator_readings(self, generator: nn.Module) -> dict[str, float]:
        """Compare translations of some photos, held-out ones where there are any, with these photos."""
        assert isinstance(generator, TranslationNetwork)
        pixels, seeds = self.drawn(READ)
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

    def _d_step(self, conditions: Tensor, targets: Tensor, forged: Tensor, *, measure: bool) -> None:
        self.discriminator.requires_grad_(True)
        # instance norm does not mix images: real and forged ones pass as one batch
        pairs = torch.cat([torch.cat([conditions, conditions]), torch.cat([targets, forged])], 1)
        logits = self.logits(self.discriminator, pairs)
        accuracy = self.update_discriminator(self.discriminator, self.discriminator_optimizer, logits, measure=measure)
        self.count_accuracy(accuracy)

    def _g_step(self, conditions: Tensor, targets: Tensor, forged: Tensor, *, measure: bool) -> None:
        settings, readings = self.settings, self.context.readings
        self.discriminator.requires_grad_(False)
        distance, hole = (forged - targets).abs(), self.translator.hole(conditions)
        # of a hole, per pixel of the hole: large and small holes count alike per pixel that is forged
        l1 = distance.mean() if hole is None else distance.sum() / (hole.sum() * distance.shape[1]).clamp(min=1)
        loss = settings.l1_weight * l1
        if settings.gan_weight:
            logits = self.logits(self.discriminator, torch.cat([conditions, forged], 1))
            game = self.objective.generator(logits, logits)
            readings.record("gan_loss", game)
            loss = loss + settings.gan_weight * game
        readings.record("l1", l1)
        guidance = self.guidance(self.translator.decode(forged, conditions))
        loss = loss if guidance is None else loss + guidance
        self.update_generator(loss, [self.generator], [self.generator_optimizer], measure=measure)

    def interval_readings(self) -> dict[str, float]:
        """Return the mean accuracy of the discriminator since the last call, where there is a game."""
        return super().interval_readings() if self.settings.gan_weight else {}
