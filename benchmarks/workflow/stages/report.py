"""The stage that writes everything of a run into a folder that a person reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from benchmarks.workflow.program import program_digest
from benchmarks.workflow.stage import Facts, Job, Stage
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.forger import Trained
from benchmarks.workflow.stages.report_parts import ReportParts

_S = TypeVar("_S", bound=Stage)


@dataclass(frozen=True, eq=False, kw_only=True)
class Report(ReportParts):
    """Results of a run to a report folder."""

    action = "report"
    VERSION = 4
    computes = False

    @property
    def label(self) -> str:
        """Return nothing: a run has one report."""
        return ""

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the report says of the run, and the program that writes it."""
        # Absent where there are none: a run without sections keeps its key.
        more = {"sections": list(self.sections), "section_files": self.section_files} if self.sections else {}
        return more | {
            "name": self.run_name,
            "request": self.request.model_dump(mode="json"),
            "command": self.command,
            "show_real": self.show_real,
            "seeds": list(self.seeds),
            "missing": self.missing,
            "program": self.program,
            "preset": self.preset,
        }

    def without_failed(
        self, there: Collection[str], failures: Mapping[str, str], replaced: Mapping[str, Stage]
    ) -> Report:
        """Return the report of what is there; a training whose forgeries failed is left out."""
        forged, snapshots = _kept(self.forged, there), _kept(self.snapshots, there)
        # an unused training would be listed as a generator without forgeries
        used = {stage.generator.key for stage in (*forged, *snapshots) if isinstance(stage, Trained)}
        evaluation = replaced.get(self.evaluation.key, self.evaluation)
        assert isinstance(evaluation, Evaluate)
        return replace(
            self,
            missing=dict(failures),
            evaluation=evaluation,
            audit=self.audit if self.audit and self.audit.key in there else None,
            trained=tuple(stage for stage in _kept(self.trained, there) if stage.key in used),
            forged=forged,
            snapshots=snapshots,
            quality=_kept(self.quality, there),
            fits=_kept(self.fits, there),
            scores=_kept(self.scores, there),
            explanations=_kept(self.explanations, there),
            external=_kept(self.external, there),
            maps=_kept(self.maps, there),
            attributions=_kept(self.attributions, there),
        )

    def run(self, job: Job) -> Facts:
        """Write the report folder."""
        from benchmarks.workflow.collect import write  # imports torch and pandas

        write(self, job)
        return {}


def _kept(stages: tuple[_S, ...], there: Collection[str]) -> tuple[_S, ...]:
    return tuple(stage for stage in stages if stage.key in there)


def report_program() -> str:
    """Return the digest of the code that decides how a report looks."""
    # What a template or a metric says changes the page but no stored score: only report and evaluation are digested.
    return program_digest("benchmarks/report", "benchmarks/evaluation")
