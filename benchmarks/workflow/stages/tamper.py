"""The stage that makes forgeries from real faces by a program; edits invert a generator that was trained before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.experiment.configs import validated
from benchmarks.workflow.stage import FACES, Facts, ForgedStage, Job, Stage
from benchmarks.workflow.stages.encode import Encode
from benchmarks.workflow.stages.halve import Reals
from benchmarks.workflow.stages.landmarks import FindLandmarks
from benchmarks.workflow.stages.train import Train
from forge.generators import GENERATORS
from forge.tampering.tamper import tamper_set


@dataclass(frozen=True, eq=False, kw_only=True)
class Tamper(ForgedStage):
    """Real faces to forgeries made from them, with the mask of each.

    Attributes:
        generator: registered name, or path/to/file.py:Class.
        edits: its settings.
        data: the real faces, halved.
        landmarks: of the real faces, where it needs them.
        files: SHA-256 of the files it depends on, e.g. its code.
        inverted: the training of the generator that an edit inverts; None: no network is needed.
        encoder: of that generator.
    """

    action = "tamper"
    VERSION = 6  # 2: landmarks searched once; 3, 4: rims of splices suit the photo; 5: so do donors; 6: 64 places

    generator: str
    edits: dict[str, Any]
    data: Reals
    landmarks: FindLandmarks | None
    files: dict[str, str]
    inverted: Train | None = None
    encoder: Encode | None = None

    @property
    def prerequisites(self) -> list[Stage]:
        """Return stages that others may share, and that are made before it, in order."""
        encoded = [self.encoder.generator, self.encoder] if self.encoder else []
        return [*([self.landmarks] if self.landmarks else []), *encoded]

    @property
    def settings(self) -> dict[str, Any]:
        """Return how many forgeries are made, and how."""
        return {"counts": self.counts, "edits": self.edits, "generator": self.generator, "files": self.files}

    def run(self, job: Job) -> Facts:
        """Write the FaceSet."""
        implementation = GENERATORS.load(self.generator)
        # checked when planned; the values in the stage are JSON, not the class
        settings = validated(implementation.Settings, self.edits, where=f"generators.{self.forger}.network")
        method = implementation(settings)
        if self.inverted is not None and self.encoder is not None:
            trained, device = self.inverted.trained(job, None), job.context.compute.device
            method = method.fitted(job.path(self.encoder), trained, device=device)
        faces = tamper_set(
            method,
            job.faces(self.data),
            job.out / FACES,
            name=self.forger,
            counts=self.counts,
            seed=self.seed,
            on_progress=job.context.on_progress,
            workers=job.context.workers,
            landmarks=self.landmarks.read(job) if self.landmarks else None,
        )
        return {"images": len(faces)}
