"""The progress of a training, for whoever started it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from forge.core.progress import Report, Tick
from forge.training.callbacks.log import rounded
from forge.training.trainer import Callback, Trainer


class ShowProgress(Callback):
    """Reports images, readings and notes at each step that is logged.

    Args:
        report: called with the progress.
        notes: a few words each, or none.
    """

    def __init__(self, report: Report, notes: Sequence[Callable[[], str]] = ()) -> None:
        self._report, self._notes = report, notes

    def on_step(self, trainer: Trainer) -> None:
        """Report."""
        if trainer.logged and trainer.world.first:
            done, total = (count * trainer.images_per_step for count in (trainer.step, trainer.steps))
            note = "; ".join(text for text in (note() for note in self._notes) if text)
            self._report(Tick(done, total, values=rounded(trainer.values), note=note))
