"""The stage that halves the real faces of a run by identity: the real class, and sources of forgeries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.workflow.stage import FACES, FaceStage, Facts, Job
from benchmarks.workflow.stages.prepare import Prepare
from forge.faces.halves import halve

WHOLE = "digest before"  # fact: digest of the faces before they are halved, which generators learn from


@dataclass(frozen=True, eq=False, kw_only=True)
class Halve(FaceStage):
    """FaceSet to the same FaceSet with its splits train, val and test halved; for runs with forgeries from real faces.

    Attributes:
        data: the real faces.
    """

    action = "halve"
    VERSION = 1
    computes = False

    data: Prepare

    @property
    def label(self) -> str:
        """Return the source of the real faces."""
        return self.data.label

    @property
    def settings(self) -> dict[str, Any]:
        """Return nothing: the halves follow from the identities."""
        return {}

    def run(self, job: Job) -> Facts:
        """Write the FaceSet.

        Raises:
            InputError: a split has faces of one person only.
        """
        whole = job.faces(self.data)
        faces = halve(whole, job.out / FACES, job.context.on_progress)
        return {"images": len(faces), WHOLE: whole.card.digest}


Reals = Prepare | Halve
