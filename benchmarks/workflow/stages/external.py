"""The stage that prepares one side of a pair of folders, or of a column of a test set, that nobody here made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.protocol import EXTERNAL_PREFIX
from benchmarks.workflow.stage import FACES, FaceStage, Facts, Job
from forge.faces.faceset import FaceSet
from forge.faces.parallel import ordered
from forge.faces.prepare import prepare as prepare_faces

if TYPE_CHECKING:
    from benchmarks.evaluation.audits.file_cues import FileCues
    from forge.faces.sources import Source

# 50 at a time bound what a worker process holds.
_SAMPLED, _SAMPLED_AT_ONCE = 400, 50  # files of a side whose handling is looked at


@dataclass(frozen=True, eq=False, kw_only=True)
class External(FaceStage):
    """Photos of one side of an external pair to a FaceSet, all of it for the test.

    Attributes:
        pair: name of the pair.
        side: its class.
        resolution: height and width in pixels.
        crop: none, face or ff++.
        count: at most this many photos.
        fingerprint: digest of the folder's contents, masks included.
        masked: whether the photos have masks.
        cut: whether the middle of each photo is taken in its own pixels, not the whole resized.
    """

    action = "external"
    VERSION = 5
    optional = True
    computes = False

    pair: str
    side: Literal["real", "forged"]
    resolution: int
    crop: Literal["none", "face", "ff++"]
    count: int
    fingerprint: str
    masked: bool = False
    cut: bool = False

    @property
    def label(self) -> str:
        """Return the pair and the side, of one that is cut its size too."""
        return f"{self.pair} {self.side}" + (f" {self.resolution} px" if self.cut else "")

    @property
    def tested_as(self) -> str:
        """Return the name of the pair in cells and columns."""
        return f"{EXTERNAL_PREFIX}{self.pair}"

    @property
    def settings(self) -> dict[str, Any]:
        """Return how the photos are prepared, and their digest."""
        # absent without masks: such a side keeps its key
        more = ({"masked": True} if self.masked else {}) | ({"cut": True} if self.cut else {})
        return more | {
            "resolution": self.resolution,
            "crop": self.crop,
            "name": self.tested_as,
            "count": self.count,
            "kind": self.side,
            "fingerprint": self.fingerprint,
        }

    def at(self, resolution: int) -> External:
        """Return the same side in its own pixels, the middle of each photo."""
        return replace(self, resolution=resolution, cut=True, masked=False)

    def run(self, job: Job) -> Facts:
        """Write the FaceSet, and what a sample of the files says of how they were handled."""
        source = job.context.external[self.pair][self.side == "forged"]  # (real, forged): False is 0
        assert source is not None  # stages are planned of the sides that there are
        faces = prepare_faces(
            source,
            job.out / FACES,
            resolution=self.resolution,
            count=min(self.count, len(source)),  # a folder may hold fewer photos than the preset tests
            crop=self.crop,
            cut=self.cut,
            splits={"test": 1.0},  # nothing is learned from an external pair
            dedupe=False,  # frames of one clip stay, as one group
            kind=self.side,
            name=self.tested_as,
            workers=job.context.workers,
            on_progress=job.context.on_progress,
        )
        _sample_cues(source, faces, job.context.workers).save(job.out)
        facts = {"images": len(faces), "groups": count_groups(faces), "rejected": faces.card.rejected}
        return facts | count_masks(faces)


def paired(stages: Iterable[External]) -> dict[str, tuple[External, External]]:
    """Return name of a pair -> its real and its forged side, of the pairs that are complete."""
    sides: dict[str, dict[str, External]] = {}
    for stage in stages:
        sides.setdefault(stage.pair, {})[stage.side] = stage
    # a side that failed takes its pair with it
    return {pair: (both["real"], both["forged"]) for pair, both in sides.items() if len(both) == 2}


def count_groups(faces: FaceSet) -> int:
    """Return the number of people and clips of a set: images of one identity or of one photo count once."""
    from benchmarks.evaluation.evaluate import identities  # imports pandas

    # Bootstrap units: photos of one person or one clip are no independent samples; those of unknown people count
    # singly.
    known = identities(faces.table)
    return len({name for name in known if name is not None}) + sum(name is None for name in known)


def count_masks(faces: FaceSet) -> dict[str, int]:
    """Return how many masks of a set have no altered pixel, and how many no other; nothing of a set without masks."""
    if not faces.has_masks:
        return {}
    altered = faces.view("test").read_masks() > 0
    return {"untouched": int((~altered.any((1, 2))).sum()), "altered_whole": int(altered.all((1, 2)).sum())}


def _sample_cues(source: Source, faces: FaceSet, workers: int) -> FileCues:
    """Measure how a sample of the files of a side was handled; images of one group share an identity."""
    from benchmarks.evaluation.audits.file_cues import FileCues, measure
    from benchmarks.evaluation.evaluate import identities  # both import torch or pandas

    rows = faces.view("test").sample(_SAMPLED, 0).rows
    positions = [int(name) for name in rows["id"]]  # the id of a prepared face is its position in the source
    chunks = [positions[start : start + _SAMPLED_AT_ONCE] for start in range(0, len(positions), _SAMPLED_AT_ONCE)]
    parts = ordered(measure, [list(source.chunk(chunk)) for chunk in chunks], workers=workers if len(chunks) > 2 else 1)
    cues = FileCues.joined(list(parts))
    cues.table["identity"] = identities(rows)
    return cues
