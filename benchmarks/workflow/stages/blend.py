"""The stage that makes forgeries from real faces without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.experiment.configs import validated
from benchmarks.workflow.stage import FACES, FaceStage, Facts, Job
from benchmarks.workflow.stages.halve import Reals
from forge.blending.blending import blend_set
from forge.generators import GENERATORS


@dataclass(frozen=True, eq=False, kw_only=True)
class Blend(FaceStage):
    """Real faces to forgeries made from them.

    Attributes:
        forger: name of the generator in the run.
        generator: registered name, or path/to/file.py:Class.
        blending: its settings.
        counts: split -> images.
        data: the real faces, halved.
    """

    action = "blend"
    VERSION = 2  # 2: sources are halved from the real class
    optional = True

    forger: str
    generator: str
    blending: dict[str, Any]
    counts: dict[str, int]
    data: Reals

    @property
    def label(self) -> str:
        """Return the generator."""
        return self.forger

    @property
    def settings(self) -> dict[str, Any]:
        """Return how many forgeries are made, and how."""
        # "settings" and "generator" are names in stored keys
        return {"counts": self.counts, "settings": self.blending, "generator": self.generator}

    def run(self, job: Job) -> Facts:
        """Write the FaceSet."""
        implementation = GENERATORS.load(self.generator)
        faces = blend_set(
            job.faces(self.data),
            job.out / FACES,
            counts=self.counts,
            seed=self.seed,
            on_progress=job.context.on_progress,
            # checked when planned; the values in the stage are JSON, not the class
            settings=validated(implementation.Settings, self.blending, where=f"generators.{self.forger}.network"),
        )
        return {"images": len(faces)}
