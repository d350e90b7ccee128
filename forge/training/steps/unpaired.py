"""Base of trainings between two domains of faces: a batch of each, and the faces that the monitor compares with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.faces.faceset import FaceView
from forge.faces.tensors import shifted, to_float
from forge.generators.domains import Domains
from forge.training.batches import Batch
from forge.training.monitor.metrics import SAMPLES
from forge.training.monitor.observe import FEWEST, aside
from forge.training.monitor.translation import READ, DomainClassifier, unpaired_readings
from forge.training.steps.base import StepContext
from forge.training.steps.setup import move_network
from forge.training.steps.translating import Translating, TranslationSettings
from forge.training.task import Training


class UnpairedSettings(TranslationSettings):
    """Settings of a translation between domains."""

    shift: float = Field(
        0.06, ge=0, lt=1, description="faces are moved by up to this share of their side, by whole pixels (papers: .06)"
    )


class Unpaired(Translating):
    """A translation between two domains of faces. A step takes a batch of each; the smaller domain is shown more often.

    The discriminator of the target domain is the one that the monitor asks.
    """

    Settings = UnpairedSettings
    settings: UnpairedSettings

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse an architecture that is no translator, settings of another method, and a training without domains.

        Raises:
            InputError: says which.
        """
        super().check(training)
        domains_of(training)

    @classmethod
    def views(cls, training: Training) -> Sequence[FaceView]:
        """Return the faces of both domains."""
        domains = domains_of(training)
        return [domains.sources(training.view), domains.targets(training.view)]

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        self.discriminator = move_network(self.translator.discriminator(), context.device)
        self.discriminator_optimizer = self.adam(self.discriminator.parameters(), self.settings.discriminator_lr)

    @property
    def batches_per_step(self) -> int:
        """One of each domain."""
        return 2

    def expected(self) -> tuple[FaceView, FaceView | None]:
        """Return the faces of the target domain; all, where these are too few to compare with."""
        training, domains = self.context.training, domains_of(self.context.training)
        targets, held_out = domains.targets(training.view), training.held_out
        if len(targets) < FEWEST:
            return training.view, held_out
        return targets, domains.targets(held_out) if held_out else None

    def sources(self) -> Sequence[FaceView]:
        """Return the faces of the source domain: held-out ones, then the others."""
        views = [domains_of(self.context.training).sources(view) for view in super().sources()]
        return [view for view in views if len(view)]

    def generator_readings(self, generator: nn.Module) -> dict[str, float]:
        """Compare translations of some faces with these, and ask a classifier of the domains for their sides."""
        faces, seeds = self.drawn(READ)
        conditions = self.translator.conditions(faces, seeds).to(self.context.device)
        images = generator(conditions).float()
        before, after = (self._domain_classifier.share(each) for each in (conditions, images))
        return unpaired_readings(images, conditions) | {"domain_moved": after - before}

    @cached_property
    def _domain_classifier(self) -> DomainClassifier:
        training, domains = self.context.training, domains_of(self.context.training)
        sides = [
            to_float(torch.from_numpy(view.sample(SAMPLES, training.seed).read())).to(self.context.device)
            for view in (domains.sources(training.view), domains.targets(training.view))
        ]
        return DomainClassifier(*sides, seed=training.seed)

    def varied(self, batch: Batch) -> Tensor:
        """Return faces of a batch [N, 3, H, W] in -1..1, mirrored and moved at random, each by itself."""
        images, share = self.real_images(batch), self.context.share
        reach = round(self.settings.shift * images.shape[2])
        # drawn for the whole batch, so that several processes move the images that one would
        moves = torch.randint(-reach, reach + 1, (2, self.settings.batch), device=self.context.device)[:, share]
        return shifted(images, moves[0], moves[1]) if reach else images

    def discriminate(self, forged: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the discriminator of the target domain, by the mean logit of an image's patches."""
        training, boundary = self.context.training, self.objective.boundary or 0.0
        look = aside(self.discriminator, lambda: training.compute.autocast(self.context.precision))
        return lambda images: look(images).mean(1) - boundary


def domains_of(training: Training) -> Domains:
    """Return the domains of a training.

    Raises:
        InputError: it has none.
    """
    if training.domains is None:
        raise InputError(f"{training.name} translates between domains of faces, and none are named; give Domains.of")
    return training.domains
