"""Facts of a run for its workers elsewhere, and the folder in the store through which they are heard."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.workflow.engines.plugin_code import PluginCode, plugin_code
from benchmarks.workflow.program import program_digest
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.errors import InputError
from forge.core.progress import silent

HERE = "driver"  # file in the folder of a run's engine; a machine that sees it sees the store
OLD_SECONDS = 30 * 24 * 3600  # after which the folder of a driver that was killed is removed


@dataclass(frozen=True)
class Site:
    """What all tasks of a run share; picklable.

    Attributes:
        store: folder of the store, absolute.
        folder: of this run's engine in it: `HERE`, and the events of tasks.
        directory: in which the driver runs, where relative paths begin.
        program: digest of the driver's program: another one could compute something else.
        plugins: the code of plug-ins that the user allows.
        ship_bytes: results up to this size travel to and from machines that do not see the store; 0: none does.
    """

    store: Path
    folder: Path
    directory: Path
    program: str
    plugins: PluginCode
    ship_bytes: int = 0

    @property
    def seen(self) -> bool:
        """Whether this machine sees the store."""
        return (self.folder / HERE).is_file()

    @property
    def elsewhere(self) -> Path:
        """Folder that takes the store's place on a machine that does not see it; removed when the run ends."""
        return Path(tempfile.gettempdir()) / f"bench-{self.folder.name}"

    def unfit(self) -> str | None:
        """Return why this process cannot work for the run, as the end of "the worker …"; None: it can."""
        name = socket.gethostname()
        if our_program() != self.program:
            return (
                f"on {name} has another version of this program, which would compute something else; install the same "
                "one there, and edit no file of it while a run is under way"
            )
        if not self.seen and not self.ship_bytes:
            return (
                f"on {name} does not see the store {self.store}; mount it there under this path, or let small results "
                "travel: --ship-below 100"
            )
        return None


def our_program() -> str:
    """Return the digest of the program of this process."""
    return program_digest("forge", "detect", "benchmarks")


def pickled(context: Context) -> bytes:
    """Return a context for workers elsewhere, without what shows its progress here.

    Raises:
        InputError: its source cannot be pickled.
    """
    try:
        return pickle.dumps(replace(context, on_progress=silent))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise InputError(
            f"the source of this run cannot be sent to other machines ({error}); use --engine local --jobs 1, or let "
            "it hold nothing but values that Python's pickle takes"
        ) from error


@contextmanager
def opened(store: Store, engine: str, *, ship_bytes: int = 0) -> Iterator[Site]:
    """Make the folder of a run's engine in a store, and remove it at the end.

    Args:
        store: of the run.
        engine: its name.
        ship_bytes: as of `Site`.

    Raises:
        InputError: a plug-in is not Python.
        OSError: the store cannot be written to.
    """
    root = store.root.resolve()
    _tidy(root)
    folder = root / "engines" / f"{engine}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True, mode=0o700)  # what an engine writes here may be run by its workers
    try:
        (folder / HERE).write_text(f"{socket.gethostname()} {os.getpid()}\n", encoding="utf-8")
        yield Site(root, folder, Path.cwd(), our_program(), plugin_code(), ship_bytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()  # unless another run has one


def _tidy(root: Path) -> None:
    for mark in root.glob(f"engines/*/{HERE}"):
        with suppress(OSError):
            if time.time() - mark.stat().st_mtime > OLD_SECONDS:
                shutil.rmtree(mark.parent, ignore_errors=True)
