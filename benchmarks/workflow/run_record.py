"""Record of a run under way, a file that other processes read: STORE/runs/NAME.HOST.PID.json.

The driver writes it every two seconds, and once more at its end. It changes nothing of the run, and without it nothing
is lost.
"""

from __future__ import annotations

import math
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from benchmarks.workflow.observer import Observer
from benchmarks.workflow.stage import Activity
from forge.core.errors import BenchError
from forge.core.files import read_json, replacing
from forge.core.progress import ProgressEvent

HEARTBEAT_SECONDS = 2.0
STALE_SECONDS = 60.0  # without a heartbeat, after which a run on another machine counts as dead
LOG_LINES = 200
MAX_RUNNING = 1000  # stages under way that a record lists


class RunningStage(BaseModel):
    """A stage under way."""

    name: str = Field(description="e.g. 'train dcgan'")
    action: str = Field(description="e.g. 'train'")
    key: str = Field(description="STORE/work/KEY[:16] holds its checkpoints and sample grids")
    worker: str = Field("", description="where it runs, for people; empty: in the driver's process")
    begun: float = Field(description="seconds since 1970, UTC")
    done: int = Field(0, description="units finished")
    total: int = Field(0, description="units in all; 0: nothing reported yet")
    unit: str = Field("", description="what is counted, e.g. 'images'")
    values: dict[str, float] = Field({}, description="readings, e.g. losses; finite numbers alone")
    note: str = Field("", description="a few words, e.g. where the newest sample grid lies")


class ActionCount(BaseModel):
    """Counts of the stages of one action."""

    total: int = Field(0, description="stages that the run needs")
    todo: int = Field(0, description="of these, those that had no result when it began")
    done: int = Field(0, description="results that are there, cached ones with them")
    ran: int = Field(0, description="results that this run made")
    seconds: float = Field(0.0, description="that these took in all")


class RunRecord(BaseModel):
    """A run under way, or how it ended."""

    format: int = 1
    name: str = Field(description="of the run and its report folder")
    state: Literal["running", "finished", "stopped", "failed"] = Field(
        "running", description="'stopped': by Ctrl-C; 'running' of a dead process: it was killed"
    )
    error: str = Field("", description="the sentence of a failure")
    host: str
    pid: int
    command: str = Field(description="that asks for the run again")
    report: str = Field(description="folder that the report goes to")
    engine: str
    jobs: int = Field(description="stages at a time; 0: as the engine decides")
    threads: int
    device: str
    begun: float = Field(description="seconds since 1970, UTC")
    updated: float = Field(description="last heartbeat, likewise")
    actions: dict[str, ActionCount] = Field({}, description="action -> counts, in the order of the plan")
    running: list[RunningStage] = Field([], description="stages under way, the oldest first")
    log: list[str] = Field([], description="last lines, each 'HH:MM:SS text' in local time")

    def is_alive(self) -> bool:
        """Return whether the driver still runs: by its process here, by its heartbeat on another machine."""
        if self.state != "running":
            return False
        if self.host != platform.node():
            return time.time() - self.updated < STALE_SECONDS
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # of another user
            return True
        return True


def read_records(store: Path) -> list[RunRecord]:
    """Return the records of a store, the newest run first; files that cannot be read are left out."""
    records = []
    for file in sorted(store.glob("runs/*.json")):
        with suppress(BenchError, OSError, ValidationError):
            records.append(RunRecord.model_validate(read_json(file)))
    return sorted(records, key=lambda record: -record.begun)


class Recorder:
    """An observer that keeps a record and passes everything on to another one.

    Args:
        record: as the run begins.
        observer: shows the run to people.
    """

    def __init__(self, record: RunRecord, observer: Observer) -> None:
        self.record, self._observer = record, observer
        self._lock = threading.Lock()  # the heartbeat reads what the run changes
        self._running: dict[str, RunningStage] = {}
        self._log: deque[str] = deque(maxlen=LOG_LINES)

    def planned(self, stages: Sequence[Activity], todo: Collection[str]) -> None:
        """Count the stages of each action."""
        with self._lock:
            for stage in stages:
                count = self.record.actions.setdefault(stage.action, ActionCount())
                count.total += 1
                count.todo += stage.key in todo
        self._observer.planned(stages, todo)

    def started(self, stage: Activity, worker: str = "") -> None:
        """List the stage as under way."""
        with self._lock:
            self._running[stage.key] = RunningStage(
                name=stage.name, action=stage.action, key=stage.key, worker=worker, begun=time.time()
            )
        self._observer.started(stage, worker)

    def progressed(self, stage: Activity, event: ProgressEvent) -> None:
        """Keep the newest progress."""
        with self._lock:
            running = self._running.get(stage.key)
            if running is not None:
                running.done, running.total, running.unit = event.done, event.total, event.unit
                # JSON has no NaN, which a diverging training reports
                running.values = {name: float(value) for name, value in event.values.items() if math.isfinite(value)}
                running.note = event.note or running.note
        self._observer.progressed(stage, event)

    def finished(self, stage: Activity, *, cached: bool, seconds: float) -> None:
        """Count the stage."""
        with self._lock:
            self._running.pop(stage.key, None)
            count = self.record.actions.setdefault(stage.action, ActionCount(total=1, todo=1))
            count.done += 1
            if not cached:
                count.ran += 1
                count.seconds += seconds
                self._log.append(_line(f"{stage.name}: done in {seconds:.1f} s"))
        self._observer.finished(stage, cached=cached, seconds=seconds)

    def ended(self, stage: Activity) -> None:
        """Take a stage off the list that ended without a result."""
        with self._lock:
            self._running.pop(stage.key, None)
        self._observer.ended(stage)

    def noted(self, text: str) -> None:
        """Keep a note in the log."""
        with self._lock:
            self._log.append(_line(text))
        self._observer.noted(text)

    def text(self) -> str:
        """Return the record as it is now, as JSON."""
        with self._lock:
            running = sorted(self._running.values(), key=lambda stage: stage.begun)[:MAX_RUNNING]
            now = {"updated": time.time(), "running": running, "log": list(self._log)}
            return self.record.model_copy(update=now).model_dump_json(indent=1)


@contextmanager
def recorded(record: RunRecord, store: Path, observer: Observer) -> Iterator[Recorder]:
    """Yield an observer whose record is written every two seconds, and at the end with how the run ended.

    Records of earlier runs of this name that are over are removed.
    """
    for other in store.glob("runs/*.json"):
        with suppress(BenchError, OSError, ValidationError):
            earlier = RunRecord.model_validate(read_json(other))
            if earlier.name == record.name and not earlier.is_alive():
                other.unlink()
    recorder, over = Recorder(record, observer), threading.Event()
    file = store / "runs" / f"{record.name}.{record.host}.{record.pid}.json"

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            _write(file, recorder.text)

    _write(file, recorder.text)
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield recorder
    except KeyboardInterrupt:
        record.state = "stopped"
        raise
    except BaseException as error:
        record.state, record.error = "failed", str(error)
        raise
    else:
        record.state = "finished"
    finally:
        over.set()
        heart.join()
        _write(file, recorder.text)


def _write(file: Path, text: Callable[[], str]) -> None:
    with suppress(OSError), replacing(file) as temporary:  # a full disk stops stages, with a better sentence
        temporary.write_text(text(), encoding="utf-8")


def _line(text: str) -> str:
    return f"{time.strftime('%H:%M:%S')} {text}"
