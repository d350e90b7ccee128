"""The stage that tells which generator made an image, by a detector's frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.fit import Fit, UsesDetector
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.halve import Reals
from forge.core.files import write_json

ROWS = "attribution.parquet"
# of each class at most; more change little and take long with thousands of features
MOST = {"train": 500, "val": 250, "test": 1000}


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribute(UsesDetector):
    """Fitted detector, real and forged FaceSets to the attribution of images to generators.

    Attributes:
        without: generator -> the fit on all families but its own, whose features are used where it is left out.
        real: real faces, a class of their own.
        forged: generator -> its forgeries.
        counts: split -> images of each class, at most.
    """

    action = "attribute"
    VERSION = 2

    detector: Fit
    without: Mapping[str, Fit]
    real: Reals
    forged: Mapping[str, Forger]
    counts: dict[str, int]

    @property
    def settings(self) -> dict[str, Any]:
        """Return how many images there are."""
        return {"counts": self.counts}

    def run(self, job: Job) -> Facts:
        """Write attribution.json, and attribution.parquet: the answers that it is computed from."""
        from benchmarks.workflow.attribution import attribute, write_attributions  # imports torch and pandas

        sets = {"real": job.faces(self.real), **{name: job.faces(forged) for name, forged in self.forged.items()}}
        measured, rows = attribute(self.detector, self.without, sets, self.counts, self.seed, job)
        write_attributions(rows, job.out / ROWS)
        write_json(job.out / "attribution.json", measured.model_dump(mode="json"))
        return {"accuracy": measured.accuracy and measured.accuracy.value}
