"""Stages of a run: what each one reads, what its result depends on, and how one call of it is set up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
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
        for name, value in self._values():
            if value is None or isinstance(value, (str, int, float)):  # most; the checks below take longer
                continue
            # The names are part of the key: they say which role an input has, not only that it is one.
            if isinstance(value, Stage):
                inputs[name] = value
            elif isinstance(value, Mapping):
                inputs |= {f"{name} {key}": stage for key, stage in value.items() if isinstance(stage, Stage)}
            elif isinstance(value, tuple):
                inputs |= {f"{name} {stage.subject}": stage for stage in value if isinstance(stage, Stage)}
        return inputs

    @cached_property
    def key(self) -> str:
        """Return the digest of everything that decides the result; device and engine are not part of it."""
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
        hints = get_type_hints(type(self))  # annotations are text (PEP 563); resolved once for all fields
        values: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if _is_input(hints[each.name]):
                values[each.name] = _keys_of(value)
            else:
                values[each.name] = TypeAdapter(hints[each.name]).dump_python(value, mode="json")
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
        hints = get_type_hints(cls)
        made: dict[str, Any] = {}
        try:
            for each in fields(cls):
                if each.name not in values:
                    continue  # a field that a later version added: its default
                value = values[each.name]
                if _is_input(hints[each.name]):
                    made[each.name] = _stages_of(value, known)
                else:
                    made[each.name] = TypeAdapter(hints[each.name]).validate_python(value)
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

    def _values(self) -> Iterator[tuple[str, Any]]:
        for each in fields(self):
            yield str(each.metadata.get("input", each.name)), getattr(self, each.name)


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
