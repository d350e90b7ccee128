"""The stage that measures where a fitted detector sees alterations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.workflow.stage import Facts, Job, Stage
from benchmarks.workflow.stages.fit import Adopt, Fit, drawn
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.halve import Reals
from forge.faces.faceset import FaceView

MASKS = "masks.parquet"  # file of the rows
_MASKS = 2000  # training masks of a generator whose mean is the control, at most


@dataclass(frozen=True, eq=False, kw_only=True)
class Localise(Stage):
    """Fitted detector, and forgeries with masks, to masks.parquet: pixels of val and test by the level of the map.

    Attributes:
        detector: the fitted detector; it has maps of its own.
        forged: generator -> its forgeries, which have masks: those that are tested, and those of the training.
        tested: of these, generators whose `test` is measured.
        learned: of these, generators whose `val` fixes the threshold.
        data: the real faces.
        counts: split -> images of a generator, at most.
        control: also measure the mean training mask as a map.
    """

    action = "localise"
    VERSION = 2
    optional = True

    detector: Fit | Adopt
    forged: Mapping[str, Forger]
    tested: tuple[str, ...]
    learned: tuple[str, ...]
    data: Reals
    counts: dict[str, int]
    control: bool

    @property
    def label(self) -> str:
        """Return the detector and what it was trained on."""
        return self.detector.label

    @property
    def subject(self) -> str:
        """Return the label, with the seed where a run has several."""
        return self.detector.subject

    @property
    def about(self) -> str:
        """Return the detector."""
        return self.detector.about

    @property
    def settings(self) -> dict[str, Any]:
        """Return what is measured."""
        return {
            "tested": list(self.tested),
            "learned": list(self.learned),
            "counts": self.counts,
            "control": self.control,
        }

    @property
    def work_units(self) -> float:
        """Return how many images are measured."""
        return float(self.counts["test"] * (len(self.tested) + 1) + self.counts["val"] * (len(self.learned) + 1))

    def run(self, job: Job) -> Facts:
        """Write masks.parquet.

        Raises:
            DetectorError: maps of another shape, or with values that are no numbers.
        """
        from benchmarks.workflow.pixel_rows import pixel_rows, write_rows  # imports pandas

        learned = self.learned if self.control else ()
        rows = pixel_rows(
            self.detector.load(job),
            job.context.compute,
            training=str(self.detector.training),
            val=self._views(job, "val", self.learned),
            test=self._views(job, "test", self.tested),
            masks=[drawn(job.faces(self.forged[name]).view("train"), _MASKS, "train") for name in learned],
        )
        write_rows(rows, job.out / MASKS)
        return {"images": len(rows)}

    def _views(self, job: Job, split: str, generators: tuple[str, ...]) -> list[tuple[str, FaceView]]:
        """Return the real images of a split, then those of each generator; the same ones for every detector."""
        sets = {"": self.data} | {name: self.forged[name] for name in generators}
        return [(name, drawn(job.faces(stage).view(split), self.counts[split], split)) for name, stage in sets.items()]
