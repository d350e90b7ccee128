"""The stage that scores a FaceSet with a fitted detector."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.protocol import CLEAN, EXTERNAL_PREFIX, VIEW_PREFIX, TestId
from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.fit import UsesDetector, drawn
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.halve import Reals
from detect.data.perturb import perturbation
from detect.own_resolution import Viewed

if TYPE_CHECKING:
    import pandas as pd

    from forge.faces.faceset import FaceView


@dataclass(frozen=True)
class Part:
    """Images of one split that are scored.

    Attributes:
        split: val or test.
        count: at most so many.
        perturbation: of the images, as tables name it; "none": as they are.
        reference: path/to/file.py:Class of a perturbation from a file, else "".
        files: SHA-256 of its code.
    """

    split: str
    count: int
    perturbation: str = CLEAN
    reference: str = ""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def as_json(self) -> dict[str, Any]:
        """Return the part as the key holds it."""
        named = {"split": self.split, "count": self.count, "perturbation": self.perturbation}
        # two names more only where there is a file, so that other keys stay
        return named | ({"reference": self.reference, "files": self.files} if self.reference else {})


@dataclass(frozen=True, eq=False, kw_only=True)
class Score(UsesDetector):
    """Fitted detector and FaceSet to score rows of `val` and `test`.

    Every batch holds images of one set, hence of one class; some images are scored one by one too, see
    `detect.batch_independence`.

    Attributes:
        faces: the FaceSet.
        parts: what is scored of it.
        step: scores are rounded to steps of at most this in log odds; None: as they are.
    """

    action = "score"
    VERSION = 2

    faces: Reals | Forger | External
    parts: tuple[Part, ...]
    step: float | None = None

    @property
    def real(self) -> bool:
        """Return whether the images are real."""
        # Both classes are scored by stages of their own: a cached set of reals serves every generator.
        return isinstance(self.faces, Reals) or (isinstance(self.faces, External) and self.faces.side == "real")

    @property
    def tested_on(self) -> str:
        """Return the name in cells: a generator, an external pair; "" for the real faces of the run."""
        if isinstance(self.faces, External):
            return self.faces.tested_as
        return "" if isinstance(self.faces, Reals) else self.faces.forger

    @property
    def label(self) -> str:
        """Return detector and set, e.g. "dct@dcgan on real"."""
        return f"{self.detector.label} on {self._scored}"

    @property
    def subject(self) -> str:
        """Return detector and set, with the seed where a run has several."""
        return f"{self.detector.subject} on {self._scored}"

    @property
    def _scored(self) -> str:
        if isinstance(self.faces, External):
            return f"{EXTERNAL_PREFIX}{self.faces.label}"
        return self.tested_on or "real"

    @property
    def settings(self) -> dict[str, Any]:
        """Return what is scored."""
        # absent unless scores are rounded, so that other keys stay
        rounding = {} if self.step is None else {"step": self.step}
        return {"asked": [part.as_json for part in self.parts]} | rounding

    @property
    def work_units(self) -> float:
        """Return how many images are scored."""
        return float(sum(part.count for part in self.parts))

    @property
    def fixes_threshold(self) -> bool:
        """Return whether some of the scores are of `val`, which the threshold of the detector is fixed on."""
        return any(part.split == "val" for part in self.parts)

    def tests(self) -> list[TestId]:
        """Return the tests whose forged images are scored here."""
        if self.real:
            return []
        return [
            TestId(self.detector.fit, self.tested_on, part.perturbation, self.detector.seed)
            for part in self.parts
            if part.split == "test"
        ]

    def views(self, job: Job) -> Iterator[tuple[Part, FaceView]]:
        """Yield what is scored."""
        faces = job.faces(self.faces)
        for part in self.parts:
            # The same images for every detector and seed, which paired tests and the variance between seeds rest on.
            yield part, drawn(faces.view(part.split), part.count, part.split)

    def finished(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows as they are stored."""
        return rows

    def run(self, job: Job) -> Facts:
        """Write scores.parquet.

        Raises:
            DetectorError: a score is not finite or too large, or depends on the batch.
        """
        from detect.batch_independence import check_batch_independence  # both import pandas
        from detect.scoring import on_grid, score_table, stacked, write_scores

        trained, compute = self.detector.load(job), job.context.compute
        tables, seconds, count = [], 0.0, 0
        for part, view in self.views(job):
            name = part.perturbation
            shown = name.removeprefix(VIEW_PREFIX) if name.startswith(VIEW_PREFIX) else ""
            # crops of larger images, which nothing changes, or whole ones
            scorer = Viewed(trained, shown, view.faces.resolution) if shown else trained
            change = None if shown or name == CLEAN else perturbation(part.reference or name)
            start = time.perf_counter()
            tables.append(
                score_table(
                    scorer, view, compute, perturbation=name, perturb=change, on_progress=job.context.on_progress
                )
            )
            elapsed = time.perf_counter() - start
            if len(tables) == 1:  # once per fit and set: the first part's images stand for the others
                scores = tables[0]["score"].to_numpy()
                check_batch_independence(scorer.detector, view, scores, compute, name=trained.name, perturb=change)
            if name == CLEAN:  # the speed of the detector, not of what is done to images
                seconds += elapsed
                count += len(view)
        rows = stacked(tables)
        if self.step is not None:
            rows = on_grid(rows, trained.calibration, self.step)
        write_scores(self.finished(rows), job.out / "scores.parquet")
        # images per second; None: nothing but perturbed images
        return {"images_per_second": round(count / seconds, 1) if count else None}
