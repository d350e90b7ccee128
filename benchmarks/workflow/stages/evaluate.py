"""The stage that turns all scores of a run into cells, comparisons and findings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.protocol import Protocol
from benchmarks.workflow.stage import Collecting, Facts, Job, Stage
from benchmarks.workflow.stages.attack import Attack
from benchmarks.workflow.stages.localise import MASKS, Localise
from benchmarks.workflow.stages.score import Score
from forge.core.files import write_json


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluate(Collecting):
    """All score rows of the run to cells and comparisons.

    Attributes:
        protocol: version of the protocol.
        families: generator -> family.
        metrics: metrics beside those of the protocol.
        metric_files: SHA-256 of their code.
        scores: of every detector on every set.
        maps: of detectors that say where images were altered.
    """

    action = "evaluate"
    VERSION = 10
    computes = False

    protocol: int
    families: dict[str, str]
    metrics: tuple[str, ...]
    metric_files: dict[str, str]
    scores: tuple[Score, ...]
    maps: tuple[Localise, ...] = ()

    @property
    def label(self) -> str:
        """Return nothing: a run has one evaluation."""
        return ""

    @property
    def settings(self) -> dict[str, Any]:
        """Return the version of the protocol, the families and the metrics beside those of the protocol."""
        # absent without metrics, so that keys of runs without any stay
        more = {"metrics": list(self.metrics), "files": self.metric_files} if self.metrics else {}
        return {"protocol": self.protocol, "families": self.families, **more}

    def without_failed(
        self, there: Collection[str], failures: Mapping[str, str], replaced: Mapping[str, Stage]
    ) -> Evaluate:
        """Return the evaluation of the scores there are; a detector without its val scores has no threshold."""
        missing = [stage for stage in self.scores if stage.key not in there]
        # Without a threshold a detector has no accuracy and no group rates: all of its rows are left out, not some
        # columns.
        without_threshold = {stage.detector.key for stage in missing if stage.fixes_threshold}
        kept = [stage for stage in self.scores if stage.key in there and stage.detector.key not in without_threshold]
        maps = tuple(stage for stage in self.maps if stage.key in there)
        return replace(self, scores=tuple(kept), maps=maps)

    def run(self, job: Job) -> Facts:
        """Write scores.parquet, masks.parquet where there are maps, and evaluation.json."""
        from benchmarks.evaluation import results_of  # imports pandas

        protocol = Protocol(self.protocol, self.families)
        rows = results_of.joined([job.path(stage) / "scores.parquet" for stage in self.scores], job.out)
        evaluation = results_of.evaluated(rows, self.metrics, protocol)
        attacks = [fact for stage in self.scores if isinstance(stage, Attack) for fact in stage.read_facts(job)]
        if attacks:
            evaluation |= results_of.attacked(rows, attacks, protocol)
        if self.maps:
            files = [job.path(stage) / MASKS for stage in self.maps]
            evaluation["localisation"] = results_of.located(files, job.out / MASKS)
        write_json(job.out / "evaluation.json", evaluation)
        return {"cells": len(evaluation["cells"])}
