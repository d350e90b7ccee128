"""The checkpoint of a training: written every few seconds, at the end, and before Ctrl-C stops it."""

from __future__ import annotations

import time
from collections.abc import Callable

from forge.training.trainer import Callback, Trainer

CHECKPOINT_SECONDS = 10.0  # what a kill loses at most, about


class SaveCheckpoint(Callback):
    """Saves the trainer.

    Args:
        interrupted: whether Ctrl-C came.
    """

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted, self._saved = interrupted, time.monotonic()

    def on_step(self, trainer: Trainer) -> None:
        """Save if it is time.

        Raises:
            KeyboardInterrupt: Ctrl-C came; the state was saved.
        """
        # several processes must stop at the same step: they ask each other at those that are logged
        if (trainer.logged or trainer.processes.size == 1) and trainer.processes.broadcast(self._interrupted()):
            trainer.save()
            raise KeyboardInterrupt  # after the save: the next call continues at this step
        # wall time differs between processes, but `save` writes in the first alone and waits for none
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            trainer.save()
            self._saved = time.monotonic()

    def on_end(self, trainer: Trainer) -> None:
        """Save."""
        trainer.save()
