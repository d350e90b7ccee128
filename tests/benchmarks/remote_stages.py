"""Stages that workers of other programs run in tests: they must be importable there."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.workflow.stage import Facts, Job, Stage
from forge.core.errors import BenchError
from forge.core.progress import ProgressEvent


@dataclass(frozen=True, eq=False, kw_only=True)
class Echo(Stage):
    """Writes its title and those of its inputs; says where it ran."""

    action = "fake-echo"
    VERSION = 1
    optional = True

    title: str
    does: str = ""
    before: Mapping[str, Stage] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.title

    @property
    def settings(self) -> dict[str, Any]:
        return {"title": self.title, "does": self.does}

    def run(self, job: Job) -> Facts:
        texts = [(job.path(stage) / "text").read_text() for stage in self.before.values()]
        job.context.on_progress(ProgressEvent(1, 2, values={"loss": 0.5}))
        if self.does == "fail":
            raise BenchError(f"{self.title} cannot be echoed")
        if self.does == "wait":
            self._wait(job)
        if self.does == "die once":
            marker = job.work / "checkpoint"
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            texts.append("continued")
        (job.out / "text").write_text(" ".join([self.title, *texts]))
        return {"process": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"], "folder": str(job.out)}

    def _wait(self, job: Job) -> None:
        """Wait for ever, as a training: an interrupt writes a checkpoint."""
        (job.work / "begun").touch()
        try:
            time.sleep(3600)
        except KeyboardInterrupt:
            (job.work / "checkpoint").touch()
            raise
