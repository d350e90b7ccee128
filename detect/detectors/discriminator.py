"""Detectors that are trained from the discriminator of a GAN, or from its architecture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import Field
from torch import Tensor, nn

from detect.detectors.base import FitContext, FitData, FitSummary, Needs
from detect.detectors.network import NetworkDetector
from detect.discriminator_source import Blueprint, DiscriminatorSource, with_weights_of
from detect.training.settings import NetworkSettings
from forge.core.errors import InputError
from forge.generators.artifact import TrainedGenerator

RADFORD = (
    "Radford, Metz, Chintala: Unsupervised Representation Learning with DCGANs, ICLR 2016 (discriminators as feature "
    "extractors)"
)


def discriminator_source_of(context: FitContext, family: str) -> DiscriminatorSource:
    """Return the training that a detector is derived from.

    Raises:
        InputError: none was named.
    """
    if context.discriminator is None:
        raise InputError(f"{family} starts from a generator's discriminator; name the generator: {family}@dcgan")
    return context.discriminator


def origin(trained: TrainedGenerator) -> dict[str, str | float]:
    """Describe the origin of a discriminator: name, thousands of images, digest."""
    card = trained.card
    return {"discriminator": card.name, "discriminator_kimg": card.kimg, "discriminator_sha256": card.weights_sha256}


N = TypeVar("N", bound=NetworkSettings)


class DiscriminatorNetwork(NetworkDetector[N]):
    """A network built like a discriminator; a subclass says where its weights come from."""

    needs: ClassVar[Needs] = "discriminator"
    blueprint: Blueprint | None = None
    source: TrainedGenerator | None = None

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Train the network; records which discriminator it was derived from."""
        self.source = discriminator_source_of(context, self.family).open()
        # refuses another resolution before anything is trained
        self.blueprint = Blueprint.of(self.source, self.resolution)
        summary = super().fit(data, context)
        return replace(summary, facts=origin(self.source) | summary.facts)

    def discriminator(self, *, trained: bool) -> nn.Module:
        """Return the discriminator, as it came out of its training or with random weights."""
        if self.blueprint is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        network = self.blueprint.build()
        # by a fit alone: after a load the weights come from the detector's own file
        if trained and self.source is not None:
            with_weights_of(self.source, network)
        return network

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Logits, float32 [N], high for forged: a discriminator's own are high for real."""
        # the sign of the score alone: the network and its weights are the discriminator's
        return -super().logits(network, inputs)

    def save(self, directory: Path) -> None:
        """Write the weights and what the network is."""
        super().save(directory)
        if self.blueprint is not None:
            self.blueprint.write(directory)

    def recall(self, directory: Path) -> None:
        """Read what the network is."""
        self.blueprint = Blueprint.read(directory)


class DiscriminatorSettings(NetworkSettings):
    """Settings of a discriminator that is trained as a detector."""

    learning_rate: float = Field(1e-3, gt=0, le=1, description="after the warm-up")


class FineTuned(DiscriminatorNetwork[DiscriminatorSettings]):
    """The generator's discriminator, all of it trained further to tell forged from real."""

    family = "disc-finetune"
    citation = RADFORD
    variant = (
        "no paper compares this under control; labels of a conditional discriminator are left out, and statistics "
        "over a batch (minibatch standard deviation) are switched off"
    )

    def build(self, *, blank: bool = False) -> nn.Module:
        """Return the discriminator as its training left it."""
        return self.discriminator(trained=not blank)


class FromScratch(DiscriminatorNetwork[DiscriminatorSettings]):
    """The control: the discriminator's network from random weights, trained on the same images as disc-finetune."""

    family = "disc-scratch"
    citation = RADFORD
    variant = "the control that says what the game taught the discriminator; settings are those of disc-finetune"

    def build(self, *, blank: bool = False) -> nn.Module:
        """Return the discriminator's network as it was before the game."""
        return self.discriminator(trained=False)
