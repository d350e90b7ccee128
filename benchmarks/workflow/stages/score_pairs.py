"""The stage that scores forgeries made from real faces, and these faces: the same photo before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.protocol import PAIRED_PREFIX
from benchmarks.workflow.stage import Job
from benchmarks.workflow.stages.fit import drawn
from benchmarks.workflow.stages.halve import Reals
from benchmarks.workflow.stages.score import Part, Score
from benchmarks.workflow.stages.tamper import Tamper
from benchmarks.workflow.stages.translate import Translate
from forge.core.errors import InputError
from forge.faces.faceset import FaceSet, FaceView

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, kw_only=True)
class ScorePairs(Score):
    """Fitted detector and forgeries to score rows of `test`: the forgeries, and as real class what they were made from.

    The sources are no real images of any other test. A person is the unit of intervals, as of other tests; where nobody
    knows who is on a photo, the photo is, with all that was made from it: a pair is drawn together.

    Attributes:
        faces: the forgeries.
        data: the real faces, with those that they were made from.
    """

    action = "score-pairs"
    VERSION = 1

    faces: Translate | Tamper
    data: Reals

    @property
    def tested_on(self) -> str:
        """Return the name of the test in cells, e.g. "paired:pix2pix:edges"."""
        return f"{PAIRED_PREFIX}{self.faces.forger}"

    def views(self, job: Job) -> Iterator[tuple[Part, FaceView]]:
        """Yield the forgeries that other tests of this generator are on, then what they were made from."""
        (part,) = self.parts
        forged = drawn(job.faces(self.faces).view(part.split), part.count, part.split)
        yield part, forged
        yield part, sources_of(forged, job.faces(self.data))

    def finished(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Name the test in all rows, and the unit of each image."""
        # sources have no `made_from`: they are the photo themselves
        photo = "photo " + rows["made_from"].fillna(rows["sample_id"]).astype(str)
        known = rows["identity"].fillna("") != ""
        return rows.assign(
            source=self.tested_on,
            generator=np.where(rows["label"] == 1, self.tested_on, ""),
            identity=rows["identity"].where(known, photo),
            split=self.parts[0].split,  # sources are stored as a split of their own
        )


def sources_of(forged: FaceView, real: FaceSet) -> FaceView:
    """Return the real faces that some forgeries were made from, each once.

    Raises:
        InputError: they are not in the set.
    """
    wanted = set(forged.rows["made_from"])
    positions = np.flatnonzero(real.table["id"].isin(wanted).to_numpy())
    if len(positions) < len(wanted):
        raise InputError(f"{real.path} lacks {len(wanted) - len(positions)} of the photos that forgeries are made from")
    return FaceView(real, positions)
