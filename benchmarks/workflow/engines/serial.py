"""The serial engine: one task after another in this process."""

from __future__ import annotations

from types import TracebackType

from benchmarks.workflow.engines.base import Engine, Task, Tell
from benchmarks.workflow.execution import run_task


class SerialEngine(Engine):
    """Runs each task in this process while the driver waits."""

    name = "serial"
    in_process = True
    slots = 1
    _task: Task | None = None

    def submit(self, task: Task) -> None:
        """Keep the task for the next `wait`."""
        self._task = task

    def wait(self, seconds: float, tell: Tell) -> None:
        """Run the task, however long it takes."""
        task, self._task = self._task, None
        if task is not None:
            run_task(task, self.store, self.context, tell)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: an error or Ctrl-C has ended the task already."""
