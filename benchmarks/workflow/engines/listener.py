"""The driver's side of tasks that run elsewhere: their logs while they run, their answers at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.workflow.engines.base import Event, Failed, Finished, Lost, Noted, Task, Tell
from benchmarks.workflow.engines.event_log import SUFFIX, EventReader
from benchmarks.workflow.engines.remote_worker import Answer
from benchmarks.workflow.engines.site import Site
from benchmarks.workflow.engines.travel import unpack
from benchmarks.workflow.store import Store
from forge.core.errors import BenchError
from forge.core.files import explain_os_error


@dataclass
class _Heard:
    task: Task
    notes: int = 0  # of its log, that were told


class Listener:
    """Tells a driver what becomes of tasks.

    Args:
        store: of the driver; results that travel are published there.
        site: of the run.
    """

    def __init__(self, store: Store, site: Site) -> None:
        self._store, self._site = store, site
        self._log = EventReader(site.folder)
        self._tasks: dict[str, _Heard] = {}

    def expect(self, number: str, task: Task) -> None:
        """Begin to follow a task."""
        self._tasks[number] = _Heard(task)

    def follow(self, tell: Tell) -> None:
        """Tell beginnings, progress and notes of all tasks since the last call."""
        for number, event in self._log.poll():
            if number in self._tasks:
                self._tasks[number].notes += isinstance(event, Noted)
                tell(event)

    def answered(self, number: str, answer: Answer, tell: Tell) -> None:
        """Tell the end of a task that answered; its log is told first."""
        self.follow(tell)
        heard = self._end(number)
        unheard = answer.notes[heard.notes :]
        for event in (*unheard, *(self._received(event, heard.task, answer) for event in answer.ends)):
            tell(event)

    def lost(self, number: str, reason: str, tell: Tell) -> None:
        """Tell that the worker of a task died; `reason` completes "the worker …"."""
        self.follow(tell)
        tell(Lost(tuple(stage.key for stage in self._end(number).task.stages), reason))

    def failed(self, number: str, error: BenchError, tell: Tell) -> None:
        """Tell that no worker could take a task."""
        for stage in self._end(number).task.stages:
            tell(Failed(stage.key, error))

    def _end(self, number: str) -> _Heard:
        self._log.forget(self._site.folder / f"{number}{SUFFIX}")
        return self._tasks.pop(number)

    def _received(self, event: Event, task: Task, answer: Answer) -> Event:
        """Return the end of a stage as the driver's store shows it."""
        if not isinstance(event, Finished):
            return event
        stage = next(stage for stage in task.stages if stage.key == event.key)
        if event.key in answer.packages:
            try:
                unpack(answer.packages[event.key], stage, self._store)
            except OSError as error:
                return Failed(event.key, explain_os_error(error), system=True)
            except BenchError as error:
                return Failed(event.key, error)
        return replace(event, folder=self._store.folder(stage.action, stage.key))
