"""The stage that searches the faces that tampered ones are made from for landmarks, once for all methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.workflow.stage import Facts, Job, Stage
from benchmarks.workflow.stages.halve import Reals
from forge.tampering.landmark_search import Landmarks, read_landmarks, search_sources, write_landmarks

_FILE = "landmarks.parquet"


@dataclass(frozen=True, eq=False, kw_only=True)
class FindLandmarks(Stage):
    """Real faces to the landmarks of those that forgeries are made from.

    Attributes:
        data: the real faces, halved.
        counts: split -> forgeries of a generator.
        every: search all sources, since any may be a donor; else those that are taken.
    """

    action = "landmarks"
    VERSION = 1
    optional = True
    computes = False

    data: Reals
    counts: Mapping[str, int]
    every: bool

    @property
    def label(self) -> str:
        """Return the source of the real faces, and which of them are searched."""
        return f"{self.data.label} ({'all' if self.every else 'taken'})"

    @property
    def settings(self) -> dict[str, Any]:
        """Return which faces are searched."""
        return {"counts": dict(self.counts), "every": self.every}

    def run(self, job: Job) -> Facts:
        """Write the landmarks."""
        found = search_sources(
            job.faces(self.data),
            self.counts,
            seed=self.seed,
            every=self.every,
            on_progress=job.context.on_progress,
        )
        write_landmarks(found, job.out / _FILE)
        return {"images": len(found)}

    def read(self, job: Job) -> Landmarks:
        """Read the landmarks by id."""
        return read_landmarks(job.path(self) / _FILE)
