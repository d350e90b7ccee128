"""The interface of engines: tasks that a driver gives them, events that they answer with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from benchmarks.workflow.stage import Context, Stage
from benchmarks.workflow.store import Store
from forge.core.errors import BenchError
from forge.core.progress import ProgressEvent


@dataclass(frozen=True)
class Task:
    """Stages that a worker runs one after another; picklable.

    Attributes:
        stages: more than one only where each is short; none reads the result of another.
        folders: key -> directory, of all inputs.
        threads: of torch and BLAS, set in the worker and recorded in manifests.
        memory_mb: highest memory of similar stages, in MiB; None: not known.
        device: "cpu", "cuda" or "cuda:N".
        seconds: expected duration; None: not known.
        patient: wait for another process that works on a stage, instead of answering with `Busy`.
    """

    stages: tuple[Stage, ...]
    folders: Mapping[str, Path]
    threads: int
    memory_mb: float | None = None
    device: str = "cpu"
    seconds: float | None = None
    patient: bool = True


@dataclass(frozen=True)
class Started:
    """A stage begins; `worker` says where, for people."""

    key: str
    worker: str = ""


@dataclass(frozen=True)
class Progressed:
    """A stage reports progress."""

    key: str
    event: ProgressEvent


@dataclass(frozen=True)
class Noted:
    """A sentence that a person should know."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The result of a stage is there; `cached`: it was there already, or another process made it."""

    key: str
    folder: Path
    cached: bool
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A stage failed; `system`: the operating system refused, e.g. a full disk, which stops the whole run."""

    key: str
    error: BenchError
    system: bool = False


@dataclass(frozen=True)
class Busy:
    """Another process works on a stage, and the task is not patient."""

    key: str


@dataclass(frozen=True)
class Lost:
    """A worker died before it finished these stages; `reason` completes "the worker …"."""

    keys: tuple[str, ...]
    reason: str


Event = Started | Progressed | Noted | Finished | Failed | Busy | Lost
Tell = Callable[[Event], None]


@dataclass(frozen=True)
class EngineOptions:
    """How an engine works; nothing of it is part of a key.

    Attributes:
        jobs: tasks at a time.
        threads: of each.
        devices: GPUs, each of which has at most one task that computes on it at a time; empty: none.
        address: of a cluster, for engines that have one.
    """

    jobs: int = 1
    threads: int = 1
    devices: tuple[str, ...] = field(default=())
    address: str = ""


class Engine(ABC):
    """Runs tasks somewhere; a context manager, none of whose workers is left ten seconds after its end.

    Attributes:
        name: for people and `--engine`.
        in_process: whether stages run in this process, which then handles signals itself.
    """

    name: ClassVar[str]
    in_process: ClassVar[bool] = False

    def __init__(self, store: Store, context: Context, options: EngineOptions) -> None:
        self.store, self.context, self.options = store, context, options

    @property
    @abstractmethod
    def slots(self) -> int:
        """Return how many tasks may be under way at once."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Take a task; at most `slots` are under way. Workers are started no earlier than here."""

    @abstractmethod
    def wait(self, seconds: float, tell: Tell) -> None:
        """Tell what happened, waiting at most `seconds` for something to happen; an engine in this process works here.

        Each stage of a task ends with `Finished`, `Failed`, `Busy` or `Lost`.
        """

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers: stages under way save a checkpoint, then every process ends."""
