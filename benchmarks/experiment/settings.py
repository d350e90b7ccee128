"""Typed settings of a run: from presets, YAML and flags to one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from operator import not_
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from benchmarks.experiment.conditions import Conditions
from benchmarks.experiment.names import safe_name, source_name
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.settings_base import Seed, Settings

Preset = Literal["smoke", "quick", "standard", "full"]
PRESETS = get_args(Preset)


class DataSettings(Settings):
    """Real faces and their preparation."""

    source: str = Field("rendered", description="name, path, or NAME:PATH of the source of real faces")
    options: dict[str, Any] = Field({}, description="of the source, e.g. identities: folders")
    count: int | None = Field(None, ge=1, description="use at most this many photos (default: all)")
    resolution: int = Field(64, ge=8, le=1024, description="height and width in pixels")
    crop: Literal["none", "face", "ff++"] = Field(
        "none",
        description="none: centre square; face: find and align (MTCNN); ff++: square of 1.3 times its box",
    )
    dedupe: bool | None = Field(None, description="remove near duplicates (default: as the source wants)")
    splits: dict[str, float] = Field(
        {"forge": 0.6, "train": 0.2, "val": 0.06, "test": 0.14}, description="shares of the four splits"
    )
    seed: int = Field(0, ge=0, description="of the choice and split of photos; runs of other seeds share the faces")

    # Rendered photographs have 144 px unless told: of a larger resolution all would be refused as too small.
    @model_validator(mode="before")
    @classmethod
    def _rendered_large_enough(cls, values: Any) -> Any:  # noqa: ANN401 - what a person wrote
        side = values.get("resolution") if isinstance(values, dict) else None
        if not isinstance(side, int) or not 144 < side <= 512 or values.get("source", "rendered") != "rendered":
            return values
        options = values.get("options") or {}
        # an eighth more, as 144 px are of 128, and even
        larger = {"size": min(512, side * 9 // 16 * 2)}
        return values | {"options": larger | options} if isinstance(options, dict) else values

    @property
    def source_name(self) -> str:
        """The source without its path, for people."""
        return source_name(self.source)


class ImageCounts(Settings):
    """Images of each class and split that detectors see."""

    train: int = Field(2000, ge=1)
    val: int = Field(500, ge=1)
    test: int = Field(1000, ge=1)


class QualitySettings(Settings):
    """Measurement of the quality of forgeries; see `bench quality`."""

    n: int = Field(1000, ge=16, description="images a side; fewer where a set has fewer")
    face_n: int = Field(256, ge=1, description="images in which faces are searched")
    usefulness: bool = Field(
        True, description="train label classifiers on forgeries of generators that are told labels; about a minute each"
    )
    metrics: tuple[str, ...] = Field((), description="metrics of plug-ins; filled in from --metric when checked")
    files: dict[str, str] = Field({}, description="SHA-256 of the code of metrics from files")


class Tuned(Settings):
    """How a generator of an arms race goes on from another one."""

    RANDOM: ClassVar[str] = "random weights"  # as detector: a network of the attacked kind that was never trained

    base: str = Field(description="name of the generator whose weights it begins with")
    detector: str = Field(description="that it is trained against, as the round before left it; empty: none")
    round: int = Field(ge=1, description="of the race")
    weight: float = Field(description="of the detector's loss beside the generator's own")


class GeneratorSettings(Settings):
    """One generator: its architecture and how it is trained."""

    architecture: str = Field(description="registered name, or path/to/file.py:Class (command line only)")
    network: dict[str, Any] = Field({}, description="settings of the architecture")
    training: dict[str, Any] = Field({}, description="settings of the training loop")
    seed: int = Field(
        0,
        ge=0,
        description="distinguishes trainings of equal settings; 0: random numbers of the run's seed, else others",
    )
    repeated: bool = Field(
        True,
        exclude_if=bool,
        description="with several seeds: trained anew for each; false: once, with the first of them",
    )
    condition: tuple[str, ...] = Field((), description="label columns that a conditional generator is told")
    domains: dict[str, tuple[str, str]] = Field(
        {},
        description="label column -> its values before and after, of a translator between domains; empty: the two most "
        "frequent values of the first column with few",
    )
    direction: Literal["forward", "backward"] = Field(
        "forward", description="of the domains; backward is possible where both directions are learned (cyclegan)"
    )
    mix: Literal["training", "uniform"] | dict[str, dict[str, float]] = Field(
        "training", description="labels of its forgeries: as in training, uniform, or column -> value -> weight"
    )
    truncation: float = Field(1.0, ge=0, le=1, description="of the styles of its forgeries; 1: none")
    weights: Literal["averaged", "raw"] = Field("averaged", description="which weights make its forgeries")
    snapshot: float | None = Field(
        None, gt=0, description="thousands of images: the snapshot taken then; null: the end"
    )
    # Fields that are "filled in when checked" are facts of the class, kept so that planning needs no import of it.
    tampers: bool = Field(False, description="makes forgeries of real faces and is not trained; filled in when checked")
    searches: Literal["none", "taken", "all"] = Field(
        "none", description="real faces whose landmarks its forgeries follow; filled in when checked"
    )
    inverts: GeneratorSettings | None = Field(
        None,
        description="the generator that an edit inverts, by the edit's name; it is set as generators.NAME",
    )
    tuned: Tuned | None = Field(None, description="of a generator of an arms race; filled in from the race")
    masks: bool = Field(False, description="its forgeries have masks; filled in when checked")
    judged: bool = Field(True, description="was trained against a discriminator; filled in when checked")
    translates: bool = Field(False, description="makes forgeries of real faces and is trained; filled in when checked")
    moves_between: bool = Field(False, description="translates between domains of faces; filled in when checked")
    family: str = Field(
        "", description="generators of one family are left out of a training together; empty: its architecture's"
    )
    files: dict[str, str] = Field({}, description="SHA-256 of the files it depends on, e.g. its code")
    path: str = Field("", exclude_if=not_, description="folder of its forgeries; empty: it makes them")
    zoo: str = Field("", exclude_if=not_, description="member of the zoo that its weights are of; empty: it is trained")

    @field_validator("domains", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:  # noqa: ANN401 - what YAML gave
        """Check that one column and two values are named; YAML's truth values are the words that stood there."""
        pairs = list(value.values()) if isinstance(value, Mapping) else [None]
        if len(pairs) > 1 or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError("name one label column and two of its values, e.g. {gender: [Female, Male]}")
        words = {True: "yes", False: "no"}
        return {
            str(column): tuple(words[name] if isinstance(name, bool) else str(name) for name in pair)
            for column, pair in value.items()
        }

    @property
    def takes_faces(self) -> bool:
        """Whether its forgeries are made from real faces, which are then no reals of a detector."""
        return self.tampers or self.translates

    @property
    def draws_latents(self) -> bool:
        """Whether its forgeries are made from random numbers, so that more can be had."""
        return not (self.takes_faces or self.path)


class DetectorRequest(Settings):
    """One detector and its settings."""

    detector: str = Field(
        description="registered name, path/to/file.py:Class (command line only), or a fitted detector's folder"
    )
    trained_on: str = Field("", description="of a detector that is used as it is: what it was trained on")
    adversary: str = Field(
        "", description="generator whose discriminator it starts from; empty: that of its training forgeries"
    )
    needs: str = Field("", description="what it reads beside images; filled in when the run is checked")
    localises: bool = Field(False, description="has maps of its own; filled in when the run is checked")
    has_gradients: bool = Field(False, description="of its score at each pixel; filled in when the run is checked")
    takes_crops: bool = Field(False, description="in place of whole images; filled in when the run is checked")
    settings: dict[str, Any] = Field({}, description="settings of the detector")
    files: dict[str, str] = Field({}, description="SHA-256 of the files it depends on, e.g. weights")


class AttackRequest(Settings):
    """One attack on the detectors of a run, and what it needs."""

    attack: str = Field(description="registered name, or path/to/file.py:Class (command line only)")
    budgets: tuple[float, ...] = Field((), description="grey levels, of 255; empty: it has no budget")
    settings: dict[str, Any] = Field({}, description="settings of the attack")
    access: str = Field("", description="what it asks of the attacked detector; filled in when checked")
    needs: str = Field("", description="what the attacker has beside it; filled in when checked")
    surrogate: DetectorRequest | None = Field(None, description="detector that is fitted on the attacker's images")
    autoencoder: GeneratorSettings | None = Field(None, description="that re-encodes images, trained on split `forge`")
    files: dict[str, str] = Field({}, description="SHA-256 of the files it depends on, e.g. its code")


class External(Settings):
    """A pair of folders that nobody here made, and the masks of the forged photos; or one column of a test set."""

    real: str = Field("", description="folder of real photos; empty: of a test set")
    forged: str = Field("", description="folder of forged ones")
    masks: str = Field("", description="folder of their masks, or column:NAME of their label file; empty: none")
    root: str = Field("", exclude_if=not_, description="folder of a test set whose layout is recognised")
    subset: str = Field("", exclude_if=not_, description="its column, in the spelling of the set; empty: all of it")
    sides: tuple[Literal["real", "forged"], ...] = Field(
        (), exclude_if=not_, description="classes that the column has enough images of; empty: of a pair, both"
    )
    notes: tuple[str, ...] = Field((), exclude=True, description="sentences on what was recognised, for a terminal")
    listed_masks: bool = Field(False, exclude_if=not_, description="all of its forgeries have masks in the set")


class RaceSettings(Settings):
    """An arms race: generators are trained on against a frozen detector, which is then fitted anew, in rounds."""

    rounds: int = Field(0, ge=0, le=20, description="0: no race")
    detector: str = Field("", description="that generators are trained against; empty: the first one that is fitted")
    weight: float = Field(0.3, gt=0, description="of softplus(score) beside the generator's own loss")
    kimg: float = Field(12.0, gt=0, description="thousands of real images shown in each round")
    fits: Literal["all", "newest"] = Field(
        "all", description="each detector is fitted on forgeries of all rounds so far, or of the newest alone"
    )
    controls: bool = Field(
        True, description="train on as long without a detector too, and one round against random weights"
    )


class RunSettings(Settings):
    """Everything that decides the outcome of a run."""

    name: str
    preset: Preset
    seed: int = Field(0, ge=0, lt=2**32, description="of all randomness; the first of several")
    seeds: tuple[Seed, ...] = Field((), description="the whole run is repeated with each of these; empty: with seed")
    data: DataSettings
    images: ImageCounts
    quality: QualitySettings = QualitySettings()  # the field defaults of quality, which a preset need not name
    generators: dict[str, GeneratorSettings]
    detectors: dict[str, DetectorRequest]
    conditions: Conditions = Conditions()
    race: RaceSettings = RaceSettings()
    attacks: dict[str, AttackRequest] = Field({}, description="those of the condition `attacked`, by name")
    metrics: tuple[str, ...] = Field((), description="metrics beside those of the protocol, of detection or quality")
    metric_files: dict[str, str] = Field({}, description="SHA-256 of the code of metrics from files")
    sections: tuple[str, ...] = Field((), description="sections of the page beside the shipped ones")
    section_files: dict[str, str] = Field({}, description="SHA-256 of the code and templates of sections from files")
    external: dict[str, External] = Field({}, description="pairs of folders and test sets that detectors are tested on")
    show_real: bool = False
    # written into results.json, from which `bench reproduce` plans again
    request: RunRequest = Field(description="what these settings were made from")
    command: str = Field("", description="the command that asks for it")

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if safe_name(name) != name:
            raise ValueError(f"{name[:80]!r} cannot name a folder everywhere")
        return name
