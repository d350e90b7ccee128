"""The stage that makes forged faces with a trained generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.workflow.stage import FACES, Facts, ForgedStage, Job
from benchmarks.workflow.stages.generator import GeneratorStage


@dataclass(frozen=True, eq=False, kw_only=True)
class Synthesize(ForgedStage):
    """Generator to forged FaceSet.

    Attributes:
        generator: its training, or its published weights.
        mix: labels of the forgeries.
        truncation: of their styles; 1: none.
        weights: averaged or raw.
        snapshot: thousands of images of the training; None: its end.
    """

    action = "synthesize"
    VERSION = 2

    generator: GeneratorStage
    mix: Literal["training", "uniform"] | dict[str, dict[str, float]]
    truncation: float
    weights: str
    snapshot: float | None

    @property
    def settings(self) -> dict[str, Any]:
        """Return how many forgeries are drawn, and how."""
        return {
            "counts": self.counts,
            "mix": self.mix,
            "truncation": self.truncation,
            "weights": self.weights,
            "snapshot": self.snapshot,
        }

    def run(self, job: Job) -> Facts:
        """Write the FaceSet."""
        from forge.generators.sample import synthesize  # imports torch

        faces = synthesize(
            self.generator.trained(job, self.snapshot),
            job.out / FACES,
            counts=self.counts,
            seed=self.seed,
            averaged=self.weights == "averaged",  # moving average of the weights, or the weights of the last step
            truncation=self.truncation,
            mix=self.mix,
            on_progress=job.context.on_progress,
            device=job.context.compute.device,
        )
        return {"images": len(faces)}
