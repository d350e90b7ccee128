"""Base of the trainings of translators: optimisers, learning rates, the step of a discriminator, conditions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.faces.faceset import FaceView, Images
from forge.generators.translation.base import Translator
from forge.training.decay import linear_decay
from forge.training.losses import OBJECTIVES, PatchObjective
from forge.training.monitor.observe import gradient_norm
from forge.training.monitor.thresholds import TranslationThresholds
from forge.training.settings import LoopSettings
from forge.training.steps.base import StepContext, TrainingMethod
from forge.training.task import Training

_S = TypeVar("_S", bound=LoopSettings)


class TranslationSettings(LoopSettings):
    """Settings of the game of a translation; the defaults are those of the papers."""

    objective: PatchObjective = Field("least-squares", description="losses of discriminator and generator, per patch")
    generator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the generator")
    discriminator_lr: float = Field(2e-4, gt=0, description="Adam's learning rate of the discriminator")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's decay of the mean gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's decay of the mean squared gradient")
    health: TranslationThresholds = Field(
        TranslationThresholds(), description="thresholds of failure modes, and the reaction"
    )
    decay: float = Field(
        0.5, ge=0, le=1, description="last share of the training in which the learning rates fall to 0 on a line"
    )


class Translating(TrainingMethod):
    """A translator against a discriminator of patches, whose accuracy is read.

    Attributes:
        title: of the method, an adjective.
    """

    Settings = TranslationSettings
    title: ClassVar[str] = "translating"

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        self.translator = translator_of(context.training, self.title)
        self.settings = settings_of(context.training, TranslationSettings, self.title)
        self.objective = OBJECTIVES[self.settings.objective]
        # sum and number of the discriminator's accuracies since the health monitor asked
        self._accuracies = torch.zeros(2, device=context.device)

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse an architecture that is no translator, and settings of another method.

        Raises:
            InputError: says which.
        """
        settings_of(training, cls.Settings, cls.title)
        translator_of(training, cls.title)

    def adam(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Adam:
        """Return the optimiser of some parameters."""
        return torch.optim.Adam(parameters, rate, (self.settings.beta1, self.settings.beta2), fused=True)

    def scalars(self) -> Mapping[str, Tensor]:
        """Sums over steps."""
        return {"accuracies": self._accuracies}

    def rate_factor(self, progress: float) -> float:
        """Keep the learning rates, then let them fall to 0 on a line."""
        return linear_decay(progress, self.settings.decay)

    def sources(self) -> Sequence[FaceView]:
        """Return the faces that are translated for sample grids and the monitor: held-out ones, then the others."""
        training = self.context.training
        return [view for view in (training.held_out, training.view) if view is not None]

    def inputs(self, count: int) -> tuple[Tensor, ...]:
        """Make the conditions of random faces."""
        (conditions,) = self.batches(count, count)
        return conditions

    def batches(self, count: int, size: int) -> Iterator[tuple[Tensor, ...]]:
        """Make the conditions of `count` random faces, `size` at a time; of all of them each face counts once."""
        faces, seeds = self.drawn(count)
        for start in range(0, count, size):
            part = slice(start, start + size)
            yield (self.translator.conditions(faces[part], seeds[part]).to(self.context.device),)

    def drawn(self, count: int) -> tuple[Images, list[int]]:
        """Draw faces to translate, and the seeds of their conditions, from torch's random state.

        Held-out faces first, and each once before any is taken again: translations of one face are near-duplicates,
        which the monitor would take for a collapse.
        """
        images: list[Images] = []
        for view in itertools.cycle(self.sources()):
            chosen = torch.randperm(len(view))[: count - sum(map(len, images))].numpy()
            images.append(view.read(chosen))
            if sum(map(len, images)) == count:
                break
        return np.concatenate(images), torch.randint(2**31, (count,)).tolist()

    def update_discriminator(
        self,
        discriminator: nn.Module,
        optimizer: torch.optim.Optimizer,
        logits: Tensor,
        *,
        measure: bool,
        prefix: str = "d",
    ) -> Tensor:
        """Move a discriminator, and read its loss and accuracy.

        Args:
            discriminator: the network.
            optimizer: of its weights.
            logits: [2 N, patches], of real images and then of as many forged ones.
            measure: also read the norm of the gradient.
            prefix: of the readings.

        Returns:
            The accuracy, a scalar.
        """
        readings, boundary = self.context.readings, self.objective.boundary or 0.0
        real, forged = logits.chunk(2)
        loss = self.objective.discriminator(real, forged) / 2  # halved, as the papers slow D down
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.context.processes.average_gradients(discriminator)
        if measure:
            readings.record(f"{prefix}_grad_norm", gradient_norm(discriminator.parameters()))
        optimizer.step()
        with torch.no_grad():
            accuracy = ((real > boundary).float().mean() + (forged < boundary).float().mean()) / 2
        readings.record(f"{prefix}_loss", loss)
        readings.record(f"{prefix}_accuracy", accuracy)
        return accuracy

    def update_generator(
        self, loss: Tensor, networks: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer], *, measure: bool
    ) -> None:
        """Move the generator and what is trained with it, and read the loss.

        Args:
            loss: a scalar.
            networks: the generator first.
            optimizers: of their weights.
            measure: also read the norm of the generator's gradient.
        """
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for network in networks:
            self.context.processes.average_gradients(network)
        if measure:
            self.context.readings.record("g_grad_norm", gradient_norm(networks[0].parameters()))
        for optimizer in optimizers:
            optimizer.step()
        self.context.readings.record("g_loss", loss)

    def logits(self, discriminator: nn.Module, images: Tensor) -> Tensor:
        """Return logits [N, patches] in fp32."""
        with self.context.training.compute.autocast(self.context.precision):
            logits: Tensor = discriminator(images)
        return logits.float()

    def count_accuracy(self, accuracy: Tensor) -> None:
        """Remember the accuracy of a step for the health monitor."""
        self._accuracies.add_(torch.stack([accuracy, torch.ones_like(accuracy)]))

    def interval_readings(self) -> dict[str, float]:
        """Return the mean accuracy of the discriminator since the last call."""
        mean = (self._accuracies[0] / self._accuracies[1].clamp(min=1)).reshape(1)
        self.context.processes.average([mean])
        self._accuracies.zero_()
        return {"d_accuracy": float(mean)}


def settings_of(training: Training, settings_class: type[_S], title: str) -> _S:
    """Return the settings of a training as those of its method.

    Args:
        training: with the settings.
        settings_class: of the method.
        title: of the method.

    Raises:
        InputError: they are those of another method.
    """
    if not isinstance(training.settings, settings_class):
        name = type(training.settings).__name__
        raise InputError(f"{training.name} has {name}, which are not the settings of a {title} training")
    return training.settings


def translator_of(training: Training, title: str) -> Translator:
    """Return the translator that is trained by the method of this title.

    Raises:
        InputError: the architecture is none.
    """
    if not isinstance(training.architecture, Translator):
        raise InputError(f"{training.name} makes images from latents; {title} training needs a translator as pix2pix")
    return training.architecture
