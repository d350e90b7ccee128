"""Faces, generators, detectors and stages of a run, as results.json describes them."""

from __future__ import annotations

import re
from operator import not_
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from benchmarks.evaluation.record import Record
from forge.training.monitor.health import present_state

Design = Literal["in place", "balanced", "unbalanced"]


class QualityRow(Record):
    """One metric of a generator's forgeries."""

    metric: str
    value: float | None
    floor: float | None = Field(description="what held-out reals get against the same reference with the same n")
    better: str = Field(description="lower, higher, as the floor, or neither")
    n: int = Field(description="images a side, or images looked at")
    reference: str = Field("", description="what the floor is of, where not of held-out reals, e.g. grey photo")


class UsefulnessRow(Record):
    """Label classifiers trained with and without a generator's forgeries, tested on held-out reals; see docs."""

    column: str = Field(description="label column of the real faces, e.g. gender")
    design: Design = Field(
        description="forgeries in place of real images, added to a balanced set, or to the rare label of one"
    )
    reals: int = Field(description="real training images, of the classifier that has any")
    forgeries: int = Field(description="forged training images, of the classifier that has any")
    without: float = Field(description="balanced accuracy of the classifier without forgeries, mean over seeds")
    augmented: float = Field(description="of the one with forgeries")
    difference: float = Field(description="mean over paired seeds of the classifiers")
    low: float = Field(description="lower end of its 95 % interval over these seeds")
    high: float
    seeds: int
    labels: int = Field(description="how many there are; 1 / labels is chance")
    rare: str = Field(description="the label that is rare in an unbalanced set")
    n_test: int = Field(description="held-out reals that all classifiers are tested on")


class FileFacts(Record):
    """Forgeries that are files."""

    recognised: str = Field(description="as what the folder was read")
    splits: dict[str, int]
    rejected: dict[str, int] = Field({}, description="reason -> number of files that were not used")
    digest: str


class ZooFacts(Record):
    """Origin of a generator that was taken from the zoo."""

    architecture: str
    data: str = Field(description="name of the real set that it was trained on")
    digest: str = Field(description="of this set")
    same_faces: bool | None = Field(description="it is the set of this run, of which it saw split forge; null: unknown")
    command: str = Field(description="that trains it again")


class GeneratorFacts(Record):
    """One generator of the run."""

    name: str
    seed: int = Field(0, description="of the run")
    trained: bool = Field(True, description="false: its forgeries are made from real faces, without training")
    files: FileFacts | None = Field(None, description="of forgeries that are files; null: it made them")
    zoo: ZooFacts | None = Field(None, exclude_if=not_, description="of published weights; absent: it was trained here")
    masks: bool = Field(False, description="its forgeries have masks of where they were altered")
    from_faces: bool = Field(False, description="its forgeries are made from real faces: translated, or altered")
    base: str = Field("", description="generator that it goes on from, of one of an arms race")
    round: int = Field(0, description="of an arms race; 0: before the first")
    against: str | None = Field(
        None, description="detector that it was trained on against; empty: none, a control; null: no arms race"
    )
    kimg: float = Field(description="thousands of real images shown in training")
    parameters: dict[str, int] = Field(description="learned values of generator and discriminator")
    precision: str = Field(description="fp32 or bf16, of the training")
    seconds: float = Field(description="wall time of the training")
    log: list[dict[str, float]] = Field(description="training curve: kimg, seconds, d_loss, g_loss, d_accuracy, r1")
    health: list[dict[str, Any]] = Field(
        [], description="ticks of the health monitor: kimg, state, reason, readings, action"
    )
    condition: dict[str, Any] | None = Field(None, description="label columns it was told: values and shares")
    domains: dict[str, tuple[str, str]] | None = Field(
        None, description="of a translator between domains: label column -> its value before and after"
    )
    weights_sha256: str
    quality: list[QualityRow] = Field(
        [], description="how good its forgeries are, beside the floor; see docs/manual/forge.md"
    )
    quality_missing: str = Field("", description="why quality could not be measured")
    usefulness: list[UsefulnessRow] = Field([], description="its forgeries as training images; empty: not measured")
    extractor: str = Field("", description="name and digest of the feature space of the quality metrics")
    spectrum: dict[str, list[float]] = Field({}, description="azimuthal log10 power: frequencies, candidate, reference")
    face_rate: float | None = Field(None, description="share of forged images in which MTCNN finds a face, p >= .9")

    @field_validator("health")
    @classmethod
    def _present_states(cls, ticks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replace names of states that earlier versions stored."""
        return [tick | {"state": present_state(tick["state"])} if "state" in tick else tick for tick in ticks]


class SnapshotFacts(Record):
    """A snapshot of a generator's training whose forgeries were tested; its cells have the condition snapshots."""

    name: str = Field(description='as in the cells, e.g. "dcgan@24k"')
    generator: str
    kimg: float = Field(description="thousands of real images shown by then")
    seed: int = Field(description="of the run")
    quality: list[QualityRow] = Field(description="how good its forgeries are, as of a generator; empty: not measured")


class ExternalFacts(Record):
    """One side of an external pair of folders."""

    name: str = Field(description='as in the cells, e.g. "external:mine"')
    kind: str = Field(description="real or forged")
    images: int = Field(description="that were used")
    groups: int | None = Field(None, description="people and clips: near-equal images count once; null: not counted")
    rejected: dict[str, int] = Field(description="files not used, by reason")
    left_out: list[str] = Field([], exclude_if=not_, description="the first files that were not used, by name")
    digest: str = Field(description="of pixels and rows")
    untouched: int | None = Field(None, description="masks without an altered pixel; null: it has no masks")
    altered_whole: int | None = Field(None, description="masks without an untouched pixel")


class DetectorFacts(Record):
    """One fitted detector of the run."""

    name: str
    trained_on: str
    seed: int = Field(0, description="of the run")
    family: str
    citation: str
    variant: str = Field(description="where it departs from the paper")
    parameters: int = Field(description="learned values")
    calibration: dict[str, float] = Field(description="probability = sigmoid(a * score + b), fitted on val")
    images_per_second: float | None = Field(description="scoring speed, end to end, on the recorded device")
    peak_memory_mb: float | None = Field(description="highest resident memory of the process while scoring")
    seconds: float = Field(description="wall time of the fit")
    facts: dict[str, Any] = Field(description="what the fit reports of itself")
    history: list[dict[str, float]] = Field(description="one mapping a validation")
    seen: dict[str, str] = Field(
        {}, exclude_if=lambda tests: not tests, description="external test sets that it was trained on -> why"
    )


class StageFacts(Record):
    """One stage of the run, from its manifest."""

    name: str = Field(description='e.g. "fit dct@dcgan #1"')
    action: str = Field("", description='e.g. "fit"; of an earlier version read from the name, as label and seed are')
    label: str = Field("", description='what was worked on, without the seed, e.g. "dct@dcgan"')
    seed: int | None = Field(None, description="of everything random in it; null: not known")
    about: str = Field("", description="generator or detector that decides how long it takes")
    key: str = Field(description="digest of everything that was asked for")
    seconds: float = Field(description="wall time when it ran")
    peak_memory_mb: float | None

    @model_validator(mode="before")
    @classmethod
    def _read_name(cls, values: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Derive the fields that earlier versions stored in the name only."""
        if not isinstance(values, dict) or values.get("action") or not isinstance(values.get("name"), str):
            return values
        action, _, subject = values["name"].partition(" ")
        tag = re.search(r" #(\d+)", subject)
        label = subject.replace(tag[0], "", 1) if tag else subject
        about = re.split("[@ ]", label)[0]
        seed = int(tag[1]) if tag else None
        return values | {"action": action, "label": label, "seed": seed, "about": about}


class DataFacts(Record):
    """The real faces of the run."""

    name: str
    digest: str = Field(description="of pixels and rows")
    licence: str
    citation: str
    resolution: int
    splits: dict[str, int] = Field(description="images a split")
    rejected: dict[str, int] = Field(description="files not used, by reason")
    provenance: dict[str, Any]
    shown: bool = Field(description="whether these faces may be shown in a report (rendered ones, or --show-real)")
