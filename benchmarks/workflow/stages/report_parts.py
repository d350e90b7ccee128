"""Inputs of the stage that writes a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from benchmarks.experiment.request_fields import RunRequest
from benchmarks.workflow.stage import Collecting, Stage
from benchmarks.workflow.stages.attribute import Attribute
from benchmarks.workflow.stages.audit import Audit
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.explain import Explain
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.fit import Adopt, Fit
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.generator import GeneratorStage
from benchmarks.workflow.stages.halve import Reals
from benchmarks.workflow.stages.localise import Localise
from benchmarks.workflow.stages.quality import Quality, Reference
from benchmarks.workflow.stages.score import Score

_S = TypeVar("_S", bound=Stage)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportParts(Collecting):
    """Everything that a report is written from.

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
        maps: of detectors that say where images were altered.
        attributions: of images to generators.
    """

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
    data: Reals
    evaluation: Evaluate
    reference: Reference
    audit: Audit | None
    trained: tuple[GeneratorStage, ...]
    forged: tuple[Forger, ...]
    snapshots: tuple[Trained, ...]
    quality: tuple[Quality, ...]
    fits: tuple[Fit | Adopt, ...]
    scores: tuple[Score, ...]
    explanations: tuple[Explain, ...]
    external: tuple[External, ...]
    maps: tuple[Localise, ...] = ()
    attributions: tuple[Attribute, ...] = ()
