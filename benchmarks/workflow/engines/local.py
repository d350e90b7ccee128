"""The local engine: a pool of worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess, SpawnProcess
from types import TracebackType

from benchmarks.workflow.engines.base import Busy, Engine, EngineOptions, Event, Failed, Finished, Lost, Task, Tell
from benchmarks.workflow.engines.fork_server import start_fork_server
from benchmarks.workflow.engines.worker import Ready, Refused, Setup, work
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.errors import BenchError, InputError
from forge.core.progress import silent
from forge.core.registry import allowed_paths, loaded_paths

GRACE_SECONDS = 8.0  # for checkpoints after Ctrl-C; then workers are killed
_LAUNCHES = 5  # of a worker, where the process that it is forked from is killed meanwhile
_LAUNCH_PAUSE = 0.2  # seconds in which the end of that process shows


@dataclass(eq=False)
class _Worker:
    """A process and what it works on."""

    process: ForkServerProcess | SpawnProcess
    connection: Connection
    name: str
    device: str
    ready: bool = False
    open: set[str] = field(default_factory=set)  # keys of its task that have not ended


class LocalEngine(Engine):
    """Runs tasks in processes that are started as they are needed, each with threads and a GPU of its own.

    On Linux workers are forked from a server that has imported torch once; elsewhere, and in a process that ran with
    another number of threads before, each is spawned.

    Raises:
        InputError: the source or the context of the run cannot be sent to another process.
    """

    name = "local"

    def __init__(self, store: Store, context: Context, options: EngineOptions) -> None:
        super().__init__(store, context, options)
        self._workers: list[_Worker] = []
        self._number = 0
        # photos are read by all workers at once: together they start no more processes than were asked for
        context = replace(context, on_progress=silent, workers=max(1, context.workers // options.jobs))
        try:
            self._run = pickle.dumps((store, context))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise InputError(
                f"the source of this run cannot be sent to other processes ({error}); use --jobs 1, or let it hold "
                "nothing but values that Python's pickle takes"
            ) from error
        # the server imports while the driver looks through the store
        self._process: type[ForkServerProcess] | type[SpawnProcess] = (
            ForkServerProcess if start_fork_server(options.threads) else SpawnProcess
        )

    @property
    def slots(self) -> int:
        """Return the number of jobs."""
        return self.options.jobs

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker, of the task's GPU where it computes on it; start one where there is none."""
        idle = [worker for worker in self._workers if not worker.open]
        bound = task.device if task.device in self.options.devices else ""
        fitting = [worker for worker in idle if not bound or worker.device == bound]
        if not fitting and idle and len(self._workers) >= self.options.jobs:
            self._retire(idle[0])  # of another GPU
        worker = fitting[0] if fitting else self._start(bound or self._spare_device())
        worker.open = {stage.key for stage in task.stages}
        with suppress(OSError):  # it is dead, which `wait` notes
            worker.connection.send(task)

    def wait(self, seconds: float, tell: Tell) -> None:
        """Tell what workers report, and which of them died."""
        handles = [handle for worker in self._workers for handle in (worker.connection, worker.process.sentinel)]
        ready = wait(handles, timeout=seconds)
        for worker in [each for each in self._workers if each.connection in ready or each.process.sentinel in ready]:
            self._read(worker, tell)
            if not worker.process.is_alive():
                self._read(worker, tell)  # what it sent before its end
                self._bury(worker, tell)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End idle workers at once; interrupt the others, give them time for a checkpoint, then kill what is left."""
        try:
            for worker in self._workers:
                with suppress(BenchError):
                    self._read(worker, _ignore)
                if not worker.ready:  # it has nothing to save yet
                    worker.process.kill()
                elif worker.open:
                    _signal(worker, signal.SIGINT)
                else:
                    _dismiss(worker)
            self._await_ends()
        finally:  # also after a second Ctrl-C
            for worker in self._workers:
                _kill(worker)
            self._workers.clear()

    def _await_ends(self) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        while alive := [worker for worker in self._workers if worker.process.is_alive()]:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            wait([handle for worker in alive for handle in (worker.connection, worker.process.sentinel)], timeout=left)
            for worker in alive:  # read on: a worker whose pipe is full would never reach its checkpoint
                self._read(worker, _ignore)

    def _spare_device(self) -> str:
        """Return the GPU that the fewest workers are bound to."""
        bound = [worker.device for worker in self._workers]
        return min(self.options.devices, key=bound.count, default="")

    def _start(self, device: str) -> _Worker:
        """Start a worker, from a new server of forks where the one that was to fork it is killed meanwhile.

        Raises:
            BenchError: it was killed each time.
        """
        self._number += 1
        name = f"worker {self._number}" + (f" on {device}" if device else "")
        setup = Setup(
            name, _visible(device), self.options.threads, tuple(allowed_paths()), tuple(loaded_paths()), self._run
        )
        for _ in range(_LAUNCHES):
            try:
                worker = self._launched(setup, device)
            except (EOFError, ConnectionError):
                if self._process is not ForkServerProcess:
                    raise
                time.sleep(_LAUNCH_PAUSE)
            else:
                self._workers.append(worker)
                return worker
        raise BenchError(
            f"no worker could be started: the process that they are forked from was killed {_LAUNCHES} times, most "
            "likely because memory ran out; use --jobs 1"
        )

    def _launched(self, setup: Setup, device: str) -> _Worker:
        """Start a process with a pipe of its own: one that was forked before its server died has another one."""
        if self._process is ForkServerProcess:
            start_fork_server(self.options.threads)
        near, far = multiprocessing.Pipe()
        try:
            # Not a daemon: daemons may have no processes of their own, and stages read photos in some.
            process = self._process(target=work, args=(far, setup), name=setup.name)
            process.start()
        except BaseException:
            near.close()
            raise
        finally:
            far.close()  # the worker has its copy; the end of that one is the end of the pipe
        return _Worker(process, near, setup.name, device)

    def _retire(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        _dismiss(worker)
        worker.process.join(GRACE_SECONDS)
        _kill(worker)

    def _read(self, worker: _Worker, tell: Tell) -> None:
        """Take what a worker sent."""
        try:
            while worker.connection.poll():
                message = worker.connection.recv()
                if isinstance(message, Ready):
                    worker.ready = True
                elif isinstance(message, Refused):
                    raise BenchError(f"a worker process cannot take part in this run ({message.reason}); use --jobs 1")
                else:
                    if isinstance(message, Finished | Failed | Busy):
                        worker.open.discard(message.key)
                    tell(message)
        except (EOFError, OSError):  # it is gone
            return

    def _bury(self, worker: _Worker, tell: Tell) -> None:
        """Tell what was lost with a dead worker."""
        self._workers.remove(worker)
        _kill(worker)  # it lives where only the server of forks, which tells of its end, was killed
        code = worker.process.exitcode
        if not worker.ready and code == 1:  # of an exception: Python could not begin in it
            raise BenchError(
                f"a worker process ended before it began ({_end(code)}); in a script, the call must "
                "stand below `if __name__ == '__main__':`; or use one job"
            )
        if worker.open:
            tell(Lost(tuple(worker.open), _end(code)))


def _ignore(event: Event) -> None:
    """Take note of nothing: the run is over."""


def _end(code: int | None) -> str:
    """Return how a process ended, to follow "its worker"."""
    if code == -signal.SIGKILL:
        return "was killed, most likely because memory ran out"
    return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"


def _visible(device: str) -> str:
    """Return the value of CUDA_VISIBLE_DEVICES that leaves a worker one GPU of those that the driver sees."""
    number = device.partition(":")[2]
    if not number:
        return ""
    listed = [entry.strip() for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    return listed[int(number)] if listed else number


def _signal(worker: _Worker, number: int) -> None:
    if worker.process.pid is not None and worker.process.is_alive():
        with suppress(ProcessLookupError):
            os.kill(worker.process.pid, number)


def _dismiss(worker: _Worker) -> None:
    """Let an idle worker end."""
    with suppress(OSError):
        worker.connection.send(None)


def _kill(worker: _Worker) -> None:
    """Kill a worker and the processes of its session."""
    with suppress(ProcessLookupError, PermissionError):
        if worker.process.pid is not None and os.getpgid(worker.process.pid) == worker.process.pid:
            os.killpg(worker.process.pid, signal.SIGKILL)
    if worker.process.is_alive():  # its session had not begun
        worker.process.kill()
    worker.process.join()
    worker.connection.close()
