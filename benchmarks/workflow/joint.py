"""Stages that the processes of a `torchrun` compute together: trainings, and fits of detectors that are networks.

The first process runs the whole plan. The others sit in `follow` and are sent each such stage as it begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.workflow.stage import Context, Facts, Job
from forge.core.errors import DivergedError

if TYPE_CHECKING:
    from forge.core.distributed import ProcessGroup

_FAILED: set[str] = set()  # keys of the stages that failed in this process


class JointStage(Protocol):
    """A stage that several processes compute together."""

    @property
    def key(self) -> str:
        """Return what tells it from others."""

    def jointly(self, job: Job, processes: ProcessGroup) -> Facts:
        """Compute this process's share; the first process alone writes."""


def run_jointly(stage: JointStage, job: Job) -> Facts:
    """Compute a stage in all processes, or in this one where it is alone; return what the first one records."""
    # the others need to know the call before the first all-reduce, else all would wait for each other
    processes = _join(job.context)
    processes.broadcast((stage, dict(job.folders), job.out, job.work))
    _FAILED.add(stage.key)
    try:
        facts = stage.jointly(job, processes)
    except DivergedError:
        _FAILED.discard(stage.key)  # the others end it at the same step, and wait for the next stage
        raise
    _FAILED.discard(stage.key)  # not reached after another error
    return facts


def follow(context: Context) -> None:
    """Take part in every joint stage that the first process begins, until it says that there are no more."""
    processes = _join(context)
    # None ends it, sent by `leading`. Folders travel as paths: all processes share one disk.
    while (call := processes.broadcast(None)) is not None:
        stage, folders, out, work = call
        with suppress(DivergedError):  # the first process reports it
            stage.jointly(Job(folders, Path(out), Path(work), context), processes)


@contextmanager
def leading(context: Context) -> Iterator[None]:
    """Run a plan at the head of the other processes, if there are any, and tell them at its end to stop.

    Also where the plan fails, but not where a joint stage of it failed: the others then wait in the middle of that
    stage for sums of gradients, and a message to them would never be taken. Whoever launched them ends them.
    """
    try:
        yield
    finally:
        # Read before the import: a run without `torchrun` whose results are all cached needs no torch.
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _FAILED:  # set by `torchrun` and `accelerate launch`
            _join(context).broadcast(None)


def _join(context: Context) -> ProcessGroup:
    """Join the processes of a `torchrun`; alone, a group of one."""
    from forge.core.distributed import ProcessGroup  # imports torch

    return ProcessGroup.join(context.compute.torch_device)
