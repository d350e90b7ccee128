"""The stage that trains the encoder of a generator, which edits invert photos with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.stage import Facts, Job, Stage
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.train import Train
from forge.generators import GENERATORS

if TYPE_CHECKING:
    from forge.tampering.edit import LatentEdit


@dataclass(frozen=True, eq=False, kw_only=True)
class Encode(Stage):
    """Generator and the photos it learned from to an encoder; split `forge` alone, as the generator.

    Attributes:
        generator: the training of the generator.
        encoder: settings of the encoder's training.
        numerics: precision and threads, which decide the result.
        data: the real faces.
    """

    action = "encode"
    VERSION = 1
    optional = True

    generator: Train
    encoder: dict[str, Any]
    numerics: dict[str, Any]
    data: Prepare

    @property
    def label(self) -> str:
        """Return the generator."""
        return self.generator.label

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings of the encoder's training."""
        return {"encoder": self.encoder, "numerics": self.numerics}

    @property
    def edit(self) -> type[LatentEdit]:
        """Return the class of edits, imported when it is needed, with torch."""
        edit: type[LatentEdit] = GENERATORS.load(f"edit:{self.generator.architecture}")
        return edit

    def run(self, job: Job) -> Facts:
        """Write the encoder."""
        edit = self.edit
        return edit.encode(
            self.generator.trained(job, None),
            job.faces(self.data).view("forge"),
            edit.Settings.model_validate({"encoder": self.encoder}).encoder,
            job.out,
            seed=self.seed,
            on_progress=job.context.on_progress,
            device=job.context.compute.device,
        )
