"""From settings to stages: what has to be computed, from what, and the key each result is stored under."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from benchmarks.pipeline.program import program_digest
from benchmarks.pipeline.settings import RunSettings, base_name
from forge.files import digest_json

# raised when the code of a stage changes what it computes from the same settings
VERSIONS = {
    "prepare": 1,
    "train": 2,
    "synthesize": 2,
    "floor": 1,
    "quality": 1,
    "fit": 1,
    "score": 1,
    "evaluate": 1,
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
        asked = generator.model_dump(mode="json")
        drawn = {
            key: asked.pop(key) for key in ("mix", "truncation", "weights", "snapshot")
        }  # no reason to train again
        train = Stage("train", base_name(name), asked, seed, {"data": prepare})
        counts = settings.images.model_dump(mode="json")
        forged[name] = Stage("synthesize", name, {"counts": counts, **drawn}, seed, {"generator": train})
        stages += [train] if all(train.key != before.key for before in stages) else []
        stages.append(forged[name])
    most = sum(settings.images.model_dump().values())  # forged images there are
    asked = settings.quality.model_dump(mode="json") | {"n": min(settings.quality.n, most)}
    floor = Stage("floor", data.source_name, asked, 0, {"data": prepare})
    quality = {
        name: Stage("quality", name, asked, 0, {"data": prepare, "forged": stage, "floor": floor})
        for name, stage in forged.items()
    }
    stages += [floor, *quality.values()]
    scores: dict[str, Stage] = {}
    for detector_name, detector in settings.detectors.items():
        for trained_on, training_set in forged.items():
            label = f"{detector_name}@{trained_on}"
            wanted = detector.model_dump(mode="json") | {"images": settings.images.model_dump(mode="json")}
            fit = Stage("fit", label, wanted, seed, {"real": prepare, "forged": training_set})
            stages.append(fit)
            for tested, test_set in {"real": prepare, **forged}.items():
                score = Stage(
                    "score",
                    f"{label} on {tested}",
                    {"images": settings.images.model_dump(mode="json")},
                    seed,
                    {"detector": fit, "faces": test_set},
                )
                scores[f"{label} on {tested}"] = score
                stages.append(score)
    evaluate = Stage("evaluate", "", {"protocol": 1}, seed, scores)
    inputs = {"data": prepare, "evaluation": evaluate}
    inputs |= {f"train {name}": stage.inputs["generator"] for name, stage in forged.items()}
    inputs |= {f"forged {name}": stage for name, stage in forged.items()}
    inputs |= {"floor": floor} | {stage.name: stage for stage in quality.values()}
    inputs |= {stage.name: stage for stage in stages if stage.kind in ("fit", "score")}
    shown: dict[str, Any] = {"name": settings.name, "command": settings.command, "show_real": settings.show_real}
    shown["program"] = program_digest("benchmarks/report", "benchmarks/measures")  # a page is cheap: never an old one
    report = Stage("report", "", shown | {"preset": settings.preset}, seed, inputs)
    return [*stages, evaluate, report]
