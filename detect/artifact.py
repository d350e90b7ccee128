"""A fitted detector: made by `fit_detector`, scored, stored as a directory, loaded again.

detector.json          what it is: schema, detector, settings, data, calibration, curve, digests of the files
weights.safetensors …  the detector's own files
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detect.batch_independence import check_batch_independence
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, Scores
from detect.detectors.registry import DETECTORS
from detect.scoring import score_view
from detect.training.calibration import Calibration, fit_platt
from forge.core.errors import CorruptError, InputError, quoted, short
from forge.core.files import digest_file, publishing, read_signed_json, write_signed_json
from forge.core.registry import is_file_reference

SCHEMA_VERSION = 1


class DetectorCard(BaseModel):
    """Description and origin of a fitted detector; stored as detector.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    name: str = Field(description='registered name, or "path/to/file.py:Class"')
    label: str = Field("", description="name in tables where it is another, e.g. disc-probe@stylegan-lite")
    family: str = Field(description="the class's own name for itself")
    citation: str = Field(description="what to cite")
    variant: str = Field(description="where it departs from the paper")
    settings: dict[str, Any] = Field(description="all settings of the fit")
    resolution: int = Field(description="height and width of the images in pixels")
    seed: int = Field(description="of the fit")
    trained_on: str = Field(description='generators seen in training, joined by "+"')
    seen: list[str] = Field(
        [],
        exclude_if=lambda names: not names,
        description="published sets and generators that it was trained on, e.g. progan, as its authors declare them",
    )
    data: list[dict[str, Any]] = Field(description="the four views: role, sets with digests, images, digest")
    calibration: dict[str, float] = Field(description="probability = sigmoid(a * score + b), fitted on val")
    parameters: int = Field(description="number of learned values")
    facts: dict[str, Any] = Field(description="what the fit did: precision, images seen, best validation")
    history: list[dict[str, float]] = Field(description="one mapping a validation")
    files: dict[str, str] = Field({}, description="SHA-256 of each of the detector's own files")


@dataclass(frozen=True)
class TrainedDetector:
    """A fitted detector with its card.

    Attributes:
        detector: scores images.
        card: what it is; `files` is filled when it is stored.
    """

    detector: Detector[Any]
    card: DetectorCard

    @property
    def name(self) -> str:
        """Name in tables: the label, the registered name, or for a class from a file its own family name."""
        return self.card.label or _name_of(self.detector, self.card.name)

    @property
    def trained_on(self) -> str:
        """Generators seen in training, joined by "+"."""
        return self.card.trained_on

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return self.card.seed

    @property
    def calibration(self) -> Calibration:
        """From scores to probabilities."""
        return Calibration(**self.card.calibration)

    def save(self, directory: Path) -> None:
        """Write the detector as a directory, published by one rename.

        Raises:
            InputError: the directory exists already and is not empty.
        """
        with publishing(directory) as temporary:
            self.detector.save(temporary)
            stored = sorted(file for file in temporary.rglob("*") if file.is_file())
            # digests of every file the detector wrote, subfolders of an ensemble included; the card itself is signed
            files = {file.relative_to(temporary).as_posix(): digest_file(file) for file in stored}
            card = self.card.model_copy(update={"files": files})
            write_signed_json(temporary / "detector.json", card.model_dump(mode="json"))


def fit_detector(
    name: str,
    settings: DetectorSettings,
    data: FitData,
    context: FitContext,
    *,
    trained_on: str | None = None,
    label: str = "",
) -> TrainedDetector:
    """Check the data, fit a detector, and calibrate it on `val`.

    Args:
        name: registered name, or "path/to/file.py:Class" (runs that file: from a command line only).
        settings: of the detector's own `Settings` class.
        data: what it may see.
        context: seed, device, checkpoint directory, progress.
        trained_on: name of the training forgeries in tables; by default the generators' names joined by "+".
        label: its name in tables, where it is not the registered one.

    The score of a fixed scorer (`needs = "nothing"`) counts as log odds: probability = sigmoid(score).

    Raises:
        UnknownNameError: nothing is registered under the name.
        InputError: unusable data or settings.
        DetectorError: its scores cannot be used, or an image's score depends on its batch.
        BenchError: the fit failed.
    """
    implementation = _implementation(name)
    if is_file_reference(name):  # each load runs the file anew, so the settings' class may be an earlier one of itself
        settings = implementation.Settings.model_validate(settings.model_dump())
    if not isinstance(settings, implementation.Settings):
        wanted = implementation.Settings.__name__
        raise InputError(f"detector {quoted(name)} needs settings of {wanted}, not {type(settings).__name__}")
    # before `limited`: what is refused depends on all the data, not on the random part
    data.check()
    data = data.limited(settings.limit, settings.val_limit, context.seed)
    detector = implementation(settings, data.resolution)
    summary = detector.fit(data, context)
    # val scores after the fit: they calibrate, and prove that a score depends on its image alone
    val = _val_scores(detector, data, context, label or _name_of(detector, name))
    # a fixed scorer states log odds; fitting a scale on val would let it learn from forgeries of the run
    calibration = Calibration(1.0, 0.0) if detector.needs == "nothing" else fit_platt(*val)
    card = DetectorCard(
        name=name,
        label=label,
        family=detector.family,
        citation=detector.citation,
        variant=detector.variant,
        settings=settings.model_dump(mode="json"),
        resolution=data.resolution,
        seed=context.seed,
        trained_on=data.generators if trained_on is None else trained_on,
        data=data.describe(),
        calibration={"a": calibration.a, "b": calibration.b},
        parameters=detector.parameters,
        facts=summary.facts,
        history=summary.history,
    )
    return TrainedDetector(detector, card)


def load_trained(directory: Path, *, implementation: type[Detector[Any]] | None = None) -> TrainedDetector:
    """Load what `TrainedDetector.save` wrote; every file is checked against its digest first.

    Args:
        directory: the stored detector.
        implementation: its class, needed only where it came from a file: what is stored never makes code run.

    Raises:
        InputError: no detector, of a newer version, or of a class that must be named.
        CorruptError: a file is missing, changed, or was added.
    """
    file, card = directory / "detector.json", read_card(directory)
    # all files before any is read: a changed file must not be half loaded
    for name, digest in card.files.items():
        part = directory / name
        # a name with ".." in a forged card must not make a file outside the folder be read
        if not part.resolve().is_relative_to(directory.resolve()) or not part.is_file():
            raise CorruptError(f"{directory} is damaged: {short(name)} is missing; fit the detector again")
        if digest_file(part) != digest:
            raise CorruptError(
                f"{directory} is damaged: {short(name)} was changed after it was stored; fit the detector again"
            )
    if implementation is None:
        if is_file_reference(card.name):
            raise InputError(
                f"{directory} was fitted with a detector from a file; name that file again: --detector {card.name}"
            )
        implementation = _implementation(card.name)
    settings = settings_of(card, implementation, file)
    return TrainedDetector(implementation.load(directory, settings, card.resolution), card)


def settings_of(card: DetectorCard, implementation: type[Detector[Any]], file: Path) -> DetectorSettings:
    """Return the typed settings of a stored detector.

    Args:
        card: what is stored.
        implementation: its class.
        file: where the card stands, for messages.

    Raises:
        InputError: settings of another version: a field is gone, or a value out of range.
    """
    try:
        return implementation.Settings(**card.settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = short(".".join(map(str, first["loc"])))
        raise InputError(f"{file}: setting {where} does not suit this version: {first['msg']}") from error


def read_card(directory: Path) -> DetectorCard:
    """Read what a stored detector is, without its weights.

    Raises:
        InputError: no detector, or of a newer version.
        CorruptError: the card was changed by hand and no longer makes sense.
    """
    file = directory / "detector.json"
    if not file.is_file():
        raise InputError(f"{directory} is not a fitted detector: it has no detector.json")
    raw = read_signed_json(file)
    version = raw.get("schema_version")
    # an older schema is read, a newer one may hold fields whose meaning is unknown here
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(f"{file} has schema {version}, this version reads up to {SCHEMA_VERSION}; upgrade")
    try:
        return DetectorCard.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = short(".".join(map(str, first["loc"])))
        raise CorruptError(f"{file} is damaged: field {where}: {first['msg']}") from error


def use_pretrained(trained: TrainedDetector, name: str, resolution: int, seed: int) -> TrainedDetector:
    """A detector that was fitted elsewhere, under a name of its own and for images of another size if it resizes them.

    Args:
        trained: as loaded.
        name: in tables.
        resolution: of the images it will score, pixels; another than its own only with an `input_size` of its own.
        seed: of the run that uses it, which its scores carry.

    Raises:
        InputError: it scores images of its resolution alone.
    """
    card = trained.card
    # without `input_size` the weights fit one size of image only
    if resolution != card.resolution and card.settings.get("input_size") is None:
        raise InputError(
            f"{trained.name} was fitted at {card.resolution} px and does not resize; use --resolution {card.resolution}"
        )
    trained.detector.resolution = resolution
    # digests are of the files of the loaded folder, not of a copy under this name
    changed = {"label": name, "resolution": resolution, "seed": seed, "files": {}}
    return TrainedDetector(trained.detector, card.model_copy(update=changed))


def _implementation(name: str) -> type[Detector[Any]]:
    loaded = DETECTORS.load(name)
    if not (isinstance(loaded, type) and issubclass(loaded, Detector)):
        raise InputError(f"detector {quoted(name)} is not a subclass of detect.detectors.base.Detector")
    return loaded


def _name_of(detector: Detector[Any], reference: str) -> str:
    """Return the name of a detector without a label: the registered one, or for a class from a file its family."""
    return detector.family if is_file_reference(reference) else reference


def _val_scores(detector: Detector[Any], data: FitData, context: FitContext, name: str) -> tuple[Scores, Scores]:
    real, forged = (score_view(detector, view, context.compute) for view in (data.val_real, data.val_forged))
    check_batch_independence(detector, data.val_forged, forged, context.compute, name=name)
    return real, forged
