"""A worker process of the local engine: takes tasks from a pipe, runs them, answers with events."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TextIO

from benchmarks.workflow.engines.base import Event, Noted, Progressed, Task, Tell
from benchmarks.workflow.execution import run_task
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.compute import set_threads, tune_allocator
from forge.core.errors import BenchWarning
from forge.core.registry import allow_paths, load_modules

PROGRESS_SECONDS = 0.2  # between two events of progress that travel
GRACE_SECONDS = 8.0  # for a checkpoint after the end of the driver


@dataclass(frozen=True)
class Setup:
    """What a worker is told once.

    Attributes:
        name: of the worker, for people.
        device: GPU that it computes on, for CUDA_VISIBLE_DEVICES; empty: as the driver.
        threads: of torch and BLAS.
        allowed: Python files that the user allows as code.
        loaded: those of them that the driver has imported, in this order.
        run: pickled store and context; read once the files above are imported, whose classes may be in it.
    """

    name: str
    device: str
    threads: int
    allowed: tuple[Path, ...]
    loaded: tuple[Path, ...]
    run: bytes


@dataclass(frozen=True)
class Ready:
    """The worker has started."""


@dataclass(frozen=True)
class Refused:
    """The worker cannot work on this run."""

    reason: str


def work(connection: Connection, setup: Setup) -> None:
    """Run tasks from a pipe until None comes or the driver ends.

    Args:
        connection: gives tasks; takes `Ready` or `Refused`, then events.
        setup: of this worker.
    """
    with suppress(OSError):  # a session of its own: the terminal sends Ctrl-C to the driver alone
        os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    tell = _Pipe(connection)
    try:
        store, context = _prepare(setup)
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises: the driver says it
        tell.send(Refused(f"{type(error).__name__}: {error}"))
        return
    warnings.showwarning = noting(tell)
    tell.send(Ready())
    with suppress(KeyboardInterrupt, EOFError, OSError):  # told to stop, or the driver is gone
        while (task := connection.recv()) is not None:
            _run(task, setup, store, context, tell)


def _prepare(setup: Setup) -> tuple[Store, Context]:
    if setup.device:
        os.environ["CUDA_VISIBLE_DEVICES"] = setup.device  # read when CUDA begins, which it has not yet
    tune_allocator()
    set_threads(setup.threads)
    allow_paths(setup.allowed)
    load_modules(setup.loaded)
    store, context = pickle.loads(setup.run)
    return store, context


def _run(task: Task, setup: Setup, store: Store, context: Context, tell: _Pipe) -> None:
    set_threads(task.threads)
    if setup.device and task.device.startswith("cuda"):
        task = replace(task, device="cuda")  # the only one that this process sees
    run_task(task, store, context, tell, worker=setup.name)


class _Pipe:
    """Sends events to the driver; progress not more often than it can be seen."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Send an event."""
        if isinstance(event, Progressed) and event.event.done < event.event.total:
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + PROGRESS_SECONDS
        self.send(event)

    def send(self, message: object) -> None:
        """Send anything, if the driver is there."""
        # Without a driver the stage under way goes on until its checkpoint; `_leave_with_parent` ends it.
        with self._lock, suppress(OSError):
            self._connection.send(message)


def noting(tell: Tell) -> Callable[..., None]:
    """Return what takes the place of `warnings.showwarning`: the driver shows what the bench warns of."""
    show = warnings.showwarning

    def note(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, BenchWarning):
            tell(Noted(f"note: {message}"))
        else:
            show(message, category, filename, lineno, file, line)

    return note


def _leave_with_parent() -> None:
    """End this process when its driver does, even by `kill -9`; a training saves a checkpoint first."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    wait([parent.sentinel])  # readable once the parent is gone
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    os._exit(1)  # not sys.exit, which would end this thread only
