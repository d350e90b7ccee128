"""Stages of a run: what each one reads, what its result depends on, and how one call of it is set up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, get_type_hints

from pydantic import TypeAdapter

from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.files import digest_json
from forge.core.progress import OnProgress
from forge.faces.faceset import FaceSet

if TYPE_CHECKING:
    from forge.faces.forged_files import ForgedFiles
    from forge.faces.sources import Source

# The layout of stored results: renaming it would orphan every store.
FACES = "faces"  # folder of a stage's FaceSet in its result

Facts = dict[str, Any]  # what a stage records of itself in its manifest


@dataclass(frozen=True)
class Context:
    """Source, device and workers of a stage; none of it changes what is asked for.

    Attributes:
        source: the real faces.
        compute: device and precision.
        workers: processes that read and alter photos.
        on_progress: called with progress.
        track: folder for TensorBoard events, if any are wanted.
        external: name of a pair -> folders of real and of forged photos that detectors are tested on.
        forged: generator -> the files that stand for its forgeries.
    """

    source: Source | FaceSet
    compute: Compute
    workers: int
    on_progress: OnProgress
    track: Path | None = None
    external: Mapping[str, tuple[Source | None, Source | None]] = field(default_factory=dict)
    forged: Mapping[str, ForgedFiles] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One call of a stage.

    Attributes:
        folders: key -> directory of the result of every input.
        out: an empty directory for the result.
        work: a directory that stays between calls until the result is published.
        context: where and how.
    """

    folders: Mapping[str, Path]
    out: Path
    work: Path
    context: Context

    def path(self, stage: Stage) -> Path:
        """Return the directory of an input's result."""
        return self.folders[stage.key]

    def faces(self, stage: Stage) -> FaceSet:
        """Open the FaceSet of an input."""
        return FaceSet.open(self.path(stage) / FACES)

    def compute(self, numerics: Mapping[str, Any]) -> Compute:
        """Return the device in the precision that a stage's key holds."""
        # Not what this call asked for: a key with bf16 must hold a bf16 result, also where the call said "auto".
        return replace(self.context.compute, precision=numerics["precision"])


class Activity(Protocol):
    """Work that an observer shows: a stage, or a call of a verb that computes the same."""

    @property
    def action(self) -> str:
        """Return what is done, e.g. "train"."""

    @property
    def name(self) -> str:
        """Return what people see, e.g. "train dcgan"."""

    @property
    def key(self) -> str:
        """Return what tells it from others."""


@dataclass(frozen=True)
class Call:
    """A call of a verb outside of any run, for an observer.

    Attributes:
        action: what is done, e.g. "prepare".
        subject: to what.
    """

    action: str
    subject: str

    @property
    def name(self) -> str:
        """Return what people see."""
        return f"{self.action} {self.subject}"

    @property
    def key(self) -> str:
        """Return what tells it from others."""
        return self.name


# `eq=False` keeps dataclass from generating a comparison by fields, which would hide `__eq__` below.
@dataclass(frozen=True, eq=False, kw_only=True)
class Stage(ABC):
    """One step of a run. A subclass declares its inputs as fields, and as settings all else that decides its result.

    A field that holds a stage, a mapping of names to stages or a tuple of stages is an input, known to the key by the
    name of the field or by its metadata "input". Two stages of one key are
    equal, whatever they are called.

    Attributes:
        action: what is done; begins the name of the folder of its result.
        VERSION: of the code; raised when it computes something else from the same settings.
        optional: whether a report can do without its result.
        computes: whether it computes on the device; where devices are GPUs, one such stage runs on each at a time.
        seed: of everything random in it.
        repeated: whether the run is repeated with other seeds, so that names show the seed.
    """

    action: ClassVar[str]
    VERSION: ClassVar[int]
    optional: ClassVar[bool] = False
    computes: ClassVar[bool] = True
    actions: ClassVar[dict[str, type[Stage]]] = {}

    seed: int = 0
    repeated: bool = False

    def __init_subclass__(cls) -> None:
        """Register the subclass under its action."""
        if "action" in cls.__dict__:  # abstract bases in between have no action
            Stage.actions[cls.action] = cls

    @property
    @abstractmethod
    def label(self) -> str:
        """Return what is worked on, e.g. "dcgan" or "dct@dcgan", without a seed."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return everything the step reads beside its inputs and its seed, as JSON values: part of its key."""

    @abstractmethod
    def run(self, job: Job) -> Facts:
        """Compute the result into `job.out`; returns facts for the manifest."""

    @property
    def about(self) -> str:
        """Return the generator or detector whose size decides how long the stage takes; "" where none does."""
        return self.label

    @property
    def subject(self) -> str:
        """Return the label, with the seed where a run has several."""
        return f"{self.label} #{self.seed}" if self.repeated else self.label

    @property
    def name(self) -> str:
        """Return what people see."""
        return f"{self.action} {self.subject}".strip()

    @property
    def work_units(self) -> float:
        """Return how much there is to do, for forecasts: images of a stage that scores, else 1."""
        return 1.0  # seconds per unit are what similar stages share

    @cached_property
    def inputs(self) -> dict[str, Stage]:
        """Return the stages whose results it reads, by the names under which the key holds them."""
        inputs: dict[str, Stage] = {}
        for attribute, name in _input_names(type(self)):
            value = getattr(self, attribute)
            shape = _shape(value)
            # The names are part of the key: they say which role an input has, not only that it is one.
            if shape is Stage:
                inputs[name] = value
            elif shape is Mapping:
                inputs |= {f"{name} {key}": stage for key, stage in value.items() if _shape(stage) is Stage}
            elif shape is tuple:
                inputs |= {f"{name} {stage.subject}": stage for stage in value if _shape(stage) is Stage}
        return inputs

    @cached_property
    def key(self) -> str:
        """Return the digest of everything that decides the result; device and engine are not part of it."""
        # in a loop, inputs first: keys that ask for keys of theirs would end a chain of 300 stages at Python's limit
        waiting: list[Stage] = [self]
        while waiting:
            stage = waiting[-1]
            before = [each for each in stage.inputs.values() if "key" not in each.__dict__]
            if before:
                waiting += before
                continue
            waiting.pop()
            if stage is not self and "key" not in stage.__dict__:  # it waits twice where two stages read it
                stage.__dict__["key"] = stage._digest()
        return self._digest()

    def _digest(self) -> str:
        return digest_json(
            {
                "kind": self.action,  # "kind": the word of the first stores; another one would change every key
                "version": self.VERSION,
                "settings": self.settings,
                "seed": self.seed,
                # keys of inputs hold keys of theirs: one digest stands for the whole history
                "inputs": {name: stage.key for name, stage in self.inputs.items()},
            }
        )

    def __eq__(self, other: object) -> bool:
        """Compare by key."""
        return isinstance(other, Stage) and self.key == other.key

    def __hash__(self) -> int:
        """Hash the key."""
        return hash(self.key)

    def described(self) -> dict[str, Any]:
        """Return all fields as JSON values, inputs as keys, for `restored`."""
        values: dict[str, Any] = {}
        for name, adapter in _adapters(type(self)).items():
            value = getattr(self, name)
            values[name] = adapter.dump_python(value, mode="json") if adapter else _keys_of(value)
        return values

    @classmethod
    def restored(cls, values: Mapping[str, Any], known: Mapping[str, Stage], *, key: str) -> Self:
        """Make a stage from what `described` returned.

        Args:
            values: its fields.
            known: key -> stage of the inputs.
            key: under which its result is stored, also where this version would compute another.

        Raises:
            InputError: an input or a field is missing, as in a store of another version.
        """
        made: dict[str, Any] = {}
        try:
            for name, adapter in _adapters(cls).items():
                if name not in values:
                    continue  # a field that a later version added: its default
                value = values[name]
                made[name] = adapter.validate_python(value) if adapter else _stages_of(value, known)
            stage = cls(**made)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the stored stage {cls.action!r} is of another version, or an input of it is gone ({error}); run it "
                "again, or use --from-scores"
            ) from error
        # `key` is a cached property, and the class is frozen: the value goes into the instance's dictionary, where the
        # property looks first.
        stage.__dict__["key"] = key  # a cached property
        return stage


class FaceStage(Stage):
    """A stage whose result is a FaceSet."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ForgedStage(FaceStage):
    """A stage whose result is the forgeries of a generator, or of what stands for it.

    Attributes:
        forger: name of the generator in the run, with its snapshot, e.g. "dcgan@24k".
        counts: split -> images.
    """

    optional = True

    forger: str
    counts: dict[str, int]

    @property
    def label(self) -> str:
        """Return the generator with its snapshot."""
        return self.forger


class Collecting(Stage):
    """A stage that does with what is there where others failed."""

    @abstractmethod
    def without_failed(
        self, there: Collection[str], failures: Mapping[str, str], replaced: Mapping[str, Stage]
    ) -> Collecting:
        """Return the stage of what is there; asked for again it has another key.

        Args:
            there: keys of the results there are.
            failures: name of a stage that failed -> its error.
            replaced: key -> what stands in place of an input that was reduced itself.
        """


# What follows is asked for by every stage of a plan, of which there may be 100,000: answered once per class.


@cache
def _input_names(stage_class: type[Stage]) -> tuple[tuple[str, str], ...]:
    """Return every field, and the name under which the key holds its stages, if it has any."""
    return tuple((each.name, str(each.metadata.get("input", each.name))) for each in fields(stage_class))


def _shape(value: object) -> type | None:
    """Return in which form a value holds stages: Stage, Mapping or tuple; None: it cannot."""
    value_class: Any = type(value)  # Any: mypy takes a class for unhashable
    return _shape_of_class(value_class)


@cache
def _shape_of_class(value_class: type) -> type | None:
    return next((shape for shape in (Stage, Mapping, tuple) if issubclass(value_class, shape)), None)


@cache
def _adapters(stage_class: type[Stage]) -> dict[str, TypeAdapter[Any] | None]:
    """Return the conversion of every field to and from JSON; None: it holds stages."""
    hints = get_type_hints(stage_class)  # annotations are text (PEP 563)
    return {
        each.name: None if _is_input(hints[each.name]) else TypeAdapter(hints[each.name])
        for each in fields(stage_class)
    }


def _keys_of(value: Any) -> Any:  # noqa: ANN401 - a stage, a mapping or a tuple of stages, or None
    if isinstance(value, Mapping):
        return {name: stage.key for name, stage in value.items()}
    # `value and …`: an optional input is None, and stays None.
    return [stage.key for stage in value] if isinstance(value, tuple) else value and value.key


def _stages_of(value: Any, known: Mapping[str, Stage]) -> Any:  # noqa: ANN401 - what `_keys_of` returned
    if isinstance(value, Mapping):
        return {name: known[key] for name, key in value.items()}
    return tuple(known[key] for key in value) if isinstance(value, list) else value and known[value]


def _is_input(hint: Any) -> bool:  # noqa: ANN401 - a type
    # X | None, tuple[X, ...] and Mapping[str, X] carry theirs in __args__
    if isinstance(hint, type) and issubclass(hint, Stage):
        return True
    return any(_is_input(part) for part in getattr(hint, "__args__", ()))
