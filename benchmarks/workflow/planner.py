"""From settings to stages: what has to be computed, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeVar

from benchmarks.experiment.matrix import families_of, snapshots_of, train_set_of_round
from benchmarks.experiment.names import base_name
from benchmarks.experiment.settings import GeneratorSettings, RunSettings, Tuned
from benchmarks.protocol import PROTOCOL_VERSION, SHUFFLED, GeneratorId
from benchmarks.workflow.detector_plan import DetectorPlan
from benchmarks.workflow.external_plan import external_stages
from benchmarks.workflow.stage import Stage
from benchmarks.workflow.stages.attribute import Attribute
from benchmarks.workflow.stages.audit import Audit
from benchmarks.workflow.stages.encode import Encode
from benchmarks.workflow.stages.evaluate import Evaluate
from benchmarks.workflow.stages.explain import Explain
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.fit import Adopt, Fit
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.generator import GeneratorStage
from benchmarks.workflow.stages.halve import Halve, Reals
from benchmarks.workflow.stages.landmarks import FindLandmarks
from benchmarks.workflow.stages.load import Load
from benchmarks.workflow.stages.localise import Localise
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.quality import Quality, Reference
from benchmarks.workflow.stages.report import Report, report_program
from benchmarks.workflow.stages.score import Score
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.tamper import Tamper
from benchmarks.workflow.stages.train import Train
from benchmarks.workflow.stages.translate import Translate
from benchmarks.workflow.stages.tune import Tune
from benchmarks.workflow.training_stage import train_stage
from benchmarks.zoo.members import WEIGHTS
from forge.core.compute import Compute
from forge.core.execution import execution_of

_S = TypeVar("_S", bound=Stage)

# settings of a network that keeps its random weights
_UNTRAINED = {"max_images": 2, "batch": 2, "learning_rate": 1e-12, "min_learning_rate": 0.0, "weight_decay": 0.0}


def plan(
    settings: RunSettings,
    *,
    source_fingerprint: str,
    external_fingerprints: Mapping[str, tuple[str | None, str | None]] | None = None,
    forged_files: Mapping[str, ForgedPrint] | None = None,
    compute: Compute | None = None,
) -> list[Stage]:
    """List the stages of a run, each after what it needs and each once.

    Args:
        settings: of the run.
        source_fingerprint: digest of the source's contents.
        external_fingerprints: of the real and the forged photos of each external test; None: it has none of a class.
        forged_files: of the folder of each generator whose forgeries are files.
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
        external=external_stages(settings, external_fingerprints or {}),
        compute=compute or Compute(),
        files=forged_files or {},
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
    maps = tuple(_unique(stage for stage in detectors if isinstance(stage, Localise)))
    fits = _unique(stage for stage in detectors if isinstance(stage, Fit | Adopt))
    fits = [
        stage for stage in fits if isinstance(stage, Adopt) or not stage.surrogate
    ]  # an attacker's own are not shown
    # One evaluation over all repetitions: the variance between seeds needs them together.
    evaluate = Evaluate(
        seed=settings.seed,
        protocol=PROTOCOL_VERSION,
        families=families_of(settings.generators),
        metrics=settings.metrics,
        metric_files=settings.metric_files,
        scores=tuple(scores),
        maps=maps,
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
        fits=tuple(fits),
        scores=tuple(scores),
        explanations=tuple(_unique(stage for stage in detectors if isinstance(stage, Explain))),
        external=sides,
        maps=maps,
        attributions=tuple(stage for stage in detectors if isinstance(stage, Attribute)),
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


class ForgedPrint(NamedTuple):
    """What a plan depends on of forgeries that are files.

    Attributes:
        fingerprint: digest of their contents.
        names_people: whether any is of a known person or clip.
    """

    fingerprint: str
    names_people: bool


@dataclass(frozen=True)
class _Shared:
    """Stages and settings that the repetitions of a run share.

    Attributes:
        prepare: real faces, as generators learn from them.
        real: the same for all else: halved where forgeries are made from real faces.
        reference: quality of held-out real faces.
        external: name of an external pair in cells -> its real and its forged side.
        compute: precision and threads.
        files: generator whose forgeries are files -> what the plan depends on of them.
    """

    prepare: Prepare
    real: Reals
    reference: Reference
    external: Mapping[str, tuple[External, ...]]
    compute: Compute
    files: Mapping[str, ForgedPrint]


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
        forged: dict[str, Forger] = {}
        for name, each in settings.generators.items():  # those of a race after what they go on from
            forged[name] = _forger(settings, name, each, shared, forged)
        snapshots = _snapshots(settings, forged)
        quality = [
            Quality(measured_by=measured_by, data=shared.real, forged=stage, reference=shared.reference)
            for stage, measured_by in [
                *((stage, _quality(settings, settings.generators[name])) for name, stage in forged.items()),
                *((stage, _quality(settings)) for stage in snapshots.values()),
            ]
        ]
        detectors = DetectorPlan(
            settings, shared.real, shared.prepare, shared.external, shared.compute, forged, snapshots
        ).stages()
        return cls(forged, snapshots, quality, detectors)

    def makers(self) -> Iterator[Stage]:
        """Yield trainings and forgeries."""
        # A snapshot's Synthesize names the same Train as its generator; `_unique` drops the second one.
        for stage in (*self.forged.values(), *self.snapshots.values()):
            if isinstance(stage, Trained):
                if isinstance(stage.generator, Tune) and stage.generator.detector is not None:
                    yield stage.generator.detector
                yield stage.generator
            elif isinstance(stage, Tamper):
                yield from stage.prerequisites
            yield stage


def _forger(
    settings: RunSettings, name: str, generator: GeneratorSettings, shared: _Shared, before: Mapping[str, Forger]
) -> Forger:
    """Return the stage that makes a generator's forgeries; `before` are those of the generators before it."""
    counts = settings.images.model_dump(mode="json")
    # "repeated" is for names alone and in no key
    common: dict[str, Any] = {"seed": settings.seed, "repeated": len(settings.seeds) > 1}
    values = generator.model_dump(mode="json")
    if generator.path:
        files, data = shared.files[name], settings.data
        return Gather(
            **common,
            forger=name,
            resolution=data.resolution,
            crop=data.crop,
            dedupe=data.dedupe,
            counts=counts,
            fingerprint=files.fingerprint,
            data=shared.prepare if files.names_people else None,
            masked=generator.masks,
        )
    if generator.tampers:
        every = generator.searches == "all"
        found = FindLandmarks(**common, data=shared.real, counts=counts, every=every)
        encoder = _encoder(settings, generator, shared)
        return Tamper(
            **common,
            forger=name,
            generator=generator.architecture,
            edits=values["network"],
            files=generator.files,
            counts=counts,
            data=shared.real,
            landmarks=found if generator.searches != "none" else None,
            inverted=None if encoder is None else encoder.generator,
            encoder=encoder,
        )
    train: GeneratorStage
    if generator.zoo:
        train = Load(
            generator=name,
            architecture=generator.architecture,
            network=values["network"],
            weights_sha256=generator.files[WEIGHTS],
        )
    else:
        # trained once: with the first seed, in every repetition
        seed = settings.seed if generator.repeated else (settings.seeds or (settings.seed,))[0]
        seeded = settings.model_copy(update={"seed": seed})
        begun = train_stage(seeded, base_name(name), generator, shared.prepare, shared.compute)
        train = _tuning(settings, generator.tuned, begun, shared, before) if generator.tuned else begun
    if generator.translates:
        made = {key: values[key] for key in ("weights", "snapshot", "direction")}
        return Translate(**common, forger=name, generator=train, counts=counts, data=shared.real, **made)
    # how forgeries are drawn is no reason to train again
    drawn = {key: values[key] for key in ("mix", "truncation", "weights", "snapshot")}
    return Synthesize(**common, forger=name, generator=train, counts=counts, **drawn)


def _tuning(settings: RunSettings, tuned: Tuned, train: Train, shared: _Shared, before: Mapping[str, Forger]) -> Tune:
    """Return the stage that trains a generator on, against a detector that was fitted on the rounds before it."""
    base = before[tuned.base]
    assert isinstance(base, Trained) and isinstance(base.generator, Train)  # validation refuses what is not trained
    detector = None
    if tuned.detector:
        name = settings.race.detector
        plan = DetectorPlan(settings, shared.real, shared.prepare, shared.external, shared.compute, before, {})
        training = train_set_of_round(settings, tuned.round - 1)
        detector = plan.fit_of(name, training)
        if tuned.detector == Tuned.RANDOM and "max_images" in detector.request.settings:
            values = detector.request.settings | _UNTRAINED
            detector = replace(detector, request=detector.request.model_copy(update={"settings": values}))
        elif tuned.detector == Tuned.RANDOM:  # no network: fitted on random labels it knows nothing either
            detector = plan.fit_of(name, replace(training, variant=SHUFFLED))
    values = {each.name: getattr(train, each.name) for each in fields(Train)}
    # networks do not grow again
    values["network"] = {**train.network, **({"growth": None} if "growth" in train.network else {})}
    against = tuned.detector if tuned.detector in ("", Tuned.RANDOM) else settings.race.detector
    return Tune(
        **values,
        base=base.generator,
        detector=detector,
        weight=tuned.weight,
        round=tuned.round,
        against=against,
    )


def _encoder(settings: RunSettings, generator: GeneratorSettings, shared: _Shared) -> Encode | None:
    """Return the stage that trains the encoder of the generator that an edit inverts; None: it inverts none."""
    inverted = generator.inverts
    if inverted is None:
        return None
    numerics = shared.compute.numerics(execution_of("generators", inverted.architecture))
    return Encode(
        seed=settings.seed,
        repeated=len(settings.seeds) > 1,
        generator=train_stage(settings, inverted.architecture, inverted, shared.prepare, shared.compute),
        encoder=generator.model_dump(mode="json")["network"]["encoder"],
        numerics={**numerics, "precision": "fp32"},
        data=shared.prepare,
    )


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
