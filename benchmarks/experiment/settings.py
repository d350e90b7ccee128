"""Typed settings of a run: from presets, YAML and flags to one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from operator import not_
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from benchmarks.experiment.names import safe_name, source_name
from benchmarks.experiment.order import Steps, steps_of
from forge.core.errors import quoted

Model = TypeVar("Model", bound=BaseModel)
Preset = Literal["smoke", "quick", "standard", "full"]
PRESETS = get_args(Preset)


def _is_empty(value: object) -> bool:
    """Whether a field is left out of what is stored: as before there was such a field."""
    return not value


class _Settings(BaseModel):
    # Frozen, since settings are keys; unknown names are refused, since a misspelt one would be ignored.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Settings):
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


class ImageCounts(_Settings):
    """Images of each class and split that detectors see."""

    train: int = Field(2000, ge=1)
    val: int = Field(500, ge=1)
    test: int = Field(1000, ge=1)


class QualitySettings(_Settings):
    """Measurement of the quality of forgeries; see `bench quality`."""

    n: int = Field(1000, ge=16, description="images a side; fewer where a set has fewer")
    face_n: int = Field(256, ge=1, description="images in which faces are searched")
    usefulness: bool = Field(
        True, description="train label classifiers on forgeries of generators that are told labels; about a minute each"
    )
    metrics: tuple[str, ...] = Field((), description="metrics of plug-ins; filled in from --metric when checked")
    files: dict[str, str] = Field({}, description="SHA-256 of the code of metrics from files")


class Tuned(_Settings):
    """How a generator of an arms race goes on from another one."""

    RANDOM: ClassVar[str] = "random weights"  # as detector: a network of the attacked kind that was never trained

    base: str = Field(description="name of the generator whose weights it begins with")
    detector: str = Field(description="that it is trained against, as the round before left it; empty: none")
    round: int = Field(ge=1, description="of the race")
    weight: float = Field(description="of the detector's loss beside the generator's own")


class ForgedFolder(_Settings):
    """Forgeries that are files, which stand for a generator."""

    path: str = Field(min_length=1, description="folder of forged images, or of a public set")
    family: str = Field("", description="of generators that are left out of a training together; empty: its own")


class GeneratorSettings(_Settings):
    """One generator: its architecture and how it is trained."""

    architecture: str = Field(description="registered name, or path/to/file.py:Class (command line only)")
    network: dict[str, Any] = Field({}, description="settings of the architecture")
    training: dict[str, Any] = Field({}, description="settings of the training loop")
    seed: int = Field(
        0,
        ge=0,
        description="distinguishes trainings of equal settings; 0: random numbers of the run's seed, else others",
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
    path: str = Field("", exclude_if=_is_empty, description="folder of its forgeries; empty: it makes them")

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


class DetectorRequest(_Settings):
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


class AttackRequest(_Settings):
    """One attack on the detectors of a run, and what it needs."""

    attack: str = Field(description="registered name, or path/to/file.py:Class (command line only)")
    budgets: tuple[float, ...] = Field((), description="grey levels, of 255; empty: it has no budget")
    settings: dict[str, Any] = Field({}, description="settings of the attack")
    access: str = Field("", description="what it asks of the attacked detector; filled in when checked")
    needs: str = Field("", description="what the attacker has beside it; filled in when checked")
    surrogate: DetectorRequest | None = Field(None, description="detector that is fitted on the attacker's images")
    autoencoder: GeneratorSettings | None = Field(None, description="that re-encodes images, trained on split `forge`")
    files: dict[str, str] = Field({}, description="SHA-256 of the files it depends on, e.g. its code")


class External(_Settings):
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


class RaceSettings(_Settings):
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


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Kimg = Annotated[float, Field(gt=0)]


# One rule for flags ("a,b"), YAML (a list or a text) and Python (either).
def _names(value: object) -> object:
    """Split "a, b" into names; a list stays one."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple):
        return value
    names = tuple(name.strip() if isinstance(name, str) else name for name in value)
    names = tuple(name for name in names if name != "")
    if value and not names:  # "," alone; an empty default is not a list that names nothing
        raise ValueError("it names nothing")
    return names


# runs before validation of the tuple, since it receives text
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class Conditions(_Settings):
    """Conditions under which detectors are tested; their meanings are in benchmarks/protocol/conditions.py."""

    matrix: bool = Field(True, description="train on each generator, test on every one: the train x test matrix")
    seen: bool = Field(
        True, description="train on all generators, test on each: the detector for photos (`bench detect`)"
    )
    unseen: bool | None = Field(
        None,
        description="train on all families of generators but one, test on the generators of that family; by default "
        "where there are two families or more",
    )
    wild: bool = Field(
        False, description="beside `unseen`: each test image through a random chain of changes, as photos on the web"
    )
    robust: tuple[str, ...] = Field((), description="perturbations of the test images; trained on all generators")
    views: Names = Field(
        (),
        description="how external photos are shown at their own resolution: centre-crop, five-crops, tiles, tiles-max",
        exclude_if=lambda value: not value,
    )
    view_resolution: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="side of the middle part of these photos, in their own pixels; null: twice the run's resolution",
        exclude_if=lambda value: value is None,
    )
    # Digests by name and not in a list: two perturbations may come from one file.
    perturbation_files: dict[str, dict[str, str]] = Field(
        {}, description="perturbation from a file -> its id, and the SHA-256 of its code"
    )
    paired: bool = Field(
        True,
        description="beside `seen`: test forgeries made from real faces against these faces too, the same photo before "
        "and after",
    )
    masks: bool = Field(
        True, description="measure where forgeries were altered, of detectors that say it and generators with masks"
    )
    masks_saliency: bool = Field(
        False, description="with `masks`: of detectors without maps measure the gradient of the score at each pixel"
    )
    attacked: dict[str, tuple[Annotated[float, Field(ge=1, le=255)], ...]] = Field(
        {},
        description="attack -> its budgets in grey levels, of the 255 of the stored image; [] of an attack without a "
        "budget; trained on all generators",
    )
    attacked_images: int = Field(200, ge=20, description="test images of each generator that are attacked, at most")
    attacked_reals: bool = Field(False, description="attack real test images too, so that they pass for forged")
    equalised: bool = Field(False, description="both classes end with one JPEG quality, in training and in the test")
    budget: tuple[Annotated[int, Field(gt=0)], ...] = Field((), description="numbers of training images a class")
    variants: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        (), description="numbers of models of a family to train on; tested on its other models and on other families"
    )
    attribute: bool = Field(
        False,
        exclude_if=_is_empty,
        description="beside `seen`: which generator made an image, by the frozen features of each detector",
    )
    order: Annotated[Steps, BeforeValidator(steps_of)] = Field(
        (),
        exclude_if=_is_empty,
        description="generators as they came up, a list (a list in it is one step of time) or name -> date: train on "
        "all up to a step, test on the next",
    )
    choices: int = Field(3, ge=1, le=100, description="of these models, each number in so many ways")
    snapshots: dict[str, tuple[Kimg, ...]] = Field(
        {},
        description="generator -> thousands of images; its forgeries at these moments of its training are tested too",
    )
    shuffled: tuple[str, ...] = Field((), description="detectors that are trained on shuffled labels too, as a control")
    only: dict[str, tuple[str, ...]] = Field({}, description="condition -> the detectors it is limited to")


class RunRequest(_Settings):
    """A run as it is asked for: a YAML file, the flags of `bench run` and the arguments of `benchmarks.run`.

    results.json holds the request of its run, from which the run can be made again.
    """

    generator: Names = Field((), description="generators, as a list or comma-separated")
    detector: Names = Field((), description="detectors, likewise")
    condition: Names = Field((), description="label columns for conditional generators")
    metric: Names = Field((), description="metrics beside those of the protocol")
    section: Names = Field((), description="sections of the page beside the shipped ones")
    data: str | None = Field(None, description="real faces: NAME, PATH or NAME:PATH; null: rendered")
    sources: tuple[str, ...] = Field(
        (), description="real faces of several sources, each NAME, PATH or NAME:PATH: a run each"
    )
    preset: str | None = Field(None, description="smoke, quick, standard or full; null: quick, on a GPU standard")
    title: str = Field("", description="one line for people")
    protocol: int | None = Field(None, description="version of the measuring protocol it was written for")
    seed: Seed | None = Field(None, description="random seed of the whole run; null: 0")
    seeds: tuple[Seed, ...] | None = Field(None, description="the whole run is repeated with each of these")
    conditions: dict[str, Any] = Field({}, description="how detectors are trained and tested; see Conditions")
    rounds: Annotated[int, Field(ge=1, le=20)] | None = Field(
        None, description="rounds of an arms race, whose other settings are --set race…; null: no race"
    )
    external: dict[str, str | tuple[str, str] | tuple[str, str, str]] = Field(
        {},
        description="name -> folder of a public test set, or folders of real and of forged photos, and where these "
        "have them of masks",
    )
    forged: dict[str, ForgedFolder] = Field(
        {},
        exclude_if=_is_empty,
        description="name -> folder of forgeries that stand for a generator, or path and family",
    )
    resolution: int | None = Field(None, description="height and width in pixels; null: the preset's")
    name: str | None = Field(None, description="of the run and its report folder; null: made of what it runs")
    show_real: bool = Field(False, description="embed photos of the real faces in the report")
    jobs: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, exclude_if=_is_empty, description="stages at a time, of no effect on results; null: chosen by rules"
    )
    engine: str = Field("", exclude_if=_is_empty, description="what runs the stages: local (default), ray or slurm")
    set: dict[str, Any] = Field({}, description="any setting, nested, e.g. {generator: {training: {kimg: 100}}}")

    # Another word for the same: what is given as `sets` is stored as `external`.
    @model_validator(mode="before")
    @classmethod
    def _with_sets(cls, values: object) -> object:
        if not isinstance(values, dict) or "sets" not in values:
            return values
        rest = {key: value for key, value in values.items() if key != "sets"}
        sets, external = values["sets"] or {}, rest.get("external") or {}
        if not isinstance(sets, dict) or not all(isinstance(root, str) for root in sets.values()):
            raise ValueError("sets must map names to folders of test sets, e.g. {genimage: path/to/GenImage}")
        if both := sorted(map(str, set(sets) & set(external))):
            raise ValueError(f"sets and external both name {quoted(both[0])}; give one another name")
        return rest | {"external": {**external, **sets}}

    @model_validator(mode="before")
    @classmethod
    def _order(cls, content: Any) -> Any:  # noqa: ANN401 - what YAML gave
        """Take `order` beside the conditions for one of them."""
        if not (isinstance(content, Mapping) and "order" in content):
            return content
        conditions = content.get("conditions") or {}
        if not isinstance(conditions, Mapping) or "order" in conditions:
            raise ValueError("it names order twice, alone and among the conditions; keep one")
        rest = {name: value for name, value in content.items() if name != "order"}
        return rest | {"conditions": {**conditions, "order": content["order"]}}

    @field_validator("forged", mode="before")
    @classmethod
    def _paths(cls, forged: object) -> object:
        if not isinstance(forged, Mapping):
            return forged
        for name, value in forged.items():
            if isinstance(value, Mapping) and (
                unknown := [key for key in value if key not in ForgedFolder.model_fields]
            ):
                raise ValueError(f"{name} has a path and perhaps a family, not {quoted(unknown[0])}")
        return {name: {"path": value} if isinstance(value, str) else value for name, value in forged.items()}

    # Runs over several sources are named after them; equal names would be one report folder.
    @field_validator("sources")
    @classmethod
    def _told_apart(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        names = [safe_name(source_name(source)) for source in sources]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two of its sources are called {quoted(twice[0])}; name a folder otherwise")
        return sources

    # Before validation: an empty list is valid as a tuple, and would silently mean one seed.
    @field_validator("seeds", mode="before")
    @classmethod
    def _distinct(cls, seeds: object) -> object:
        if isinstance(seeds, list | tuple) and not seeds:
            raise ValueError("it names no seed; give one, or leave seeds out")
        if isinstance(seeds, list | tuple) and (twice := [seed for seed in seeds if seeds.count(seed) > 1]):
            raise ValueError(f"it names the seed {twice[0]} twice")
        return seeds


class RunSettings(_Settings):
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
