"""The stage that makes forged faces from real ones with a trained translator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from benchmarks.workflow.stage import FACES, Facts, ForgedStage, Job
from benchmarks.workflow.stages.generator import GeneratorStage
from benchmarks.workflow.stages.halve import Reals
from forge.generators.domains import Domains

if TYPE_CHECKING:
    from forge.generators.translation.base import Translator


@dataclass(frozen=True, eq=False, kw_only=True)
class Translate(ForgedStage):
    """Translator and real faces to forged FaceSet.

    Attributes:
        generator: its training, or its published weights.
        weights: averaged or raw.
        snapshot: thousands of images of the training; None: its end.
        direction: of a translator between domains.
        data: the real faces, halved.
    """

    action = "translate"
    VERSION = 2  # 2: the card has the settings of the architecture

    generator: GeneratorStage
    weights: str
    snapshot: float | None
    direction: str
    data: Reals

    @property
    def settings(self) -> dict[str, Any]:
        """Return how many forgeries are made, and by which weights."""
        # the usual direction is left out, so that keys of before stay
        direction = {} if self.direction == "forward" else {"direction": self.direction}
        return {"counts": self.counts, "weights": self.weights, "snapshot": self.snapshot, **direction}

    def moves(self, card: Mapping[str, Any]) -> dict[str, tuple[str, str]] | None:
        """Return what is made of what: label column -> its value before and after; None without domains.

        Args:
            card: of the generator.
        """
        if not card.get("domains"):
            return None
        domains = Domains.from_json(card["domains"])
        moved = domains.swapped if self.direction == "backward" else domains
        return {moved.column: (moved.source, moved.target)}

    def translator(self, resolution: int) -> Translator:
        """Return the architecture that makes the forgeries, without weights."""
        # a translator: others are planned as `Synthesize`
        return cast("Translator", self.generator.untrained(resolution))

    def run(self, job: Job) -> Facts:
        """Write the FaceSet."""
        from forge.generators.translate import translate_set  # imports torch

        trained = self.generator.trained(job, self.snapshot)
        faces = translate_set(
            trained.backward() if self.direction == "backward" else trained,
            job.faces(self.data),
            job.out / FACES,
            counts=self.counts,
            seed=self.seed,
            averaged=self.weights == "averaged",
            on_progress=job.context.on_progress,
            device=job.context.compute.device,
        )
        return {"images": len(faces)}
