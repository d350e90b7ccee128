"""From settings to stages: what has to be computed, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from benchmarks.experiment.matrix import PlannedFit, families_of, planned_fits, snapshots_of
from benchmarks.experiment.names import base_name
from benchmarks.experiment.settings import GeneratorSettings, RunSettings
from benchmarks.protocol import CLEAN, EXTERNAL_PREFIX, PAIRED_PREFIX, PROTOCOL_VERSION, GeneratorId, TrainSet
from benchmarks.workflow.stage import Stage
from benchmarks.workflow.stages.audit import Audit
from benchmarks.workflow.stages.blend import Blend
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.explain import Explain
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.fit import Adopt, Fit
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.halve import Halve, Reals
from benchmarks.workflow.stages.perturb import Perturb
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.quality import Quality, Reference
from benchmarks.workflow.stages.report import Report, report_program
from benchmarks.workflow.stages.score import Part, Score
from benchmarks.workflow.stages.score_pairs import ScorePairs
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.train import Train
from benchmarks.workflow.stages.translate import Translate
from forge.core.compute import Compute
from forge.core.execution import execution_of

_S = TypeVar("_S", bound=Stage)

FEWEST_IMAGES = 20  # images of a FaceSet, at least


def plan(
    settings: RunSettings,
    *,
    source_fingerprint: str,
    external_fingerprints: Mapping[str, tuple[str, str]] | None = None,
    compute: Compute | None = None,
) -> list[Stage]:
    """List the stages of a run, each after what it needs and each once.

    Args:
        settings: of the run.
        source_fingerprint: digest of the source's contents.
        external_fingerprints: of the folders of real and forged photos of each external pair.
        compute: precision and threads, which decide the result of a training; by default those of this machine's CPU.

    Returns:
        The stages; the last one is the report.
    """
    data = settings.data
    # Real faces have a seed of their own, so that repetitions with other seeds share them.
    prepare = Prepare(seed=data.seed, data=data, fingerprint=source_fingerprint)
    # forgeries from real faces: their sources must not stand in the real class
    sourced = any(generator.takes_faces for generator in settings.generators.values())
    real: Reals = Halve(data=prepare) if sourced else prepare
    shared = _Shared(
        prepare=prepare,
        real=real,
        reference=Reference(measured_by=_quality(settings), data=real),
        external=_external(settings, external_fingerprints or {}),
        compute=compute or Compute(),
    )
    # `seeds` empty: one run with `seed`, whose stage names carry no number.
    repetitions = [
        _Repetition.of(settings.model_copy(update={"seed": seed}), shared)
        for seed in settings.seeds or (settings.seed,)
    ]
    sides = tuple(side for pair in shared.external.values() for side in pair)
    forged = tuple(stage for each in repetitions for stage in each.forged.values())
    snapshots = tuple(stage for each in repetitions for stage in each.snapshots.values())
    # the generator and its snapshots share one training
    trained = _unique(stage.generator for stage in forged if isinstance(stage, Trained))
    quality = tuple(stage for each in repetitions for stage in each.quality)
    detectors = [stage for each in repetitions for stage in each.detectors]
    audit = Audit(data=real, forged=forged, external=sides)
    scores = _unique(stage for stage in detectors if isinstance(stage, Score))
    # One evaluation over all repetitions: the variance between seeds needs them together.
    evaluate = Evaluate(
        seed=settings.seed,
        protocol=PROTOCOL_VERSION,
        families=families_of(settings.generators),
        metrics=settings.metrics,
        metric_files=settings.metric_files,
        scores=tuple(scores),
    )
    report = Report(
        seed=settings.seed,
        run_name=settings.name,
        request=settings.request,
        command=settings.command,
        preset=settings.preset,
        seeds=settings.seeds,
        show_real=settings.show_real,
        sections=settings.sections,
        section_files=settings.section_files,
        missing={},
        # part of the key: a page of an earlier version of the templates is never served from the store
        program=report_program(),
        data=real,
        evaluation=evaluate,
        reference=shared.reference,
        audit=audit,
        trained=tuple(trained),
        forged=forged,
        snapshots=snapshots,
        quality=quality,
        fits=tuple(_unique(stage for stage in detectors if isinstance(stage, Fit | Adopt))),
        scores=tuple(scores),
        explanations=tuple(_unique(stage for stage in detectors if isinstance(stage, Explain))),
        external=sides,
    )
    # all generators first: what they learned can be looked at while detectors are fitted
    makers = [stage for each in repetitions for stage in each.makers()]
    return _unique(
        [prepare, real, *sides, *makers, shared.reference, *_by_repetition(repetitions), audit, evaluate, report]
    )


def _by_repetition(repetitions: list[_Repetition]) -> Iterator[Stage]:
    for each in repetitions:
        yield from each.quality
        yield from each.detectors


def _unique(stages: Iterable[_S]) -> list[_S]:
    """Return the stages, each key once."""
    # the first position and the last value; stages of one key are equal
    return list({stage.key: stage for stage in stages}.values())


def _external(
    settings: RunSettings, fingerprints: Mapping[str, tuple[str, str]]
) -> dict[str, tuple[External, External]]:
    """Return the stages that prepare the real and the forged photos of each external pair, all for the test."""

    def side(pair: str, name: Literal["real", "forged"], fingerprint: str) -> External:
        return External(
            pair=pair,
            side=name,
            resolution=settings.data.resolution,
            crop=settings.data.crop,
            count=max(settings.images.test, FEWEST_IMAGES),  # fewer cannot be a FaceSet, whatever the preset asks for
            fingerprint=fingerprint,
        )

    return {
        f"{EXTERNAL_PREFIX}{pair}": (side(pair, "real", real), side(pair, "forged", forged))
        for pair, (real, forged) in fingerprints.items()
    }


def _quality(settings: RunSettings, generator: GeneratorSettings | None = None) -> dict[str, Any]:
    """Return the settings of the quality metrics; n is at most the number of forged images.

    Args:
        settings: of the run.
        generator: whose forgeries are measured; None: real faces, or a snapshot.
    """
    images = sum(settings.images.model_dump().values())
    # Defaults are left out unless metrics were added, so that a new field of these settings leaves older keys as they
    # are.
    quality = settings.quality.model_dump(
        mode="json", exclude={"usefulness"}, exclude_defaults=not settings.quality.metrics
    )
    # only where forgeries have labels of their own: other keys stay as they are
    labelled = generator is not None and bool(generator.condition) and not generator.takes_faces
    more = {"usefulness": True} if labelled and settings.quality.usefulness else {}
    # "n" last: a preset may ask for more images than the run forges
    return {"n": 0, "face_n": settings.quality.face_n} | quality | {"n": min(settings.quality.n, images)} | more


@dataclass(frozen=True)
class _Shared:
    """Stages and settings that the repetitions of a run share.

    Attributes:
        prepare: real faces, as generators learn from them.
        real: the same for all else: halved where forgeries are made from real faces.
        reference: quality of held-out real faces.
        external: name of an external pair in cells -> its real and its forged side.
        compute: precision and threads.
    """

    prepare: Prepare
    real: Reals
    reference: Reference
    external: Mapping[str, tuple[External, External]]
    compute: Compute


@dataclass(frozen=True)
class _Repetition:
    """The stages of one seed.

    Attributes:
        forged: generator -> its forgeries.
        snapshots: snapshot that is only tested -> its forgeries.
        quality: of all forgeries.
        detectors: fits, explanations, scores.
    """

    forged: dict[str, Forger]
    snapshots: dict[str, Trained]
    quality: list[Quality]
    detectors: list[Stage]

    @classmethod
    def of(cls, settings: RunSettings, shared: _Shared) -> _Repetition:
        """Plan one seed.

        Args:
            settings: of the run, with the seed of the repetition.
            shared: what all repetitions use.
        """
        forged = {name: _forger(settings, name, each, shared) for name, each in settings.generators.items()}
        snapshots = _snapshots(settings, forged)
        quality = [
            Quality(measured_by=measured_by, data=shared.real, forged=stage, reference=shared.reference)
            for stage, measured_by in [
                *((stage, _quality(settings, settings.generators[name])) for name, stage in forged.items()),
                *((stage, _quality(settings)) for stage in snapshots.values()),
            ]
        ]
        detectors = _Detectors(settings, shared, forged, snapshots).stages()
        return cls(forged, snapshots, quality, detectors)

    def makers(self) -> Iterator[Stage]:
        """Yield trainings and forgeries."""
        # A snapshot's Synthesize names the same Train as its generator; `_unique` drops the second one.
        for stage in (*self.forged.values(), *self.snapshots.values()):
            if isinstance(stage, Trained):
                yield stage.generator
            yield stage


def _forger(settings: RunSettings, name: str, generator: GeneratorSettings, shared: _Shared) -> Forger:
    """Return the stage that makes a generator's forgeries."""
    counts = settings.images.model_dump(mode="json")
    # "repeated" is for names alone and in no key
    common: dict[str, Any] = {"seed": settings.seed, "repeated": len(settings.seeds) > 1}
    values = generator.model_dump(mode="json")
    if generator.blends:
        return Blend(
            **common,
            forger=name,
            generator=generator.architecture,
            blending=values["network"],
            counts=counts,
            data=shared.real,
        )
    train = Train(
        **common,
        generator=base_name(name),
        architecture=generator.architecture,
        network=values["network"],
        training=values["training"],
        condition=generator.condition,
        domains=values["domains"] if generator.moves_between else None,
        files=generator.files,
        training_seed=generator.seed,
        # a training's result depends on precision and threads, hence they are in its key
        numerics=shared.compute.numerics(execution_of("generators", generator.architecture)),
        data=shared.prepare,
    )
    if generator.translates:
        made = {key: values[key] for key in ("weights", "snapshot", "direction")}
        return Translate(**common, forger=name, generator=train, counts=counts, data=shared.real, **made)
    # how forgeries are drawn is no reason to train again
    drawn = {key: values[key] for key in ("mix", "truncation", "weights", "snapshot")}
    return Synthesize(**common, forger=name, generator=train, counts=counts, **drawn)


def _snapshots(settings: RunSettings, forged: Mapping[str, Forger]) -> dict[str, Trained]:
    """Return the stages that make the test forgeries of snapshots, of the same latents as those of the end."""
    count = max(settings.images.test, settings.quality.n)  # as many as their quality is measured on
    stages: dict[str, Trained] = {}
    for name in settings.conditions.snapshots:
        last = forged[name]
        assert isinstance(last, Trained)  # `validate` refuses snapshots of what is not trained
        for label in snapshots_of(settings, name):
            kimg = GeneratorId.parse(label).kimg
            # The same seed: the latents of a snapshot's forgeries are those of the end, so that both show the same
            # draws.
            stages[label] = replace(last, forger=label, counts={"test": count}, snapshot=kimg)
    return stages


@dataclass(frozen=True)
class _Detectors:
    """Plans the detectors of one seed: fitted on what the conditions ask for, explained, scored.

    Attributes:
        settings: of the run, with the seed of the repetition.
        shared: what all repetitions use.
        forged: generator -> its forgeries.
        snapshots: snapshot that is only tested -> its forgeries.
    """

    settings: RunSettings
    shared: _Shared
    forged: Mapping[str, Forger]
    snapshots: Mapping[str, Trained]

    def stages(self) -> list[Stage]:
        """Return the stages, each after what it needs."""
        # Filled in the order of the run's detectors, in which `resolve` puts members before their fusion.
        fits: dict[tuple[str, TrainSet], Fit | Adopt] = {}
        stages: list[Stage] = []
        explained = self.settings.seed == (self.settings.seeds or (self.settings.seed,))[0]  # one seed's are shown
        for detector in self.settings.detectors:
            for planned in planned_fits(self.settings, detector):
                fit = self._fit(detector, planned.train_set, fits)
                if fit is None:
                    continue
                fits[detector, planned.train_set] = fit
                # trained on changed images: the changed sets are stages of their own
                stages += [stage for stage in fit.inputs.values() if isinstance(stage, Perturb)]
                stages.append(fit)
                if explained and not planned.train_set.variant:  # no saliency of shuffled, budget and equalised fits
                    forged = {name: self.forged[name] for name in planned.train_set.generators if name in self.forged}
                    stages.append(Explain(detector=fit, forged=forged))
                stages += self._scores(planned, fit)
        return stages

    def _fit(
        self, name: str, training: TrainSet, fits: Mapping[tuple[str, TrainSet], Fit | Adopt]
    ) -> Fit | Adopt | None:
        """Return the stage of a fitted detector; None: it cannot be fitted, for want of a discriminator or a member."""
        settings, request = self.settings, self.settings.detectors[name]
        common: dict[str, Any] = {"seed": settings.seed, "repeated": len(settings.seeds) > 1}
        common |= {"detector": name, "training": training}
        # A fixed scorer counts as trained elsewhere as well, but there is no folder that could be taken over.
        if request.trained_on and request.needs != "nothing":
            resolution = settings.data.resolution
            return Adopt(**common, folder=request.detector, files=request.files, resolution=resolution)
        learned = () if request.needs == "nothing" else training.generators
        # a fixed scorer has no forgeries as inputs: its key is the same whatever the run forges
        real: Reals | Perturb = self.shared.real
        forged: dict[str, Forger | Perturb] = {generator: self.forged[generator] for generator in learned}
        # Both classes go through the same change: else the change itself would tell them apart.
        if training.perturbation != CLEAN:
            real = Perturb(faces=self.shared.real, perturbation=training.perturbation)
            forged = {
                generator: Perturb(faces=self.forged[generator], perturbation=training.perturbation)
                for generator in learned
            }
        if request.needs in ("discriminator", "snapshots"):
            adversary = self._adversary(request.adversary or _last_trained(settings, training))
            if adversary is None:
                return None
            # an input by its key, and the snapshot beside it
            common |= {"adversary": adversary.generator, "snapshot": adversary.snapshot}
        members = request.detector.removeprefix("mean:").split("+") if request.needs == "members" else ()
        if any((member, training) not in fits for member in members):
            return None
        return Fit(
            **common,
            request=request,
            images=settings.images,
            numerics=self.shared.compute.numerics(execution_of("detectors", request.detector)),
            real=real,
            forged=forged,
            members={member: fits[member, training] for member in members},
        )

    def _adversary(self, generator: str | None) -> Synthesize | None:
        stage = self.forged[generator] if generator else None
        return stage if isinstance(stage, Synthesize) else None

    def _scores(self, planned: PlannedFit, fit: Fit | Adopt) -> Iterator[Score]:
        """Yield scores: of `val` of what it was trained on, for the threshold; of `test` of what it is tested on."""
        counts = self.settings.images
        # Without forgeries of this run in its training, the threshold is fixed on `val` of all generators.
        elsewhere = not set(planned.train_set.generators) & set(self.forged)  # trained on nothing of this run
        sets: dict[str, Reals | Forger] = {"real": self.shared.real, **self.forged, **self.snapshots}
        for name, faces in sets.items():
            parts: list[Part] = []
            # `val` for the threshold: reals, and the forgeries it was trained on. Those of a left-out generator would
            # leak.
            if name in ("real", *planned.train_set.generators) or (elsewhere and name not in self.snapshots):
                # changed as in the training, so that the threshold fits what is tested
                parts.append(Part("val", counts.val, planned.train_set.perturbation))
            if name in ("real", *planned.tests):
                # snapshots and external pairs answer another question and stay as they are
                changes = (CLEAN,) if name in self.snapshots else planned.perturbations
                parts += [_changed_part(self.settings, change) for change in changes]
            if parts:
                yield Score(seed=self.settings.seed, detector=fit, faces=faces, parts=tuple(parts))
        for name, faces in self.forged.items():
            if f"{PAIRED_PREFIX}{name}" in planned.tests:
                assert not isinstance(faces, Synthesize)  # only generators that take faces have such tests
                parts = [Part("test", counts.test)]
                yield ScorePairs(
                    seed=self.settings.seed, detector=fit, faces=faces, parts=tuple(parts), data=self.shared.real
                )
        for name, pair in self.shared.external.items():
            for side in pair if name in planned.tests else ():
                parts = [Part("test", counts.test)]
                yield Score(seed=self.settings.seed, detector=fit, faces=side, parts=tuple(parts))


def _changed_part(settings: RunSettings, perturbation: str) -> Part:
    """Return the test part of a perturbation; of one from a file the code is part of its key."""
    files = settings.conditions.perturbation_files.get(perturbation)
    if files is None:
        return Part("test", settings.images.test, perturbation)
    # the id is the name in tables; the digests make a change of the code another key
    code = {name: digest for name, digest in files.items() if name != "id"}
    return Part("test", settings.images.test, files["id"], reference=perturbation, files=code)


def _last_trained(settings: RunSettings, training: TrainSet) -> str | None:
    """Return the generator of a training whose discriminator is used unless one is named: the last one of the run.

    Denoisers have none, and forgeries made from real faces none that judges images alone. A left-out generator's
    discriminator would have seen what the test must not show.
    """
    judged = [name for name, each in settings.generators.items() if name in training.generators and each.judged]
    return judged[-1] if judged else None
