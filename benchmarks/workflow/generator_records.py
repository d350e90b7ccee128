"""Generators and snapshots of a run as results.json describes them, read from the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from benchmarks.evaluation.run_facts import FileFacts, GeneratorFacts, QualityRow, SnapshotFacts, ZooFacts
from benchmarks.evaluation.usefulness import usefulness_rows
from benchmarks.experiment.names import base_name
from benchmarks.workflow.stage import Job
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.generator import GeneratorStage
from benchmarks.workflow.stages.load import Load
from benchmarks.workflow.stages.quality import Quality
from benchmarks.workflow.stages.tamper import Tamper
from benchmarks.workflow.stages.translate import Translate
from benchmarks.workflow.stages.tune import Tune
from benchmarks.workflow.store import Manifest
from forge.core.files import parse_json, read_json
from forge.generators.artifact import generator_folder
from forge.quality.measure import Comparison as QualityComparison
from forge.quality.measure import Quality as MeasuredQuality


class Computation(NamedTuple):
    """The part of a manifest that a report needs; a run may have 100,000 of them."""

    seconds: float
    peak_memory_mb: float | None
    facts: dict[str, Any]

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return what is needed of a manifest."""
        return cls(manifest.seconds, manifest.peak_memory_mb, manifest.facts)


@dataclass(frozen=True)
class GeneratorRecords:
    """What a store holds of the generators of a run.

    Attributes:
        job: the call of the report's stage.
        manifests: key of a stage -> what its manifest says of its computation.
        faces: digests of the real faces, halved and before; None where the latter is not known.
    """

    job: Job
    manifests: Mapping[str, Computation]
    faces: Collection[str | None] = ()

    def generator(self, stage: Forger, quality: Quality) -> GeneratorFacts:
        """Describe a generator by its training, or by the files that stand for it.

        Args:
            stage: that made its forgeries.
            quality: of these forgeries.
        """
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
            zoo=self._zoo_facts(stage.generator, card) if isinstance(stage.generator, Load) else None,
            **_race(stage.generator),
            **self._quality(quality),
            weights_sha256=card["weights_sha256"],
        )

    def _zoo_facts(self, stage: Load, card: Mapping[str, Any]) -> ZooFacts:
        data = card["data"]
        known = data["digest"] in self.faces
        return ZooFacts(
            architecture=card["architecture"],
            data=data["name"],
            digest=data["digest"],
            same_faces=None if None in self.faces and not known else known,
            command=str(self.manifests[stage.key].facts["command"]),
        )

    def _file_facts(self, stage: Gather) -> FileFacts:
        card = self.job.faces(stage).card
        recognised = str(self.manifests[stage.key].facts["recognised"])
        return FileFacts(recognised=recognised, splits=card.splits, rejected=card.rejected, digest=card.digest)

    def snapshot(self, stage: Trained, quality: Quality) -> SnapshotFacts:
        """Describe a snapshot whose forgeries were tested."""
        assert stage.snapshot is not None
        return SnapshotFacts(
            name=stage.forger,
            generator=base_name(stage.forger),
            kimg=stage.snapshot,
            seed=stage.seed,
            quality=self._quality(quality).get("quality", []),
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


def _kept(ticks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ticks that were not rolled back."""
    # A rolled-back training goes on from an earlier count: ticks that a later one does not exceed were undone.
    return [dict(tick) for i, tick in enumerate(ticks) if all(later["kimg"] > tick["kimg"] for later in ticks[i + 1 :])]


def _race(training: GeneratorStage) -> dict[str, Any]:
    """Return what the generator of an arms race goes on from, and against what."""
    if not isinstance(training, Tune):
        return {}
    return {"base": training.base.label, "round": training.round, "against": training.against}
