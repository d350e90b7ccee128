"""The stage that writes everything of a run into a folder that a person reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from benchmarks.experiment.settings import RunRequest
from benchmarks.workflow.program import program_digest
from benchmarks.workflow.stage import Collecting, Facts, Job, Stage
from benchmarks.workflow.stages.audit import Audit
from benchmarks.workflow.stages.blend import Blend
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.explain import Explain
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.fit import Adopt, Fit
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.quality import Quality, Reference
from benchmarks.workflow.stages.score import Score
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.train import Train

_S = TypeVar("_S", bound=Stage)


@dataclass(frozen=True, eq=False, kw_only=True)
class Report(Collecting):
    """Results of a run to a report folder.

    Attributes:
        run_name: of the run.
        request: from which the run can be made again.
        command: the command that does it.
        preset: of the run.
        seeds: of a repeated run; empty: one seed.
        show_real: whether photos may be embedded.
        sections: sections of the page beside the shipped ones.
        section_files: SHA-256 of their code and templates.
        missing: name of a stage that failed -> its error.
        program: digest of the code that writes pages: a page is cheap, and never an old one.
        data: the real faces.
        evaluation: of all scores.
        reference: quality of held-out real faces.
        audit: of the images; None: it failed.
        trained: trainings of the generators.
        forged: forgeries of the generators.
        snapshots: forgeries of snapshots that are only tested.
        quality: of all forgeries.
        fits: fitted detectors.
        scores: of every detector on every set.
        explanations: of the detectors of the first seed.
        external: sides of external pairs.
    """

    kind = "report"
    VERSION = 4

    run_name: str
    request: RunRequest
    command: str
    preset: str
    seeds: tuple[int, ...]
    show_real: bool
    sections: tuple[str, ...]
    section_files: dict[str, str]
    missing: dict[str, str]
    program: str
    data: Prepare
    evaluation: Evaluate
    reference: Reference
    audit: Audit | None
    trained: tuple[Train, ...]
    forged: tuple[Synthesize | Blend, ...]
    snapshots: tuple[Synthesize, ...]
    quality: tuple[Quality, ...]
    fits: tuple[Fit | Adopt, ...]
    scores: tuple[Score, ...]
    explanations: tuple[Explain, ...]
    external: tuple[External, ...]

    @property
    def label(self) -> str:
        """Return nothing: a run has one report."""
        return ""

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the report says of the run, and the program that writes it."""
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
        used = {stage.generator.key for stage in (*forged, *snapshots) if isinstance(stage, Synthesize)}
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
    return program_digest("benchmarks/report", "benchmarks/measures", "benchmarks/tables")
