"""The stage that measures where a fitted detector sees alterations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks.evaluation.map_examples import MapExample
from benchmarks.evaluation.pixels import Levels
from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.fit import UsesDetector, drawn
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.halve import Reals
from forge.core.files import read_json, write_json
from forge.faces.faceset import FaceView

MASKS = "masks.parquet"  # file of the rows
EXAMPLES = "examples.json"  # file of the images that a page shows; their maps are in examples.safetensors
_MASKS = 2000  # training masks of a generator whose mean is the control, at most


# generator, empty for real images; the images; external pair that they belong to, empty for images of the run
Part = tuple[str, FaceView, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Localise(UsesDetector):
    """Fitted detector, and forgeries with masks, to masks.parquet: pixels of val and test by the level of the map.

    Beside it lie the maps of some test images, the best and the worst, so that a page can be written without the
    detector.

    Attributes:
        forged: generator -> its forgeries, which have masks: those that are tested, and those of the training.
        tested: of these, generators whose `test` is measured.
        learned: of these, generators whose `val` fixes the threshold.
        data: the real faces.
        pairs: name of an external pair in cells -> its forged photos, which have masks.
        reals: of the same pairs, the real photos.
        counts: split -> images of a generator, at most.
        control: also measure the mean training mask as a map.
        source: maps of the detector, or the gradient of its score.
    """

    action = "localise"
    VERSION = 3

    forged: Mapping[str, Forger]
    tested: tuple[str, ...]
    learned: tuple[str, ...]
    data: Reals
    pairs: Mapping[str, External] = field(default_factory=dict)
    reals: Mapping[str, External] = field(default_factory=dict)
    counts: dict[str, int]
    control: bool
    source: Literal["map", "saliency"] = "map"

    @property
    def settings(self) -> dict[str, Any]:
        """Return what is measured."""
        settings = {
            "tested": list(self.tested),
            "learned": list(self.learned),
            "counts": self.counts,
            "control": self.control,
        }
        # absent of maps, whose keys are older
        return settings | ({} if self.source == "map" else {"source": self.source})

    @property
    def work_units(self) -> float:
        """Return how many images are measured."""
        tested = len(self.tested) + 2 * len(self.pairs) + 1
        return float(self.counts["test"] * tested + self.counts["val"] * (len(self.learned) + 1))

    def run(self, job: Job) -> Facts:
        """Write masks.parquet, and the maps of some test images.

        Raises:
            DetectorError: maps of another shape, or with values that are no numbers.
        """
        from benchmarks.workflow.pixel_rows import pixel_rows, write_rows  # imports pandas

        learned = self.learned if self.control else ()
        rows, shown = pixel_rows(
            self.detector.load(job),
            job.context.compute,
            source=self.source,
            training=str(self.detector.training),
            val=self._views(job, "val", self.learned),
            test=[*self._views(job, "test", self.tested), *self._foreign(job)],
            masks=[drawn(job.faces(self.forged[name]).view("train"), _MASKS, "train") for name in learned],
        )
        write_rows(rows, job.out / MASKS)
        examples = [example.model_dump(mode="json") for example in shown.examples]
        write_json(job.out / EXAMPLES, {"threshold": shown.threshold, "examples": examples})
        save_file({"levels": np.stack(shown.levels)} if examples else {}, job.out / "examples.safetensors")
        return {"images": len(rows)}

    def read_examples(self, job: Job) -> tuple[int, list[tuple[MapExample, Levels]]]:
        """Read the threshold, and the test images that a page shows, each with the levels of its map, uint8 [H, W]."""
        stored = read_json(job.path(self) / EXAMPLES)
        maps = load_file(job.path(self) / "examples.safetensors")
        examples = [MapExample.model_validate(values) for values in stored["examples"]]
        return int(stored["threshold"]), list(zip(examples, maps.get("levels", ()), strict=True))

    def _foreign(self, job: Job) -> Iterator[Part]:
        """Yield the test images of external pairs, the real ones first."""
        for name, forged in self.pairs.items():
            for generator, stage in (("", self.reals[name]), (name, forged)):
                view = drawn(job.faces(stage).view("test"), self.counts["test"], "test")
                yield generator, view, name

    def _views(self, job: Job, split: str, generators: tuple[str, ...]) -> list[Part]:
        """Return the real images of a split, then those of each generator; the same ones for every detector."""
        sets = {"": self.data} | {name: self.forged[name] for name in generators}
        return [
            (name, drawn(job.faces(stage).view(split), self.counts[split], split), "") for name, stage in sets.items()
        ]
