"""The Slurm engine: groups of tasks as jobs of a cluster, submitted by submitit; all nodes see the store.

submitit hands tasks and answers over as pickles in the engine's folder of the store, which is readable for its user
alone.
"""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import count
from types import TracebackType
from typing import Any, Self

import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError

from benchmarks.workflow.engines.base import Engine, EngineOptions, Task, Tell
from benchmarks.workflow.engines.listener import Listener
from benchmarks.workflow.engines.remote_worker import Answer, work
from benchmarks.workflow.engines.site import Site, opened, pickled
from benchmarks.workflow.engines.slurm_options import groups, parameters, refuse_unusable
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.errors import InputError, quoted

MOST_TASKS = 100  # submitted at once, where --jobs says nothing
LOOK_SECONDS = 0.2  # between two looks at the answers of jobs
END_SECONDS = 8.0  # in which cancelled jobs of this machine end


def run_group(numbered: list[tuple[str, Task]], site: Site, context: bytes) -> list[Answer]:
    """Run the tasks of a job one after another."""
    return [work(number, task, site, context, {}) for number, task in numbered]


@dataclass
class _Job:
    numbered: list[tuple[str, Task]]
    submitted: Any  # submitit's


class SlurmEngine(Engine):
    """Runs groups of tasks as jobs; `--slurm cluster=local` runs the jobs on this machine, as a trial."""

    name = "slurm"

    def __init__(self, store: Store, context: Context, options: EngineOptions) -> None:
        super().__init__(store, context, options)
        refuse_unusable(options.slurm)
        self._undo = ExitStack()
        self._numbers = count()
        self._waiting: list[Task] = []  # not in a job yet
        self._jobs: list[_Job] = []

    def __enter__(self) -> Self:
        """Find Slurm.

        Raises:
            InputError: there is none on this machine.
        """
        cluster = self.options.slurm.get("cluster", "slurm")
        if cluster == "slurm" and shutil.which("srun") is None:
            raise InputError(
                "--engine slurm found no srun on this machine; run it on a login node of the cluster, or try it here "
                "with --slurm cluster=local"
            )
        with ExitStack() as undo:
            self._site = undo.enter_context(opened(self.store, self.name))
            self._context = pickled(self.context)
            self._listener = Listener(self.store, self._site)
            self._executor = submitit.AutoExecutor(self._site.folder / "jobs", cluster=cluster)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel the jobs that are queued or running."""
        with self._undo:
            for job in self._jobs:
                with suppress(Exception):  # scancel fails for jobs that ended in this moment
                    job.submitted.cancel(check=False)
            deadline = time.monotonic() + END_SECONDS
            while self.options.slurm.get("cluster") == "local" and time.monotonic() < deadline:
                if all(job.submitted.done() for job in self._jobs):
                    break
                time.sleep(LOOK_SECONDS)

    @property
    def slots(self) -> int:
        """Return how many tasks may be in jobs at once."""
        return self.options.jobs or MOST_TASKS

    def submit(self, task: Task) -> None:
        """Keep a task until `wait` puts it in a job, with others if it is short."""
        self._waiting.append(task)

    def wait(self, seconds: float, tell: Tell) -> None:
        """Submit jobs, and tell what happened to earlier ones."""
        tasks, self._waiting = self._waiting, []
        for group in groups(tasks):
            self._start(group)
        deadline = time.monotonic() + seconds
        while True:
            self._listener.follow(tell)
            ended = [job for job in self._jobs if job.submitted.done()]
            for job in ended:
                self._jobs.remove(job)
                self._end(job, tell)
            if ended or time.monotonic() >= deadline:
                return
            time.sleep(min(LOOK_SECONDS, seconds))

    def _start(self, group: list[Task]) -> None:
        """Submit a job.

        Raises:
            InputError: Slurm refused it.
        """
        numbered: list[tuple[str, Task]] = []
        on_gpu = False
        for task in group:
            gpu = task.device.startswith("cuda") and any(stage.computes for stage in task.stages)
            on_gpu |= gpu
            # Slurm shows a job its own GPU alone
            folders = {key: folder.resolve() for key, folder in task.folders.items()}
            numbered.append(
                (f"{next(self._numbers):06}", replace(task, folders=folders, device="cuda" if gpu else "cpu"))
            )
        self._executor.update_parameters(**parameters(group, self.options.slurm, gpu=on_gpu))
        try:
            submitted = self._executor.submit(run_group, numbered, self._site, self._context)
        except (submitit.core.utils.FailedSubmissionError, RuntimeError) as error:
            text = quoted(" ".join(str(error).split())[-200:])
            raise InputError(f"Slurm refused a job: {text}; --slurm partition=…,account=… chooses others") from error
        for number, task in numbered:
            self._listener.expect(number, task)
        self._jobs.append(_Job(numbered, submitted))

    def _end(self, job: _Job, tell: Tell) -> None:
        try:
            answers: list[Answer] = job.submitted.result()
        except UncompletedJobError:
            reason = f"ended with its job {job.submitted.job_id} ({job.submitted.state})"
        except FailedJobError as error:
            reason = f"failed: {quoted(str(error).strip().splitlines()[-1])}"
        else:
            for (number, _), answer in zip(job.numbered, answers, strict=True):
                self._listener.answered(number, answer, tell)
            return
        for number, task in job.numbered:
            self._listener.lost(number, reason + self._log_of(job, task), tell)

    def _log_of(self, job: _Job, task: Task) -> str:
        """Keep what a lost job printed beside the checkpoints of its stage; returns where, as the end of a sentence."""
        kept = self.store.work(task.stages[0].key) / "job.log"
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(job.submitted.paths.stderr, kept)
        except OSError:
            return ""
        return f"; it printed {kept}"
