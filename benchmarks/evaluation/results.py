"""Schema of results.json and results.csv, field by field."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from operator import not_
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.evaluation.attribution_facts import Attribution
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.experiment.settings import RunRequest
from benchmarks.protocol import CLEAN, Condition, TrainSet
from forge.core.files import csv_cell
from forge.training.monitor.health import present_state

# 6: no families, no means; conditions had the words of protocol 1;
# 5: metrics were fields of cells; 4: accuracy was the share right, calibration at the set's prevalence alone;
# 3: no moments, no external; 2: cells had no perturbation; 1: comparisons named trainings
SCHEMA_VERSION = 7

Design = Literal["in place", "balanced", "unbalanced"]

CSV_COLUMNS = (  # then the metrics
    "detector", "trained_on", "tested_on", "perturbation", "condition", "seed", "n_real", "n_forged", "auc", "auc_low",
    "auc_high",
)  # fmt: skip


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestResult(_Record):
    """One detector on one test set: every number is a function of its rows in scores.parquet."""

    __test__: ClassVar = False  # pytest collects classes that are called Test
    model_config = ConfigDict(frozen=True, extra="allow")

    detector: str = Field(description="name of the detector")
    trained_on: str = Field(
        description='generators whose forgeries it was trained on, joined by "+"; see benchmarks/protocol'
    )
    tested_on: str = Field(description="generator of the test forgeries")
    perturbation: str = Field(CLEAN, description="what happened to the test images; none: they were left alone")
    condition: Condition = Field(description="relation of test to training; see benchmarks/protocol")
    seed: int = Field(description="seed of the run")
    n_real: int = Field(description="real test images")
    n_forged: int = Field(description="forged test images")
    auc: float = Field(description="area under the ROC curve, Mann-Whitney, ties one half")
    auc_low: float = Field(description="lower end of its 95 % interval")
    auc_high: float = Field(description="upper end of its 95 % interval")
    auc_method: str = Field(description="how the interval was computed: DeLong, Newcombe, bootstrap over identities")
    threshold: float = Field(description="score threshold fixed on val (best balanced accuracy there)")
    # metrics: by their ids, of those with an interval ID_low and ID_high too; None: undefined on this test set
    __pydantic_extra__: dict[str, float | None] = Field(init=False)

    def value(self, metric: str) -> float | None:
        """Return the value of a metric, or of one end of its interval; None where it is undefined or not measured."""
        return (self.__pydantic_extra__ or {}).get(metric)

    @property
    def seen(self) -> bool:
        """True where the detector was trained on other forgeries of the tested generator."""
        return self.condition.seen

    @property
    def accuracy_is_balanced(self) -> bool:
        """True where `accuracy` is balanced: not in cells of schema 4, unless the classes are equally large."""
        return self.value("brier_balanced") is not None or self.n_real == self.n_forged

    def at_equal_prevalence(self, measure: str) -> float | None:
        """Return brier, ece or log_loss at prevalence 0.5; None where an earlier version did not compute it."""
        balanced, at_own = self.value(f"{measure}_balanced"), self.value(measure)
        return at_own if balanced is None and self.n_real == self.n_forged else balanced


class Finding(_Record):
    """Result of one audit."""

    audit: str = Field(description="what was looked at")
    passed: bool | None = Field(description="null: there was nothing to pass, or it was not run")
    sentence: str = Field(description="the verdict")
    numbers: dict[str, float] = Field({}, description="what it rests on")


class GroupFact(_Record):
    """A detector on the people of one group; see groups.py."""

    detector: str
    column: str = Field(description="label column of the real faces, e.g. gender")
    group: str = Field(description="its value")
    n_real: int = Field(description="real test images of the group")
    n_forged: int = Field(description="forged test images that carry the label")
    auc: float | None = Field(description="mean AUC of the group's real faces against all forgeries")
    auc_low: float | None
    auc_high: float | None
    fpr: float | None = Field(description="share of its real faces called forged at the threshold fixed on val")
    fpr_low: float | None
    fpr_high: float | None
    tpr: float | None = Field(description="share called forged of the forgeries with its label; null: too few")
    tpr_low: float | None
    tpr_high: float | None


class Gap(_Record):
    """The pair of groups with the largest difference."""

    detector: str
    column: str
    measure: str = Field(description="AUC, FPR or TPR")
    lowest: str = Field(description="group with the lowest value")
    highest: str = Field(description="group with the highest value")
    gap: float
    low: float = Field(description="lower end of its interval, 95 % for all pairs together; above 0: there is a gap")
    high: float


class QualityRow(_Record):
    """One metric of a generator's forgeries."""

    metric: str
    value: float | None
    floor: float | None = Field(description="what held-out reals get against the same reference with the same n")
    better: str = Field(description="lower, higher, as the floor, or neither")
    n: int = Field(description="images a side, or images looked at")
    reference: str = Field("", description="what the floor is of, where not of held-out reals, e.g. grey photo")


class PixelValue(_Record):
    """A pixel measure, with its 95 % interval over people; null: undefined in every image."""

    value: float | None
    low: float | None
    high: float | None


class Localisation(_Record):
    """A detector's maps on one generator's test images, over all seeds; see `benchmarks.evaluation.localisation`."""

    detector: str
    trained_on: str
    tested_on: str
    source: str = Field(description="map, control, or saliency: the gradient of a score, of a detector without maps")
    seeds: int
    images: int = Field(description="forged images a seed")
    undefined: int = Field(description="of these, images without an altered pixel, which means leave out")
    f1: PixelValue = Field(description="mean over images, at the threshold fixed on validation images")
    iou: PixelValue
    auc: PixelValue = Field(description="mean over images of the AUC of their pixels")
    average_precision: PixelValue
    pooled_auc: PixelValue = Field(description="of all pixels together")
    pooled_average_precision: PixelValue
    false_alarm_area: PixelValue = Field(description="mean share of real images that is taken for altered")
    image_auc: float | None = Field(description="AUC of the maxima of the maps, forged and real images")


# fields of `Localisation` with an interval
PIXEL_MEASURES = tuple(name for name, info in Localisation.model_fields.items() if info.annotation is PixelValue)


class SecurityPoint(_Record):
    """A detector under one attack at one budget, over generators and seeds; see `benchmarks.evaluation.security`."""

    detector: str
    trained_on: str
    attack: str = Field(description="its name; empty: the same images before any attack")
    frames: bool = Field(description="real images were changed to pass for forged; else forgeries to pass for real")
    epsilon: float | None = Field(description="budget in grey levels, of 255; null: the attack has none")
    access: str = Field(description="what it asks of the detector: gradients, scores or nothing; empty: no attack")
    generators: int = Field(description="that the mean is over")
    auc: float = Field(description="mean over generators and seeds")
    low: float = Field(description="lower end of its 95 % interval over images and seeds")
    high: float
    tpr_at_fpr_1pct: float | None = Field(description="mean over tests; null: n too small")
    images: int = Field(description="attacked images per generator and seed; 0: no attack")
    psnr: float | None = Field(description="of the changes, dB; null: nothing was changed")
    changed: float = Field(description="share of images with a change")
    flat: float = Field(description="share of gradients that were zero everywhere")
    scored: float = Field(description="scores asked of the detector per image")


class UsefulnessRow(_Record):
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


class FileFacts(_Record):
    """Forgeries that are files."""

    recognised: str = Field(description="as what the folder was read")
    splits: dict[str, int]
    rejected: dict[str, int] = Field({}, description="reason -> number of files that were not used")
    digest: str


class GeneratorFacts(_Record):
    """One generator of the run."""

    name: str
    seed: int = Field(0, description="of the run")
    trained: bool = Field(True, description="false: its forgeries are made from real faces, without training")
    files: FileFacts | None = Field(None, description="of forgeries that are files; null: it made them")
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


class SnapshotFacts(_Record):
    """A snapshot of a generator's training whose forgeries were tested; its cells have the condition snapshots."""

    name: str = Field(description='as in the cells, e.g. "dcgan@24k"')
    generator: str
    kimg: float = Field(description="thousands of real images shown by then")
    seed: int = Field(description="of the run")
    quality: list[QualityRow] = Field(description="how good its forgeries are, as of a generator; empty: not measured")


class ExternalFacts(_Record):
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


class DetectorFacts(_Record):
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


class StageFacts(_Record):
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


class DataFacts(_Record):
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


class PairedTest(_Record):
    """Two detectors on the same images: paired DeLong, Holm-adjusted over all comparisons of the run."""

    trained_on: str = Field(description="generators whose forgeries both were trained on")
    tested_on: str = Field(description="generator of the test forgeries")
    seed: int = Field(description="seed of the run")
    a: str = Field(description='name of one detector, as in the cells, e.g. "disc-probe@dcgan"')
    b: str = Field(description="name of the other")
    difference: float = Field(description="AUC of a minus AUC of b")
    low: float = Field(description="lower end of its 95 % interval")
    high: float = Field(description="upper end of its 95 % interval")
    p_holm: float = Field(description="two-sided p, adjusted after Holm")


class ColumnMean(_Record):
    """The mean of a detector in one column of the leaderboard; see benchmarks/evaluation/leaderboard.py."""

    detector: str
    column: str = Field(description="name of the column, e.g. unseen")
    auc: float = Field(description="mean AUC over the column's tests and over seeds; in unseen over families first")
    low: float = Field(description="lower end of its 95 % interval over images and seeds, for these families")
    high: float
    family_low: float | None = Field(None, description="lower end of its 95 % interval for a new family")
    family_high: float | None = Field(None, description="upper end; null: fewer than two families, or protocol 1")
    balanced_accuracy: float | None = Field(None, description="at the thresholds fixed on val; primary column alone")
    tpr_at_fpr_1pct: float | None = Field(None, description="primary column alone; null: n too small")


class OneClassRate(_Record):
    """A detector on images from elsewhere of one class alone: no AUC, but a rate at the threshold fixed on val."""

    detector: str
    trained_on: str
    tested_on: str = Field(description='as in the cells, e.g. "external:mine"')
    seed: int
    kind: str = Field(description="class of the images, real or forged")
    n: int = Field(description="images")
    rate: float = Field(description="share called forged: FPR of real images, TPR of forged ones")
    low: float = Field(description="lower end of its 95 % interval")
    high: float
    method: str = Field(description="of the interval")


class ClipTest(_Record):
    """A detector on clips from elsewhere: the scores of a clip's frames become one."""

    detector: str
    trained_on: str
    tested_on: str = Field(description='as in the cells, e.g. "external:mine"')
    seed: int
    n_real: int = Field(description="clips")
    n_forged: int
    frames: int = Field(description="frames of both classes")
    auc: float = Field(description="of the mean scores of clips")
    low: float = Field(description="lower end of its 95 % interval, over people, else over clips")
    high: float
    method: str = Field(description="of the interval")
    auc_of_highest: float = Field(description="AUC of the highest scores of clips")
    auc_of_frames: float = Field(description="AUC of the same frames, each on its own")


class Results(_Record):
    """All results of a run; the schema of results.json."""

    schema_version: int = SCHEMA_VERSION
    protocol_version: int = Field(1, description="of the measuring protocol; missing: the first")
    name: str
    preset: str
    seed: int
    seeds: list[int] = Field([], description="of a run that was repeated; empty: one seed")
    request: RunRequest | None = Field(None, description="what was asked for; null: an earlier version wrote this")
    command: str = Field(description="the command that asks for it")
    missing: dict[str, str] = Field({}, description="what failed and is not in the tables: stage -> error")
    data: DataFacts
    external: list[ExternalFacts] = Field([], description="folders that detectors were tested on too")
    generators: list[GeneratorFacts]
    perturbations: dict[str, str] = Field({}, description="perturbation of test images -> its name on pages")
    moments: list[SnapshotFacts] = Field([], description="snapshots of them that were only tested")
    detectors: list[DetectorFacts]
    metrics: list[MetricFacts] = Field([], description="of the cells, beside AUC; empty: schema 5, those of then")
    families: dict[str, str] = Field({}, description="generator -> family; not named: a family of its own")
    cells: list[TestResult]
    means: list[ColumnMean] = Field([], description="the leaderboard's means with both intervals; empty: schema 6")
    rates: list[OneClassRate] = Field(
        [], exclude_if=not_, description="on images from elsewhere of one class alone; empty: each test has both"
    )
    clips: list[ClipTest] = Field([], exclude_if=not_, description="tests by clip; empty: none is of videos")
    comparisons: list[PairedTest]
    audits: list[Finding] = Field([], description="what controls and audits found; a failed one makes it a shortcut")
    summary: list[str] = Field([], description="sentences that open the page; empty: an earlier version wrote this")
    notes: list[str] = Field([], description="failed audits and what else must be known beside the summary")
    groups: list[GroupFact] = Field([], description="detectors by group of people, where faces have labels")
    gaps: list[Gap] = Field([], description="the largest difference between groups")
    attacks: list[AttackFacts] = Field([], description="what each attack cost; empty: nothing was attacked")
    security: list[SecurityPoint] = Field([], description="detectors under attack, AUC over the budget")
    localisation: list[Localisation] = Field([], description="where images were altered; empty: nothing has masks")
    attribution: list[Attribution] = Field([], description="which generator made an image; empty: not asked for")
    stages: list[StageFacts]
    environment: dict[str, str] = Field(description="versions, device, precision, commit")

    @property
    def suite(self) -> bool:
        """True where the report shows a leaderboard: several seeds, left-out families, wild or external tests."""
        return bool(self.seeds) or any(
            cell.condition in (Condition.EXTERNAL, Condition.WILD)
            or (cell.condition is Condition.UNSEEN and len(TrainSet.parse(cell.trained_on).generators) > 1)
            for cell in self.cells
        )


def to_csv(cells: list[TestResult], measured: Sequence[MetricFacts]) -> str:
    """Format the cells as CSV: CSV_COLUMNS, then each metric; six decimals, empty where it is undefined."""
    columns = [*CSV_COLUMNS, *(metric.id for metric in measured)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for cell in cells:
        values = [getattr(cell, column) for column in CSV_COLUMNS] + [cell.value(metric.id) for metric in measured]
        writer.writerow("" if v is None else f"{v:.6f}" if isinstance(v, float) else csv_cell(v) for v in values)
    return text.getvalue()
