"""A linear probe of what the layers of a generator's discriminator know."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from detect.detectors.base import FitContext, FitData, FitSummary, Needs
from detect.detectors.discriminator import RADFORD, discriminator_source_of, origin
from detect.detectors.feature_based import RegressionDetector, RegressionSettings
from detect.discriminator_source import Blueprint, layers, with_weights_of
from detect.weights import load_weights, read_tensors, write_tensors
from forge.core.errors import InputError
from forge.core.seeding import seed_torch

FEATURES_FILE = "features.safetensors"


class DiscProbe(RegressionDetector[RegressionSettings]):
    """Mean and spread of every channel of every layer of the frozen discriminator, into logistic regression."""

    family = "disc-probe"
    citation = RADFORD
    variant = (
        "mean and standard deviation of each channel instead of a 4 x 4 grid of maxima, logistic regression instead "
        "of an L2-SVM; labels of a conditional discriminator are left out"
    )
    needs: ClassVar[Needs] = "discriminator"
    blueprint: Blueprint | None = None
    discriminator: nn.Module | None = None

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Take the discriminator and learn the regression."""
        source = discriminator_source_of(context, self.family).open()
        self.blueprint = Blueprint.of(source, self.resolution)
        # frozen, in evaluation mode: features are what the game has taught it and nothing of this fit
        self.discriminator = with_weights_of(source, self.blueprint.build()).requires_grad_(False)
        summary = super().fit(data, context)
        return FitSummary(summary.history, origin(source) | summary.facts)

    def features(self, pixels: Tensor) -> Tensor:
        """Mean and standard deviation of each channel of each layer, [N, 2 x channels]; of dense layers the values."""
        if self.discriminator is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        discriminator = self.discriminator.to(pixels.device)
        # -1..1 as in its own training; whoever wants no gradient of pixels says so
        activations = layers(discriminator, pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        parts = [
            # [N, C, H, W] to mean and standard deviation of each channel, [N, 2 C]: positions are averaged out
            torch.cat([layer.mean(dim=(2, 3)), layer.std(dim=(2, 3))], 1) if layer.ndim == 4 else layer
            for layer in activations
        ]
        return torch.cat(parts, 1)

    def save(self, directory: Path) -> None:
        """Write the regression, and the discriminator it reads."""
        super().save(directory)
        if self.blueprint is not None and self.discriminator is not None:
            self.blueprint.write(directory)
            write_tensors(directory / FEATURES_FILE, self.discriminator.state_dict())

    @classmethod
    def load(cls, directory: Path, settings: RegressionSettings, resolution: int) -> Self:
        """Read what `save` wrote."""
        detector = super().load(directory, settings, resolution)
        detector.blueprint = Blueprint.read(directory)
        discriminator, path = detector.blueprint.build(), directory / FEATURES_FILE
        load_weights(discriminator, read_tensors(path), source=str(path))
        detector.discriminator = discriminator.eval().requires_grad_(False)
        return detector


class RandomProbe(DiscProbe):
    """The control of disc-probe: the same probe on the discriminator's network with random weights."""

    family = "disc-probe-scratch"
    variant = f"the control that says what the game taught the layers; otherwise as disc-probe: {DiscProbe.variant}"

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Take the network as it was before the game and learn the regression."""
        source = discriminator_source_of(context, self.family).open()
        self.blueprint = Blueprint.of(source, self.resolution)
        # random weights follow from the seed of the fit
        with torch.random.fork_rng(devices=[]):
            seed_torch(context.seed)
            self.discriminator = self.blueprint.build().eval().requires_grad_(False)
        # past DiscProbe's fit, which would take the trained weights
        summary = RegressionDetector.fit(self, data, context)
        return FitSummary(summary.history, origin(source) | summary.facts)
