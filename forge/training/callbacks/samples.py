"""Sample grids of a training: always the same inputs, so that the grids show what changes."""

from __future__ import annotations

from pathlib import Path

from forge.core import provenance
from forge.faces.imaging.grids import write_grid
from forge.faces.tensors import to_uint8
from forge.training.task import Training
from forge.training.tensorboard import Tracker
from forge.training.trainer import SAMPLES, Callback, Trainer


class WriteSamples(Callback):
    """Writes samples/*.png, made by the averaged weights.

    Args:
        training: in whose working directory they lie.
        events: for TensorBoard.
    """

    def __init__(self, training: Training, events: Tracker | None) -> None:
        self._name, self._seed, self._every = training.name, training.seed, training.settings.sample_every_kimg
        self._folder, self._events = training.work / "samples", events

    def note(self) -> str:
        """Return a note with the path of the newest grid; empty before the first one."""
        newest = self._folder / "newest.png"
        return f"samples: {newest}" if newest.is_file() else ""

    def on_step(self, trainer: Trainer) -> None:
        """Write a grid."""
        if not (trainer.due(self._every) and trainer.processes.first):
            return
        # inputs from (seed, "grid"): the same latents at every moment, whatever was drawn for the training
        faces = to_uint8(trainer.images(trainer.settled(), SAMPLES, "grid")).cpu().numpy()
        moment = f"after {trainer.kimg:.3f} thousand images, seed {self._seed}"  # these weights are not kept
        source = provenance.origin(self._name, moment=moment)
        # whole thousands, zero-padded: names sort by time; single images where several grids lie in one thousand
        label = f"{int(trainer.kimg):06d}" if self._every >= 1 else f"{trainer.kimg:010.3f}"
        write_grid(self._folder / f"{label}k.png", faces, source=source)
        write_grid(self._folder / "newest.png", faces, source=source)
        if self._events:
            self._events.picture(round(trainer.kimg * 1000), self._folder / "newest.png")

    def on_publish(self, trainer: Trainer, out: Path) -> None:
        """Copy the grids."""
        (out / "samples").mkdir()
        for grid in sorted(self._folder.glob("*.png")):
            (out / "samples" / grid.name).write_bytes(grid.read_bytes())
