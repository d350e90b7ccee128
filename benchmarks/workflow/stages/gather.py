"""The stage that prepares forgeries that are files, in the place of a generator's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.workflow.stage import FACES, FaceStage, Facts, Job
from benchmarks.workflow.stages.prepare import Prepare
from forge.faces.faceset import FaceSet
from forge.faces.forged_files import SPLITS, refuse_few
from forge.faces.prepare import prepare as prepare_faces


@dataclass(frozen=True, eq=False, kw_only=True)
class Gather(FaceStage):
    """Files to a forged FaceSet, prepared as the real faces are.

    Attributes:
        forger: name of the generator in the run.
        resolution: height and width in pixels.
        crop: none or face.
        dedupe: whether near duplicates are removed; None: as the source wants.
        counts: split -> images.
        fingerprint: digest of the contents of the files.
        data: the real faces, where the files name people; None: they name none.
    """

    action = "gather"
    VERSION = 1
    optional = True
    computes = False

    forger: str
    resolution: int
    crop: Literal["none", "face", "ff++"]
    dedupe: bool | None
    counts: dict[str, int]
    fingerprint: str
    data: Prepare | None

    @property
    def label(self) -> str:
        """Return the generator that they stand for."""
        return self.forger

    @property
    def settings(self) -> dict[str, Any]:
        """Return how many files are taken, and how they are prepared."""
        return {
            "name": self.forger,  # which score rows carry
            "resolution": self.resolution,
            "crop": self.crop,
            "dedupe": self.dedupe,
            "counts": self.counts,
            "fingerprint": self.fingerprint,
        }

    def run(self, job: Job) -> Facts:
        """Write the FaceSet.

        Raises:
            InputError: too few usable files in a split.
        """
        files = job.context.forged[self.forger]
        known = _splits_of_people(job.faces(self.data)) if self.data else {}
        total = sum(self.counts.values())
        faces = prepare_faces(
            files.chosen(self.forger, self.counts, self.seed, known),
            job.out / FACES,
            resolution=self.resolution,
            crop=self.crop,
            splits={split: self.counts[split] / total for split in SPLITS},
            seed=self.seed,
            dedupe=self.dedupe,
            kind="forged",
            name=self.forger,
            workers=job.context.workers,
            on_progress=job.context.on_progress,
        )
        card = faces.card
        for split in SPLITS:  # some files are no images, or copies of others
            refuse_few(self.forger, split, card.splits.get(split, 0), str(files.source.root), card.rejected)
        return {"images": len(faces), "rejected": card.rejected, "recognised": files.summary}


def _splits_of_people(faces: FaceSet) -> dict[str, str]:
    """Return person -> split of the real faces."""
    known = faces.table[["identity", "split"]].dropna()
    return {str(person): str(split) for person, split in zip(known["identity"], known["split"], strict=True)}
