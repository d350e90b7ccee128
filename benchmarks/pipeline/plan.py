"""From settings to stages: what has to be computed, from what, and the key each result is stored under."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from benchmarks.pipeline.compose import base_name
from benchmarks.pipeline.exams import Exam, exams, moments
from benchmarks.pipeline.program import program_digest
from benchmarks.pipeline.settings import GeneratorSettings, RunSettings
from benchmarks.protocol import CLEAN, EXTERNAL_PREFIX, PROTOCOL_VERSION, FitId, GeneratorId, TrainSet
from forge.compute import Compute
from forge.execution import execution_of
from forge.files import digest_json

# raised when the code of a stage changes what it computes from the same settings
VERSIONS = {
    "prepare": 1,
    "train": 4,
    "synthesize": 2,
    "blend": 1,
    "external": 3,
    "perturb": 1,
    "floor": 1,
    "quality": 1,
    "fit": 3,
    "score": 2,
    "explain": 2,
    "audit": 3,
    "evaluate": 9,
    "report": 3,
}


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        kind: what is done; names the function in stages.py.
        subject: to what, e.g. "dcgan".
        settings: everything the step reads, as JSON values.
        seed: everything random in it follows from this.
        inputs: the steps whose results it reads, by the name it knows them under.
    """

    kind: str
    subject: str
    settings: dict[str, Any]
    seed: int
    inputs: dict[str, Stage] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people see."""
        return f"{self.kind} {self.subject}".strip()

    @property
    def plain(self) -> str:
        """The subject without the seed that a repeated run adds to it."""
        return plain(self.subject)

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the result; device and engine are not part of it."""
        return digest_json(
            {
                "kind": self.kind,
                "version": VERSIONS[self.kind],
                "settings": self.settings,
                "seed": self.seed,
                "inputs": {name: stage.key for name, stage in self.inputs.items()},
            }
        )


def tag(seed: int) -> str:
    """What a run that is repeated with several seeds adds to the names of its stages."""
    return f" #{seed}"


def plain(name: str) -> str:
    """A name without such a tag."""
    return re.sub(r" #\d+", "", name)


def seed_of(name: str) -> int | None:
    """The seed in a name's tag."""
    found = re.search(r" #(\d+)", name)
    return int(found[1]) if found else None


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
    asked = data.model_dump(mode="json", exclude={"source", "options", "seed"})  # the fingerprint stands for the source
    prepare = Stage("prepare", data.source_name, {**asked, "fingerprint": source_fingerprint}, data.seed)
    floor = Stage("floor", data.source_name, _quality(settings), 0, {"data": prepare})
    elsewhere = _elsewhere(settings, external_fingerprints or {})
    compute = compute or Compute()
    parts = [
        _Part.of(settings, seed, prepare, floor, elsewhere, compute) for seed in settings.seeds or (settings.seed,)
    ]
    stages = [prepare, *(stage for pair in elsewhere.values() for stage in pair)]
    for part in parts:  # all generators first: what they learned can be looked at while detectors are fitted
        stages += part.makers
    stages += [floor]
    for part in parts:
        stages += [*part.quality.values(), *part.detectors]
    forged = [one for part in parts for one in part.forged.values()]
    seen = {f"forged {one.subject}": one for one in forged}
    trained = {f"train {one.subject}": one.inputs["generator"] for one in forged if _was_trained(one)}
    pairs = {stage.name: stage for pair in elsewhere.values() for stage in pair}
    audit = Stage("audit", data.source_name, {}, 0, {"data": prepare, **trained, **seen, **pairs})
    stages.append(audit)
    scores = {stage.subject: stage for part in parts for stage in part.detectors if stage.kind == "score"}
    measured = {"metrics": list(settings.metrics), "files": settings.metric_files} if settings.metrics else {}
    evaluate = Stage("evaluate", "", {"protocol": PROTOCOL_VERSION, **measured}, settings.seed, scores)
    inputs = {"data": prepare, "evaluation": evaluate, "floor": floor, "audit": audit, **trained, **seen}
    inputs |= pairs | {f"moment {one.subject}": one for part in parts for one in part.moments.values()}
    inputs |= {stage.name: stage for stage in stages if stage.kind in ("quality", "fit", "score", "explain")}
    shown: dict[str, Any] = {"name": settings.name, "command": settings.command, "show_real": settings.show_real}
    shown |= {"seeds": list(settings.seeds), "missing": {}}
    # a page is cheap, so that no page of an earlier program is shown
    shown["program"] = program_digest("benchmarks/report", "benchmarks/measures", "benchmarks/tables")
    if settings.sections:
        shown |= {"sections": list(settings.sections), "section_files": settings.section_files}
    report = Stage("report", "", shown | {"preset": settings.preset}, settings.seed, inputs)
    return list({stage.key: stage for stage in [*stages, evaluate, report]}.values())


def without(stage: Stage, there: Container[str], why: Mapping[str, str]) -> Stage:
    """The evaluation or the report of what is there, where stages failed; asked for again it is another result.

    Args:
        stage: the whole one.
        there: keys of the results there are.
        why: the stages that failed and their errors.
    """
    inputs = {name: one for name, one in stage.inputs.items() if one.key in there}
    if stage.kind == "evaluate":  # a detector without its val scores has no threshold
        lacking = [one for name, one in stage.inputs.items() if name not in inputs]
        partial = {
            one.inputs["detector"].key
            for one in lacking
            if any(part["split"] == "val" for part in one.settings["asked"])
        }
        inputs = {name: one for name, one in inputs.items() if one.inputs["detector"].key not in partial}
        return replace(stage, inputs=inputs)
    lost = {name.partition(" ")[2] for name in stage.inputs if name.startswith("forged ") and name not in inputs}
    inputs = {name: one for name, one in inputs.items() if name.partition(" ")[2] not in lost}
    return replace(stage, inputs=inputs, settings=stage.settings | {"missing": dict(why)})


def _elsewhere(settings: RunSettings, fingerprints: Mapping[str, tuple[str, str]]) -> dict[str, tuple[Stage, Stage]]:
    """The stages that prepare the real and the forged photos of each external pair, all for the test."""
    found = {}
    for name, prints in fingerprints.items():
        label = f"{EXTERNAL_PREFIX}{name}"
        asked = settings.data.model_dump(mode="json", include={"resolution", "crop"})
        asked |= {"name": label, "count": max(settings.images.test, 20)}  # a set has 20 images at least
        real, forged = (
            Stage("external", f"{name} {side}", asked | {"kind": side, "fingerprint": text}, 0)
            for side, text in zip(("real", "forged"), prints, strict=True)
        )
        found[label] = (real, forged)
    return found


def _quality(settings: RunSettings) -> dict[str, Any]:
    most = sum(settings.images.model_dump().values())  # forged images there are
    asked = settings.quality.model_dump(mode="json", exclude_defaults=not settings.quality.metrics)
    return {"n": 0, "face_n": settings.quality.face_n} | asked | {"n": min(settings.quality.n, most)}


@dataclass(frozen=True)
class _Part:
    """The stages of one seed.

    Attributes:
        forged: the stage that gives each generator's forgeries.
        moments: the stage that gives those of each snapshot that is only tested.
        makers: the stages that lead there.
        quality: of each generator's forgeries.
        detectors: fits, explanations, scores.
    """

    forged: dict[str, Stage]
    moments: dict[str, Stage]
    makers: list[Stage]
    quality: dict[str, Stage]
    detectors: list[Stage]

    @classmethod
    def of(
        cls,
        settings: RunSettings,
        seed: int,
        prepare: Stage,
        floor: Stage,
        elsewhere: Mapping[str, tuple[Stage, Stage]],
        compute: Compute,
    ) -> _Part:
        mark = tag(seed) if len(settings.seeds) > 1 else ""
        settings = settings.model_copy(update={"seed": seed})
        forged: dict[str, Stage] = {}
        makers: list[Stage] = []
        for name, generator in settings.generators.items():
            made = _forgeries(settings, name, generator, prepare, mark, compute)
            forged[name] = made[-1]
            makers += made
        earlier = _moments(settings, forged, mark)
        quality = {
            name: Stage(
                "quality", f"{name}{mark}", _quality(settings), 0, {"data": prepare, "forged": stage, "floor": floor}
            )
            for name, stage in (forged | earlier).items()
        }
        tests = _Tests(prepare, forged, earlier, elsewhere, compute)
        return cls(forged, earlier, [*makers, *earlier.values()], quality, _detectors(settings, tests, mark))


@dataclass(frozen=True)
class _Tests:
    """The stages that give the faces of one seed.

    Attributes:
        prepare: real ones.
        forged: each generator's.
        moments: of snapshots that are only tested.
        elsewhere: real and forged ones of external pairs.
        compute: precision and threads of the fits.
    """

    prepare: Stage
    forged: Mapping[str, Stage]
    moments: Mapping[str, Stage]
    elsewhere: Mapping[str, tuple[Stage, Stage]]
    compute: Compute


def _moments(settings: RunSettings, forged: Mapping[str, Stage], mark: str) -> dict[str, Stage]:
    """The stages that give the test forgeries of snapshots, of the same latents as those of the end."""
    found = {}
    count = max(settings.images.test, settings.quality.n)  # as many as their quality is measured on
    for name in settings.conditions.snapshots:
        for label in moments(settings, name):
            asked = forged[name].settings | {"counts": {"test": count}, "snapshot": GeneratorId.parse(label).kimg}
            found[label] = replace(forged[name], subject=f"{label}{mark}", settings=asked)
    return found


def _detectors(settings: RunSettings, tests: _Tests, mark: str) -> list[Stage]:
    """Every detector of one seed: fitted on what the conditions ask for, explained, scored."""
    fits: dict[str, Stage] = {}
    stages: list[Stage] = []
    forged = tests.forged
    pictured = settings.seed == (settings.seeds or (settings.seed,))[0]  # reports show one seed's pictures
    for detector in settings.detectors:
        for exam in exams(settings, detector):
            fit = _fit(settings, detector, exam.training, tests, fits, mark)
            if fit is None:
                continue
            fits[str(FitId(detector, exam.training))] = fit
            stages += [stage for stage in fit.inputs.values() if stage.kind == "perturb"]
            stages.append(fit)
            if pictured and not exam.training.variant:
                seen = {f"forged {name}": forged[name] for name in exam.training.generators if name in forged}
                stages.append(Stage("explain", fit.subject, {}, 0, {"detector": fit, **seen}))
            stages += _scores(settings, exam, fit, tests)
    return stages


def _was_trained(forged: Stage) -> bool:
    return "generator" in forged.inputs


def _forgeries(
    settings: RunSettings, name: str, generator: GeneratorSettings, prepare: Stage, mark: str, compute: Compute
) -> list[Stage]:
    """The stages that make a generator's forgeries; the last one gives the set."""
    asked = generator.model_dump(mode="json", exclude={"blends"})
    counts = settings.images.model_dump(mode="json")
    if generator.blends:
        blend = {"counts": counts, "settings": asked["network"], "generator": asked["architecture"]}
        return [Stage("blend", f"{name}{mark}", blend, settings.seed, {"data": prepare})]
    # how forgeries are drawn is no reason to train again
    drawn = {key: asked.pop(key) for key in ("mix", "truncation", "weights", "snapshot")}
    asked["numerics"] = compute.numerics(execution_of("generators", generator.architecture))
    train = Stage("train", f"{base_name(name)}{mark}", asked, settings.seed, {"data": prepare})
    return [
        train,
        Stage("synthesize", f"{name}{mark}", {"counts": counts, **drawn}, settings.seed, {"generator": train}),
    ]


def _fit(
    settings: RunSettings,
    name: str,
    training: TrainSet,
    tests: _Tests,
    fits: Mapping[str, Stage],
    mark: str,
) -> Stage | None:
    """The stage that gives a fitted detector; None: it cannot be fitted, for want of a discriminator or a member."""
    detector = settings.detectors[name]
    label = f"{FitId(name, training)}{mark}"
    if detector.trained_on and detector.needs != "nothing":
        adopted = {"name": name, "files": detector.files, "resolution": settings.data.resolution}
        return Stage("fit", label, {"adopted": detector.detector, **adopted}, settings.seed)
    wanted = detector.model_dump(mode="json", exclude={"needs", "trained_on"})
    wanted["images"] = settings.images.model_dump(mode="json")
    wanted["trained_on"] = str(training)
    wanted["numerics"] = tests.compute.numerics(execution_of("detectors", detector.detector))
    forged = tests.forged
    learned = () if detector.needs == "nothing" else training.generators
    inputs = {"real": tests.prepare} | {f"forged {one}": forged[one] for one in learned}
    if training.perturbation != CLEAN:
        inputs = {role: _perturbed(faces, training.perturbation) for role, faces in inputs.items()}
    if detector.needs in ("discriminator", "snapshots"):
        judge = detector.adversary or _strongest(settings, training)
        if judge is None:
            return None
        inputs["adversary"] = forged[judge].inputs["generator"]
        wanted["snapshot"] = forged[judge].settings["snapshot"]
    if detector.needs == "members":
        members = {one: str(FitId(one, training)) for one in detector.detector.removeprefix("mean:").split("+")}
        if any(member not in fits for member in members.values()):
            return None
        inputs |= {f"member {one}": fits[member] for one, member in members.items()}
    return Stage("fit", label, wanted, settings.seed, inputs)


def _perturbed(faces: Stage, perturbation: str) -> Stage:
    """The stage that gives the images that detectors are fitted on, all perturbed."""
    asked = {"perturbation": perturbation, "splits": ["train", "val"]}
    return Stage("perturb", f"{faces.subject} {perturbation}", asked, 0, {"faces": faces})


def _strongest(settings: RunSettings, training: TrainSet) -> str | None:
    """The generator of a training whose discriminator is used unless one is named: the last one listed in the run.

    Blended forgeries have none. A left-out generator's discriminator would have seen what the test must not show.
    """
    trained = [name for name, one in settings.generators.items() if name in training.generators and not one.blends]
    return trained[-1] if trained else None


def _scores(settings: RunSettings, exam: Exam, fit: Stage, tests: _Tests) -> Iterator[Stage]:
    """Scores of `val`, for the threshold, of what it was trained on; and of `test`, of what it is tested on."""
    counts = settings.images.model_dump(mode="json")
    foreign = not set(exam.training.generators) & set(tests.forged)
    for name, faces in {"real": tests.prepare, **tests.forged, **tests.moments}.items():
        asked = []
        if name in ("real", *exam.training.generators) or (foreign and name not in tests.moments):
            asked.append({"split": "val", "count": counts["val"], "perturbation": exam.training.perturbation})
        if name in ("real", *exam.tests):
            changes = (CLEAN,) if name in tests.moments else exam.perturbations
            asked += [{"split": "test", "count": counts["test"], "perturbation": one} for one in changes]
        if asked:
            inputs = {"detector": fit, "faces": faces}
            yield Stage("score", f"{fit.subject} on {name}", {"asked": asked}, settings.seed, inputs)
    for name, pair in tests.elsewhere.items():
        asked = [{"split": "test", "count": counts["test"], "perturbation": CLEAN}]
        for faces in pair if name in exam.tests else ():
            inputs = {"detector": fit, "faces": faces}
            subject = f"{fit.subject} on {EXTERNAL_PREFIX}{faces.subject}"
            yield Stage("score", subject, {"asked": asked}, settings.seed, inputs)
