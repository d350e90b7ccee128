"""From the stored results of a run to what its report is written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.evaluation.attribution_facts import Attribution
from benchmarks.evaluation.attribution_rows import FILE as ATTRIBUTIONS
from benchmarks.evaluation.attribution_rows import read_attributions
from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.clips import clip_tests
from benchmarks.evaluation.contamination import with_marks
from benchmarks.evaluation.external import one_class_rates, set_means
from benchmarks.evaluation.leaderboard import ranked
from benchmarks.evaluation.localisation import read_rows
from benchmarks.evaluation.map_leaderboard import board_of_run
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.reproduce import expected_of
from benchmarks.evaluation.results import (
    Finding,
    Gap,
    GroupFact,
    Localisation,
    PairedTest,
    Results,
    SecurityPoint,
    TestResult,
)
from benchmarks.evaluation.run_facts import DataFacts, DetectorFacts, ExternalFacts, StageFacts
from benchmarks.evaluation.thresholds import means_of, with_thresholds
from benchmarks.protocol import CLEAN, VIEW_PREFIX, AttackId, Protocol
from benchmarks.report.inputs import Evidence, Pictures, ReportInputs, Sight
from benchmarks.report.sections import loadable
from benchmarks.report.write import write_report
from benchmarks.workflow.generator_records import Computation, GeneratorRecords
from benchmarks.workflow.map_pictures import map_pictures
from benchmarks.workflow.seen_files import RunFiles
from benchmarks.workflow.source_pictures import beside_sources, finder
from benchmarks.workflow.stage import Job, Stage
from benchmarks.workflow.stages.explain import Explain
from benchmarks.workflow.stages.external import External, count_groups, count_masks
from benchmarks.workflow.stages.fit import Adopt, Fit
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.halve import WHOLE, Halve
from benchmarks.workflow.stages.localise import MASKS
from benchmarks.workflow.stages.report_parts import ReportParts
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.store import read_manifest
from detect.data.perturb import perturbation
from detect.explain import spectrum_difference
from detect.score_rows import read_compact
from forge.core.files import read_json
from forge.faces.faceset import FaceSet, Images
from forge.faces.imaging.grids import cut_grid
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator, generator_folder
from forge.generators.visualize import Painter, interpolations

SAMPLES = 64
SHOWN_SOURCES = ("rendered", "digits")  # licences that let a report show its faces
_NAMED = 3  # files from elsewhere that were not used
_FILMED = 8  # snapshots of a filmstrip, and faces of each


def write(report: ReportParts, job: Job, sections: Sequence[str] = ()) -> None:
    """Collect a run's results and write its report into `job.out`/report.

    Args:
        report: the stage.
        job: its call.
        sections: of the page, beside those that the run asked for.
    """
    collected = _Collected(report, job)
    results = collected.results()
    scores = read_compact([job.path(report.evaluation) / "scores.parquet"])
    # `ranked` and the page use the same cells, computed from the same score rows that are published beside them: what
    # `bench reproduce` computes again from those rows is identical.
    cells = cells_of(scores, Protocol(results.protocol_version, results.families))
    board = with_thresholds(ranked(cells), {"": results.cells}) if cells else None
    board = with_marks(board, results.detectors) if board else None
    masks = read_rows(file) if (file := job.path(report.evaluation) / MASKS).is_file() else None
    maps = board_of_run(masks, results.localisation)
    means = [*(means_of(board) if board else []), *set_means(cells)]
    foreign = {"rates": one_class_rates(scores), "clips": clip_tests(scores, results.cells)}
    inputs = ReportInputs(
        results.model_copy(update={"means": means} | foreign),
        scores,
        collected.pictures(),
        board=board if results.suite else None,  # means are in results.json of every run; only suites show ranks
        expected=expected_of(results, cells, board, maps),  # what `bench reproduce` compares with
        masks=masks,
        attributions=collected.answers(),
        sections=[*loadable(report.sections), *sections],
    )
    write_report(job.out / "report", inputs)


@dataclass(frozen=True)
class _Collected:
    """The results of a run, as its report needs them.

    Attributes:
        report: the stage.
        job: its call.
    """

    report: ReportParts
    job: Job

    @cached_property
    def manifests(self) -> dict[str, Computation]:
        """Key of an input -> what its manifest says of its computation."""
        return {stage.key: Computation.of(read_manifest(self.job.path(stage))) for stage in self.report.inputs.values()}

    @cached_property
    def scored(self) -> dict[str, list[Computation]]:
        """Key of a fit -> the computations of its scores."""
        scored: dict[str, list[Computation]] = {}
        for score in self.report.scores:
            scored.setdefault(score.detector.key, []).append(self.manifests[score.key])
        return scored

    @cached_property
    def faces(self) -> FaceSet:
        """The real faces."""
        return self.job.faces(self.report.data)

    @cached_property
    def _digests(self) -> tuple[str | None, ...]:
        """Digests of the real faces as detectors and as generators see them; None: an earlier version kept none."""
        whole = self.manifests[self.report.data.key].facts.get(WHOLE) if isinstance(self.report.data, Halve) else ()
        return (self.faces.card.digest, *((whole,) if whole != () else ()))

    @cached_property
    def _files(self) -> RunFiles:
        """Files of training images and of external pairs."""
        training = [self.faces, *(self.job.faces(stage) for stage in self.first.values())]
        pairs = [(stage.tested_as, self.job.faces(stage)) for stage in self.report.external]
        return RunFiles(training, pairs)

    @cached_property
    def shown(self) -> bool:
        """True where the real faces may be shown."""
        source = self.faces.card.provenance.get("source")
        name = str(source.get("name")) if isinstance(source, dict) else ""
        return self.report.show_real or name in SHOWN_SOURCES

    @cached_property
    def first(self) -> dict[str, Forger]:
        """Generator -> its forgeries of the first seed, whose pictures are shown."""
        return {stage.forger: stage for stage in self.report.forged if stage.seed == self.report.seed}

    @cached_property
    def free(self) -> dict[str, FaceSet]:
        """Generator -> forgeries that may be shown: what is made from photos shows the photos' faces."""
        # a face from a latent is no photo of a person; files are others', whatever the real faces are
        shown = {
            name: stage
            for name, stage in self.first.items()
            if isinstance(stage, Synthesize) or (self.report.show_real if isinstance(stage, Gather) else self.shown)
        }
        return {name: self.job.faces(stage) for name, stage in shown.items()}

    def results(self) -> Results:
        """Return everything that the report says, as data."""
        report, card = self.report, self.faces.card
        evaluation = read_json(self.job.path(report.evaluation) / "evaluation.json")
        audited = read_json(self.job.path(report.audit) / "findings.json") if report.audit else []
        quality = {stage.forged.key: stage for stage in report.quality}  # forged set -> the stage that measured it
        generators = GeneratorRecords(self.job, self.manifests, self._digests)
        return Results(
            name=report.run_name,
            preset=report.preset,
            seed=report.seed,
            seeds=list(report.seeds),
            request=report.request,
            command=report.command,
            missing=report.missing,
            # The version that was evaluated: a page written again from a store may be of an earlier one than this
            # program's.
            protocol_version=report.evaluation.protocol,
            families=report.evaluation.families,
            data=DataFacts(
                name=card.name,
                digest=card.digest,
                licence=card.licence,
                citation=card.citation,
                resolution=card.resolution,
                splits=card.splits,
                rejected=card.rejected,
                provenance=card.provenance,
                shown=self.shown,
            ),
            # by seed too: every repetition has generators of its own
            generators=[generators.generator(stage, quality[stage.key]) for stage in report.forged],
            external=[self._external(stage) for stage in report.external],
            perturbations=self._perturbations(),
            moments=[
                generators.snapshot(stage, quality[stage.key]) for stage in report.snapshots if stage.key in quality
            ],
            detectors=[self._detector(stage) for stage in report.fits],
            metrics=[MetricFacts(**facts) for facts in evaluation.get("metrics", ())],
            cells=[TestResult(**cell) for cell in evaluation["cells"]],
            comparisons=[PairedTest(**item) for item in evaluation["comparisons"]],
            groups=[GroupFact(**facts) for facts in evaluation["groups"]],
            gaps=[Gap(**gap) for gap in evaluation["gaps"]],
            audits=[Finding(**finding) for finding in [*evaluation["audits"], *audited]],
            attacks=[AttackFacts(**facts) for facts in evaluation.get("attacks", ())],
            security=[SecurityPoint(**point) for point in evaluation.get("security", ())],
            localisation=[Localisation(**row) for row in evaluation.get("localisation", ())],
            attribution=[
                Attribution.model_validate(read_json(self.job.path(stage) / "attribution.json"))
                for stage in report.attributions
            ],
            stages=[self._stage(stage) for stage in report.inputs.values()],
            environment=read_manifest(self.job.path(report.evaluation)).environment,
        )

    def answers(self) -> pd.DataFrame | None:
        """Return the rows of all attributions; None where there are none, or an earlier version kept no rows."""
        files = [self.job.path(stage) / ATTRIBUTIONS for stage in self.report.attributions]
        tables = [read_attributions(file) for file in files if file.is_file()]
        # of some alone `bench reproduce` could not compute the others
        return pd.concat(tables, ignore_index=True) if tables and len(tables) == len(files) else None

    def _perturbations(self) -> dict[str, str]:
        """Name each perturbation of test images for pages, which are rendered without the code of plug-ins."""
        # A part from a file carries its reference, which is what can be loaded; tables and pages know its id.
        parts = {part.perturbation: part for score in self.report.scores for part in score.parts}
        return {
            name: attack.readable
            if (attack := AttackId.parse(name))
            else name.removeprefix(VIEW_PREFIX)
            if name.startswith(VIEW_PREFIX)
            else perturbation(part.reference or name).display_name
            for name, part in parts.items()
            if name != CLEAN
        }

    def pictures(self) -> Pictures:
        """Return what may be shown of the first seed."""
        # the grids of a translator's training are translated photos; it has no latents to walk between
        trained = {
            name: stage for name, stage in self.first.items() if name in self.free and isinstance(stage, Trained)
        }
        latent = {name: stage for name, stage in trained.items() if isinstance(stage, Synthesize)}
        return Pictures(
            # the first test images: their latents are random and nobody chose among them
            forged={name: faces.view("test").head(SAMPLES).read() for name, faces in self.free.items()},
            filmstrip={name: self._filmstrip(stage) for name, stage in trained.items()},
            sources={
                name: beside_sources(self.first[name], faces, self.faces, count=_FILMED)
                for name, faces in self.free.items()
                if not isinstance(self.first[name], Synthesize | Gather)
            },
            interpolations={name: self._interpolations(stage) for name, stage in latent.items()},
            by_id=finder([*self.free.values(), *([self.faces] if self.shown else [])]),
            evidence=self._evidence(),
            located=map_pictures(self.report, self.job, self.free | ({"": self.faces} if self.shown else {})),
        )

    def _stage(self, stage: Stage) -> StageFacts:
        """Describe a stage by the name it has here: another run may have computed it."""
        manifest = self.manifests[stage.key]  # of whichever run computed it
        return StageFacts(
            name=stage.name,
            action=stage.action,
            label=stage.label,
            seed=stage.seed,
            about=stage.about,
            key=stage.key,
            seconds=manifest.seconds,  # of the call that finished it, on the machine that did
            peak_memory_mb=manifest.peak_memory_mb,
        )

    def _external(self, stage: External) -> ExternalFacts:
        faces = self.job.faces(stage)
        card = faces.card
        return ExternalFacts(
            name=card.name,
            kind=card.kind,
            images=len(faces),
            groups=count_groups(faces),
            rejected=card.rejected,
            left_out=faces.rejected_files(_NAMED),
            digest=card.digest,
            **count_masks(faces),
        )

    def _detector(self, stage: Fit | Adopt) -> DetectorFacts:
        card = read_json(self.job.path(stage) / "detector" / "detector.json")
        # One fit is scored on many sets, each timed alone: the median keeps one slow start out.
        scored = self.scored.get(stage.key, [])
        # None: nothing but perturbed images, which are not timed
        speeds = [speed for each in scored if (speed := each.facts["images_per_second"]) is not None]
        peaks = [each.peak_memory_mb for each in scored if each.peak_memory_mb is not None]
        return DetectorFacts(
            name=stage.detector,
            seed=stage.seed,
            trained_on=card["trained_on"],
            family=card["family"],
            citation=card["citation"],
            variant=card["variant"],
            parameters=card["parameters"],
            calibration=card["calibration"],
            images_per_second=float(np.median(speeds)) if speeds else None,
            peak_memory_mb=max(peaks, default=None),
            seconds=self.manifests[stage.key].seconds,
            facts=card["facts"],
            history=card["history"],
            seen=self._files.seen(card.get("seen", []), fitted=isinstance(stage, Fit)),
        )

    def _evidence(self) -> Evidence:
        """Return where the detectors of the first seed look, and the spectra of forged and real test faces."""
        # of one seed, whose pictures are shown
        explained = [stage for stage in self.report.explanations if stage.detector.seed == self.report.seed]
        real = self.faces.view("test")
        return Evidence(
            spectra={
                name: spectrum_difference(real, self.job.faces(stage).view("test"))
                for name, stage in self.first.items()
            },
            sights=[self._sight(stage) for stage in explained],
            method=next((str(self.manifests[stage.key].facts["method"]) for stage in explained), ""),
        )

    def _sight(self, stage: Explain) -> Sight:
        saliency, weights = stage.read(self.job)
        return Sight(
            detector=stage.detector.detector,
            trained_on=str(stage.detector.training),
            saliency={name: maps for name, maps in saliency.items() if name in self.free},
            weights=weights,
        )

    def _filmstrip(self, stage: Trained) -> list[tuple[float, Images]]:
        """Return the first eight fixed latents at up to eight snapshots of the training, none after the forgeries."""
        folder = self.job.path(stage.generator)
        kimg = read_json(generator_folder(folder, stage.snapshot) / "generator.json")["kimg"]
        grids = sorted(file for file in (folder / "samples").glob("*k.png") if _kimg_of(file) <= kimg)
        if not grids:
            return []
        # Evenly spaced, the first and the last included; fewer grids than places give each once.
        chosen = sorted(set(np.linspace(0, len(grids) - 1, _FILMED).round().astype(int)))
        # [H, W, 3] grid -> faces [n, h, w, 3], of which the first eight fixed latents
        return [(_kimg_of(grids[i]), cut_grid(Image.open(grids[i]))[:_FILMED]) for i in chosen]

    def _interpolations(self, stage: Synthesize) -> Images:
        """Return faces of the generator that made a forged set, between latents."""
        folder = generator_folder(self.job.path(stage.generator), stage.snapshot)
        implementation = GENERATORS.load(stage.generator.architecture)
        return interpolations(Painter(TrainedGenerator.open(folder, implementation=implementation), self.report.seed))


def _kimg_of(file: Path) -> float:
    return float(file.stem.rstrip("k"))
