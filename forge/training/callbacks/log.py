"""The log of a training: one line of JSON every so many steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forge.core.errors import InputError
from forge.core.files import parse_json
from forge.training.task import Training
from forge.training.tensorboard import Tracker
from forge.training.trainer import Callback, Trainer

_NEVER = 1 << 62  # later than any step, so that `_cut` drops the line


class WriteLog(Callback):
    """Writes log.jsonl: step, thousands of images, seconds of training, and the readings that are numbers.

    Args:
        training: in whose working directory the log lies.
        events: for TensorBoard.
    """

    def __init__(self, training: Training, events: Tracker | None) -> None:
        self._file, self._events = training.work / "log.jsonl", events
        self._seconds, self._since = 0.0, time.monotonic()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the seconds of earlier calls."""
        self._seconds = state["seconds"]

    def state_dict(self) -> dict[str, Any]:
        """Return seconds of training so far."""
        return {"seconds": self._seconds + time.monotonic() - self._since}

    def on_start(self, trainer: Trainer) -> None:
        """Begin a log, or drop the lines after the checkpoint that is continued."""
        if trainer.resumed:
            self._cut(trainer)
        elif trainer.processes.first:
            self._file.unlink(missing_ok=True)

    def on_step(self, trainer: Trainer) -> None:
        """Write a line."""
        if not (trainer.logged and trainer.processes.first):
            return
        values = rounded(trainer.values)
        now = time.monotonic()
        # summed over calls: the clock of a training that was continued does not count the time between
        self._seconds += now - self._since
        self._since = now
        line = {"step": trainer.step, "kimg": round(trainer.kimg, 3), "seconds": round(self._seconds, 2), **values}
        # opened for each line: a killed process leaves at most half a line, see `step_of`
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._events:
            # TensorBoard's axis is in real images, which trainings with different batches share
            self._events.scalars(round(trainer.kimg * 1000), values)

    def on_rewind(self, trainer: Trainer, state: Mapping[str, Any] | None) -> None:
        """Drop the lines of steps that are done again."""
        self._cut(trainer)

    def on_publish(self, trainer: Trainer, out: Path) -> None:
        """Copy the log."""
        (out / "log.jsonl").write_bytes(self._file.read_bytes())

    def _cut(self, trainer: Trainer) -> None:
        if not trainer.processes.first:
            return
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
        # later lines were written after the checkpoint, and their steps are done again
        kept = [line for line in lines if step_of(line) <= trainer.step]
        self._file.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Finite values to five digits after the point."""
    # NaN and infinity are no JSON
    return {name: round(value, 5) for name, value in values.items() if math.isfinite(value)}


def step_of(line: str) -> int:
    """Return the step of a line of the log; the half line of a killed process is of none that was done."""
    try:
        return int(parse_json(line, "log.jsonl", finite=False)["step"])
    except (InputError, KeyError, TypeError, ValueError):  # e.g. the half line that a kill left
        return _NEVER
