"""From the stored results of a run to what its report is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from PIL import Image

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.evaluation.attribution_facts import Attribution
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
    DataFacts,
    DetectorFacts,
    ExternalFacts,
    FileFacts,
    Finding,
    Gap,
    GeneratorFacts,
    GroupFact,
    Localisation,
    PairedTest,
    QualityRow,
    Results,
    SecurityPoint,
    SnapshotFacts,
    StageFacts,
    TestResult,
)
from benchmarks.evaluation.thresholds import means_of, with_thresholds
from benchmarks.evaluation.usefulness import usefulness_rows
from benchmarks.experiment.names import base_name
from benchmarks.protocol import CLEAN, VIEW_PREFIX, AttackId, Protocol
from benchmarks.report.inputs import Evidence, Pictures, ReportInputs, Sight
from benchmarks.report.sections import loadable
from benchmarks.report.write import write_report
from benchmarks.workflow.map_pictures import map_pictures
from benchmarks.workflow.seen_files import RunFiles
from benchmarks.workflow.source_pictures import beside_sources, finder
from benchmarks.workflow.stage import Job, Stage
from benchmarks.workflow.stages.explain import Explain
from benchmarks.workflow.stages.external import External, count_groups, count_masks
from benchmarks.workflow.stages.fit import Adopt, Fit
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.localise import MASKS
from benchmarks.workflow.stages.quality import Quality
from benchmarks.workflow.stages.report_parts import ReportParts
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.tamper import Tamper
from benchmarks.workflow.stages.train import Train
from benchmarks.workflow.stages.translate import Translate
from benchmarks.workflow.stages.tune import Tune
from benchmarks.workflow.store import Manifest, read_manifest
from detect.data.perturb import perturbation
from detect.explain import spectrum_difference
from detect.scoring import read_scores
from forge.core.files import parse_json, read_json
from forge.faces.faceset import FaceSet, Images
from forge.faces.imaging.grids import cut_grid
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator, generator_folder
from forge.generators.visualize import Painter, interpolations
from forge.quality.measure import Comparison as QualityComparison
from forge.quality.measure import Quality as MeasuredQuality

SAMPLES = 64
SHOWN_SOURCES = ("rendered", "digits")  # licences that let a report show its faces
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
    scores = read_scores(job.path(report.evaluation) / "scores.parquet")
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
        sections=[*loadable(report.sections), *sections],
    )
    write_report(job.out / "report", inputs)


class _Done(NamedTuple):
    """What a report needs of a manifest; a run may have 100,000 of them."""

    seconds: float
    peak_memory_mb: float | None
    facts: dict[str, Any]

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return what is needed of a manifest."""
        return cls(manifest.seconds, manifest.peak_memory_mb, manifest.facts)


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
    def manifests(self) -> dict[str, _Done]:
        """Key of an input -> what its manifest says of its computation."""
        return {stage.key: _Done.of(read_manifest(self.job.path(stage))) for stage in self.report.inputs.values()}

    @cached_property
    def scored(self) -> dict[str, list[_Done]]:
        """Key of a fit -> the computations of its scores."""
        scored: dict[str, list[_Done]] = {}
        for score in self.report.scores:
            scored.setdefault(score.detector.key, []).append(self.manifests[score.key])
        return scored

    @cached_property
    def faces(self) -> FaceSet:
        """The real faces."""
        return self.job.faces(self.report.data)

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
            generators=[self._generator(stage, quality[stage.key]) for stage in report.forged],
            external=[self._external(stage) for stage in report.external],
            perturbations=self._perturbations(),
            moments=[self._snapshot(stage, quality[stage.key]) for stage in report.snapshots if stage.key in quality],
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

    def _generator(self, stage: Forger, quality: Quality) -> GeneratorFacts:
        # A tampering learns nothing: the fields of a training are empty, its seconds are those of making the images.
        if isinstance(stage, Tamper | Gather):
            return GeneratorFacts(
                name=stage.forger,
                seed=stage.seed,
                trained=False,
                files=self._file_facts(stage) if isinstance(stage, Gather) else None,
                from_faces=isinstance(stage, Tamper),
                masks=self.job.faces(stage).has_masks,
                kimg=0,
                parameters={},
                precision="fp32",
                seconds=self.manifests[stage.key].seconds,
                log=[],
                weights_sha256="",
                **self._quality(quality),
            )
        folder = self.job.path(stage.generator)
        # of the snapshot that the forgeries were drawn from
        card = read_json(generator_folder(folder, stage.snapshot) / "generator.json")
        lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ticks = [parse_json(line, folder / "log.jsonl") for line in lines]
        # Forgeries of an early snapshot stand beside the log up to it: what the training did later is not theirs.
        log = [tick for tick in ticks if tick["kimg"] <= card["kimg"]]
        return GeneratorFacts(
            name=stage.forger,
            seed=stage.seed,
            from_faces=isinstance(stage, Translate),
            masks=self.job.faces(stage).has_masks,
            kimg=card["kimg"],  # thousands of training images shown so far
            parameters=card["parameters"],
            precision=card["precision"],
            # the log adds up the calls of a resumed training; a manifest has the last call alone
            seconds=log[-1]["seconds"] if log else self.manifests[stage.generator.key].seconds,
            log=log,
            health=_kept([tick for tick in read_json(folder / "health.json") if tick["kimg"] <= card["kimg"]]),
            condition=card["condition"],
            domains=stage.moves(card) if isinstance(stage, Translate) else None,
            **_race(stage.generator),
            **self._quality(quality),
            weights_sha256=card["weights_sha256"],
        )

    def _file_facts(self, stage: Gather) -> FileFacts:
        card = self.job.faces(stage).card
        recognised = str(self.manifests[stage.key].facts["recognised"])
        return FileFacts(recognised=recognised, splits=card.splits, rejected=card.rejected, digest=card.digest)

    def _snapshot(self, stage: Trained, quality: Quality) -> SnapshotFacts:
        assert stage.snapshot is not None
        return SnapshotFacts(
            name=stage.forger,
            generator=base_name(stage.forger),
            kimg=stage.snapshot,
            seed=stage.seed,
            quality=self._quality(quality).get("quality", []),
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
            digest=card.digest,
            **count_masks(faces),
        )

    def _quality(self, stage: Quality) -> dict[str, Any]:
        """Return the quality of a generator's forgeries as fields of its facts."""
        stored = read_json(self.job.path(stage) / "quality.json")
        if "missing" in stored:  # sets too small to measure are no error, see stages/quality.py
            return {"quality_missing": stored["missing"]}
        measured = MeasuredQuality.model_validate(stored["forged"])
        extractor = measured.space.extractor
        return {
            "quality": [QualityRow(**row._asdict()) for row in QualityComparison.model_validate(stored).rows()],
            "usefulness": usefulness_rows(measured.usefulness),
            "extractor": f"{extractor.name}, sha256 {extractor.sha256[:16]}",
            "spectrum": measured.spectrum.model_dump(include={"frequencies", "candidate", "reference"}),
            "face_rate": measured.face_rate.at_90.value,
        }

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


def _kept(ticks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ticks that were not rolled back."""
    # A rolled-back training goes on from an earlier count: ticks that a later one does not exceed were undone.
    return [dict(tick) for i, tick in enumerate(ticks) if all(later["kimg"] > tick["kimg"] for later in ticks[i + 1 :])]


def _race(training: Train) -> dict[str, Any]:
    """Return what the generator of an arms race goes on from, and against what."""
    if not isinstance(training, Tune):
        return {}
    return {"base": training.base.label, "round": training.round, "against": training.against}
