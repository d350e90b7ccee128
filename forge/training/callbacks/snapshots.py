"""Snapshots of a training: the generator as it was after so many images, a generator of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from forge.core.files import publishing
from forge.generators.artifact import snapshot_name
from forge.training.task import Training
from forge.training.trainer import Callback, Trainer


class KeepSnapshots(Callback):
    """Writes snapshots/NAME after each count of images in the settings.

    Args:
        training: in whose working directory they lie.
    """

    def __init__(self, training: Training) -> None:
        self._name, self._moments = training.name, training.settings.snapshots_kimg
        self._folder = training.work / "snapshots"

    def on_start(self, trainer: Trainer) -> None:
        """Remove what an earlier training left."""
        # a continued training keeps its snapshots; those of another one in the same folder would be published as its
        # own
        if trainer.processes.first and not trainer.resumed:
            shutil.rmtree(self._folder, ignore_errors=True)

    def on_step(self, trainer: Trainer) -> None:
        """Keep the generator as it is now, if a snapshot is due."""
        for kimg in self._moments:
            # the step that comes nearest to that many images, and never step 0
            if trainer.step == max(1, round(kimg * 1000 / trainer.images_per_step)) and trainer.processes.first:
                label = snapshot_name(kimg)
                target = self._folder / label
                # the same snapshot of before a kill; the step is done again and gives the same weights
                shutil.rmtree(target, ignore_errors=True)
                target.parent.mkdir(exist_ok=True)
                with publishing(target) as directory:  # appears whole or not at all
                    trainer.write_generator(directory, f"{self._name}@{label}")

    def on_publish(self, trainer: Trainer, out: Path) -> None:
        """Copy the snapshots."""
        if self._folder.is_dir():
            # names with a dot are half-written snapshots
            shutil.copytree(self._folder, out / "snapshots", ignore=shutil.ignore_patterns(".*"))
