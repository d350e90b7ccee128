"""The progress of a training, for whoever started it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from forge.core.progress import OnProgress, ProgressEvent
from forge.training.callbacks.log import rounded
from forge.training.trainer import Callback, Trainer


class ShowProgress(Callback):
    """Reports images, readings and notes at each step that is logged.

    Args:
        on_progress: called with the progress.
        notes: a few words each, or none.
    """

    def __init__(self, on_progress: OnProgress, notes: Sequence[Callable[[], str]] = ()) -> None:
        self._on_progress, self._notes = on_progress, notes

    def on_step(self, trainer: Trainer) -> None:
        """Report."""
        if trainer.logged and trainer.processes.first:
            # images, also where several batches make a step
            done, total = (count * trainer.images_per_step for count in (trainer.step, trainer.steps))
            note = "; ".join(text for text in (note() for note in self._notes) if text)
            self._on_progress(ProgressEvent(done, total, values=rounded(trainer.values), note=note))
