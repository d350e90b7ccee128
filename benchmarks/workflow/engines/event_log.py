"""Events of workers elsewhere: each task appends lines to a file, which the driver follows.

Files and no messages, so that one way serves every engine whose workers see the store. What decides the run (results,
failures) travels with the answer of a task; a line that is late or lost costs a moment of the progress shown.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmarks.workflow.engines.base import Event, Noted, Progressed, Started
from forge.core.errors import BenchError
from forge.core.files import open_regular, parse_json
from forge.core.progress import ProgressEvent

SUFFIX = ".events"
PAUSE_SECONDS = 0.25  # between two lines of progress of one task
MAX_BYTES = 1 << 20  # of new lines of one file that a call of `poll` reads
_PROGRESS = TypeAdapter(ProgressEvent)


class EventWriter:
    """Appends beginnings, progress and notes of one task to its file.

    Args:
        path: of the file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said = 0.0  # when progress was last written

    def __call__(self, event: Event) -> None:
        """Append an event that people see while the task runs; others, and progress that comes too fast, are dropped.

        An error of the operating system is ignored: a full disk must not end a stage that could still finish.
        """
        values: dict[str, Any]
        if isinstance(event, Started):
            values = {"begins": event.key, "worker": event.worker}
        elif isinstance(event, Noted):
            values = {"note": event.text}
        elif isinstance(event, Progressed):
            now = time.monotonic()
            if now - self._said < PAUSE_SECONDS and event.event.done < event.event.total:
                return
            self._said = now
            values = {"key": event.key, **asdict(event.event)}
        else:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")  # one call of write: lines are whole
        except OSError:
            return


class EventReader:
    """Follows the files of a folder.

    Args:
        folder: that `EventWriter`s of the tasks write to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}  # file -> bytes that were read of it

    def poll(self) -> list[tuple[str, Event]]:
        """Return name of the file and event, of all since the last call, those of one task in their order.

        Damaged lines are left out.
        """
        events: list[tuple[str, Event]] = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            start = self._read.get(path, 0)
            try:
                if path.stat().st_size == start:
                    continue
                with open_regular(path) as file:
                    file.seek(start)
                    new = file.read(MAX_BYTES)
            except (OSError, BenchError):  # removed meanwhile
                continue
            whole = new[: new.rfind(b"\n") + 1]  # the last line may still be under way
            self._read[path] = start + len(whole)
            events += [(path.stem, event) for line in whole.splitlines() if (event := _parsed(line, path)) is not None]
        return events

    def forget(self, path: Path) -> None:
        """Remove the file of a task that ended."""
        path.unlink(missing_ok=True)
        self._read.pop(path, None)


def _parsed(line: bytes, path: Path) -> Event | None:
    try:
        values = parse_json(line.decode("utf-8"), path, finite=False)
        if "begins" in values:
            return Started(str(values["begins"]), str(values["worker"]))
        if "key" in values:
            key = str(values.pop("key"))
            return Progressed(key, _PROGRESS.validate_python(values))
        return Noted(str(values["note"]))
    except (BenchError, ValueError, KeyError, TypeError):
        return None
