"""From settings to stages: what has to be computed, from what, and the key each result is stored under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from benchmarks.pipeline.program import program_digest
from benchmarks.pipeline.settings import GeneratorSettings, RunSettings, base_name
from forge.files import digest_json

# raised when the code of a stage changes what it computes from the same settings
VERSIONS = {
    "prepare": 1,
    "train": 2,
    "synthesize": 2,
    "blend": 1,
    "floor": 1,
    "quality": 1,
    "fit": 1,
    "score": 1,
    "explain": 1,
    "evaluate": 2,
    "report": 1,
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

    @cached_property
    def key(self) -> str:
        """Digest of everything asked for; device, precision and engine are not part of it."""
        return digest_json(
            {
                "kind": self.kind,
                "version": VERSIONS[self.kind],
                "settings": self.settings,
                "seed": self.seed,
                "inputs": {name: stage.key for name, stage in self.inputs.items()},
            }
        )


def plan(settings: RunSettings, *, source_fingerprint: str) -> list[Stage]:
    """List the stages of a run, each after what it needs.

    Args:
        settings: of the run.
        source_fingerprint: digest of the source's contents.

    Returns:
        The stages; the last one is the report.
    """
    seed = settings.seed
    data = settings.data
    asked = data.model_dump(mode="json", exclude={"source", "options", "seed"})  # the fingerprint stands for the source
    prepare = Stage("prepare", data.source_name, {**asked, "fingerprint": source_fingerprint}, data.seed)
    forged: dict[str, Stage] = {}
    stages = [prepare]
    for name, generator in settings.generators.items():
        made = _forgeries(settings, name, generator, prepare)
        forged[name] = made[-1]
        known = {stage.key for stage in stages}
        stages += [stage for stage in made if stage.key not in known]
    most = sum(settings.images.model_dump().values())  # forged images there are
    asked = settings.quality.model_dump(mode="json") | {"n": min(settings.quality.n, most)}
    floor = Stage("floor", data.source_name, asked, 0, {"data": prepare})
    quality = {
        name: Stage("quality", name, asked, 0, {"data": prepare, "forged": stage, "floor": floor})
        for name, stage in forged.items()
    }
    stages += [floor, *quality.values()]
    scores: dict[str, Stage] = {}
    fits: dict[str, Stage] = {}
    explained: dict[str, Stage] = {}
    for detector_name, detector in settings.detectors.items():
        for trained_on in [detector.trained_on] if detector.trained_on else forged:
            label = f"{detector_name}@{trained_on}"
            fit = fits[label] = _fit(settings, detector_name, trained_on, prepare, forged, fits)
            seen = {f"forged {name}": stage for name, stage in forged.items()}
            explained[label] = Stage("explain", label, {}, 0, {"detector": fit, **seen})
            stages += [fit, explained[label]]
            asked = {"images": settings.images.model_dump(mode="json")}
            for tested, test_set in {"real": prepare, **forged}.items():
                score = Stage("score", f"{label} on {tested}", asked, seed, {"detector": fit, "faces": test_set})
                scores[score.subject] = score
                stages.append(score)
    evaluate = Stage("evaluate", "", {"protocol": 1}, seed, scores)
    inputs = {"data": prepare, "evaluation": evaluate, "floor": floor}
    inputs |= {f"train {name}": stage.inputs["generator"] for name, stage in forged.items() if _was_trained(stage)}
    inputs |= {f"forged {name}": stage for name, stage in forged.items()}
    inputs |= {stage.name: stage for stage in stages if stage.kind in ("quality", "fit", "score", "explain")}
    shown: dict[str, Any] = {"name": settings.name, "command": settings.command, "show_real": settings.show_real}
    shown["program"] = program_digest("benchmarks/report", "benchmarks/measures")  # a page is cheap: never an old one
    report = Stage("report", "", shown | {"preset": settings.preset}, seed, inputs)
    return [*stages, evaluate, report]


def _was_trained(forged: Stage) -> bool:
    return "generator" in forged.inputs


def _forgeries(settings: RunSettings, name: str, generator: GeneratorSettings, prepare: Stage) -> list[Stage]:
    """The stages that make a generator's forgeries; the last one gives the set."""
    asked = generator.model_dump(mode="json", exclude={"blends"})
    counts = settings.images.model_dump(mode="json")
    if generator.blends:
        blend = {"counts": counts, "settings": asked["network"], "generator": asked["architecture"]}
        return [Stage("blend", name, blend, settings.seed, {"data": prepare})]
    # how forgeries are drawn is no reason to train again
    drawn = {key: asked.pop(key) for key in ("mix", "truncation", "weights", "snapshot")}
    train = Stage("train", base_name(name), asked, settings.seed, {"data": prepare})
    return [train, Stage("synthesize", name, {"counts": counts, **drawn}, settings.seed, {"generator": train})]


def _fit(
    settings: RunSettings,
    name: str,
    trained_on: str,
    prepare: Stage,
    forged: Mapping[str, Stage],
    fits: Mapping[str, Stage],
) -> Stage:
    """The stage that gives a detector trained on one generator's forgeries, or one that was trained elsewhere."""
    detector = settings.detectors[name]
    label = f"{name}@{trained_on}"
    if detector.trained_on:
        asked = {"name": name, "files": detector.files, "resolution": settings.data.resolution}
        return Stage("fit", label, {"adopted": detector.detector, **asked}, 0)
    wanted = detector.model_dump(mode="json", exclude={"needs", "trained_on"})
    wanted["images"] = settings.images.model_dump(mode="json")
    inputs = {"real": prepare, "forged": forged[trained_on]}
    if detector.needs in ("discriminator", "snapshots"):
        adversary = forged[detector.adversary or trained_on]
        inputs["adversary"] = adversary.inputs["generator"]
        wanted["snapshot"] = adversary.settings["snapshot"]
    if detector.needs == "members":
        members = detector.detector.removeprefix("mean:").split("+")
        inputs |= {f"member {member}": fits[f"{member}@{trained_on}"] for member in members}
    return Stage("fit", label, wanted, settings.seed, inputs)
