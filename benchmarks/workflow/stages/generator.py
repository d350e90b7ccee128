"""Stages whose result is a trained generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.experiment.configs import validated
from benchmarks.experiment.names import short_name
from benchmarks.workflow.stage import Job, Stage
from forge.generators import GENERATORS

if TYPE_CHECKING:
    from forge.generators.artifact import TrainedGenerator
    from forge.generators.base import Architecture


@dataclass(frozen=True, eq=False, kw_only=True)
class GeneratorStage(Stage):
    """A stage whose result is the folder of a trained generator, with log and health of its training.

    Attributes:
        generator: name in the run, without a snapshot.
        architecture: registered name, or path/to/file.py:Class.
        network: settings of the architecture.
    """

    optional = True

    generator: str
    architecture: str
    network: dict[str, Any]

    @property
    def label(self) -> str:
        """Return the generator."""
        return self.generator

    @property
    def about(self) -> str:
        """Return the architecture, which its variants share."""
        return short_name(self.architecture)

    def untrained(self, resolution: int, *classes: tuple[int, ...]) -> Architecture:
        """Make the architecture for images of this size, and of a conditional one for these numbers of values."""
        implementation = GENERATORS.load(self.architecture)
        network = validated(implementation.Settings, self.network, where=f"generators.{self.generator}.network")
        architecture: Architecture = implementation(network, resolution, *classes)
        return architecture

    def trained(self, job: Job, snapshot: float | None) -> TrainedGenerator:
        """Open the generator, or a snapshot of its training."""
        from forge.generators.artifact import TrainedGenerator, generator_folder  # imports torch

        implementation = GENERATORS.load(self.architecture)
        return TrainedGenerator.open(generator_folder(job.path(self), snapshot), implementation=implementation)
