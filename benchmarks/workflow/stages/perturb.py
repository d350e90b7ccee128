"""The stage that changes every image of a FaceSet, for detectors that are trained on changed images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.workflow.stage import FACES, FaceStage, Facts, Job
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.halve import Reals
from detect.data.perturb import perturbation
from forge.faces.transform import rewrite


@dataclass(frozen=True, eq=False, kw_only=True)
class Perturb(FaceStage):
    """A FaceSet with every image perturbed, to train on.

    Attributes:
        faces: the set.
        perturbation: name of the perturbation.
    """

    action = "perturb"
    VERSION = 1
    optional = True
    computes = False

    faces: Reals | Forger
    perturbation: str

    @property
    def label(self) -> str:
        """Return the set and the perturbation."""
        return f"{self.faces.subject} {self.perturbation}"

    @property
    def settings(self) -> dict[str, Any]:
        """Return the perturbation and the splits that detectors are fitted on."""
        # test images are perturbed as they are scored; a stored copy would double the store
        return {"perturbation": self.perturbation, "splits": ["train", "val"]}

    def run(self, job: Job) -> Facts:
        """Write the FaceSet."""
        faces = rewrite(
            job.faces(self.faces),
            job.out / FACES,
            perturbation(self.perturbation),
            called=self.perturbation,
            splits=self.settings["splits"],
            on_progress=job.context.on_progress,
        )
        return {"images": len(faces)}
