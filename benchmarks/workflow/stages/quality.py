"""The stages that measure the quality of forged faces, and of held-out reals as a reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.stage import Facts, Job, Stage
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.halve import Reals
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.translate import Translate
from forge.core.errors import InputError
from forge.core.files import read_json, write_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from forge.quality.sets import Ask


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference(Stage):
    """Quality metrics of held-out real faces, which those of forgeries are compared with.

    Attributes:
        measured_by: settings of the quality metrics, as JSON values.
        data: the real faces.
    """

    action = "floor"  # the word of earlier versions, which stored results carry
    VERSION = 2  # 2: the standard error of MS-SSIM takes pairs that share an image as dependent

    measured_by: dict[str, Any]
    data: Reals

    @property
    def label(self) -> str:
        """Return the source of the real faces."""
        return self.data.label

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings of the quality metrics."""
        return self.measured_by

    def run(self, job: Job) -> Facts:
        """Write quality.json."""
        from forge.quality.sets import measure_floor  # imports torch

        return _write_measured(job, lambda: measure_floor(job.faces(self.data), _ask(job, self.measured_by, self.seed)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Quality(Stage):
    """Quality metrics of a generator's forgeries, beside the reference.

    Attributes:
        measured_by: settings of the quality metrics, as JSON values.
        data: the real faces.
        forged: the forgeries.
        reference: the same metrics of held-out real faces.
    """

    action = "quality"
    VERSION = 3  # 2: standard error of MS-SSIM with pairs that share an image; 3: truth of rendered people

    measured_by: dict[str, Any]
    data: Reals
    forged: Forger
    reference: Reference = field(metadata={"input": "floor"})

    @property
    def label(self) -> str:
        """Return the generator."""
        return self.forged.label

    @property
    def subject(self) -> str:
        """Return the generator, with the seed where a run has several."""
        return self.forged.subject

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings of the quality metrics, and whether forgeries are laid beside their sources."""
        # absent for other forgeries, so that their keys stay
        return self.measured_by | ({} if isinstance(self.forged, Synthesize | Gather) else {"beside_sources": True})

    def run(self, job: Job) -> Facts:
        """Write quality.json."""
        from forge.quality import measure, sets  # import torch

        def compared() -> BaseModel:
            known = read_json(job.path(self.reference) / "quality.json")
            # The reals could not be measured; without them a number of the forgeries says nothing.
            if "missing" in known:
                raise InputError(known["missing"])
            real, forged = job.faces(self.data), self.forged
            return sets.measure_set(
                job.faces(forged),
                real,
                _ask(job, self.measured_by, self.seed),
                floor=measure.Quality.model_validate(known),
                translator=forged.translator(real.resolution) if isinstance(forged, Translate) else None,
            )

        return _write_measured(job, compared)


def _ask(job: Job, measured_by: dict[str, Any], seed: int) -> Ask:
    from forge.quality.sets import Ask  # imports torch

    return Ask(
        n=measured_by["n"],
        face_n=measured_by["face_n"],
        more=tuple(measured_by.get("metrics", ())),  # absent where none were added, see `_quality` in planner.py
        usefulness=measured_by.get("usefulness", False),  # likewise
        seed=seed,
        device=job.context.compute.device,
        on_progress=job.context.on_progress,
    )


def _write_measured(job: Job, measure: Callable[[], BaseModel]) -> Facts:
    """Write what was measured; sets too small to measure are no reason to fail a run."""
    try:
        content = measure().model_dump(mode="json")
    except InputError as error:
        content = {"missing": str(error)}  # published as the reason, in place of numbers
    write_json(job.out / "quality.json", content)
    return {}
