"""One call of a stage: what is asked for, where its inputs and its result lie, and how it is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.planner import Stage
from forge.compute import Compute
from forge.faces.faceset import FaceSet
from forge.progress import Report

if TYPE_CHECKING:
    from forge.faces.sources import Source

FACES = "faces"  # where a stage that makes a FaceSet puts it

Facts = dict[str, Any]  # what a stage wants remembered in its manifest


@dataclass(frozen=True)
class Context:
    """Where and how a stage runs; none of it changes what is asked for.

    Attributes:
        source: the real faces.
        compute: device and precision.
        workers: processes that read photos.
        report: told about progress.
        track: folder for TensorBoard events, if any are wanted.
        external: folders of real and of forged photos that detectors are tested on, by the pair's name.
    """

    source: Source | FaceSet
    compute: Compute
    workers: int
    report: Report
    track: Path | None = None
    external: Mapping[str, tuple[Source, Source]] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One call of a stage.

    Attributes:
        stage: what is asked for.
        inputs: directories of the results it reads, by name.
        out: an empty directory for the result.
        work: a directory that stays between calls until the result is published.
        context: where and how.
    """

    stage: Stage
    inputs: Mapping[str, Path]
    out: Path
    work: Path
    context: Context

    @property
    def compute(self) -> Compute:
        """Where it is computed, in the precision that the stage's key knows."""
        numerics = self.stage.settings.get("numerics")
        return replace(self.context.compute, precision=numerics["precision"]) if numerics else self.context.compute

    def faces(self, name: str) -> FaceSet:
        """The FaceSet among the inputs."""
        return FaceSet.open(self.inputs[name] / FACES)
