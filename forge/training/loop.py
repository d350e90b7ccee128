"""The one training loop: play, log, show samples, save, publish; continues from its checkpoint."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forge.checkpoint import load_checkpoint, refuse_other_settings, save_checkpoint
from forge.compute import Precision, derive_seed
from forge.errors import BenchError, InputError
from forge.generator import settle_batch_norm, write_generator
from forge.interrupt import deferred_interrupt
from forge.pictures import write_grid
from forge.progress import Report, Tick
from forge.training.augment import to_uint8
from forge.training.game import Game, Training, trial_step

CHECKPOINT_SECONDS = 10.0
SAMPLES = 64


def train(training: Training, out: Path, report: Report) -> None:
    """Train a generator, continuing from the checkpoint in `training.work` if there is one, and write it to `out`.

    Args:
        training: what to do.
        out: an existing directory; receives the generator, log.jsonl and samples/.
        report: told about progress.

    Raises:
        InputError: the set is smaller than a batch or of another resolution; a checkpoint with other settings.
        BenchError: the losses are no longer finite.
        KeyboardInterrupt: Ctrl-C came; a checkpoint was saved first.
    """
    _check(training)
    training.work.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(), deferred_interrupt() as interrupted:
        session = Session(training)
        game, saved = session.game, time.monotonic()
        while game.step < game.steps:
            game.advance()
            if game.step % training.settings.log_every == 0 or game.step == game.steps:
                report(session.log())
            if session.sample_due():
                session.sample()
            if interrupted():
                session.save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                session.save()
                saved = time.monotonic()
        session.save()
        session.publish(out)


def _check(training: Training) -> None:
    view, size = training.view, training.architecture.resolution
    if view.faces.resolution != size:
        raise InputError(f"the set {view.faces.path} has {view.faces.resolution} px, the generator wants {size}")
    if len(view) < training.settings.batch:
        raise InputError(
            f"batch {training.settings.batch} is larger than the {len(view)} training images; "
            "lower it with --set generator.training.batch=N or prepare more images"
        )


class Session:
    """A game with its working directory: checkpoint, log, sample grids."""

    def __init__(self, training: Training) -> None:
        self.training, self.settings = training, training.settings
        self.seconds, self._since = 0.0, time.monotonic()
        checkpoint = training.work / "checkpoint.safetensors"
        tensors, state = load_checkpoint(checkpoint) if checkpoint.is_file() else ({}, {})
        self.game = Game(training, self._precision(state))
        if state:
            self._restore(tensors, state)
        else:
            (training.work / "log.jsonl").unlink(missing_ok=True)

    def _precision(self, state: dict[str, Any]) -> Precision:
        if state and self.training.compute.precision == "auto":
            saved: Precision = state["identity"]["precision"]
            return saved
        network = (
            f"{self.training.reference} {self.training.architecture.settings.model_dump_json()} "
            f"{self.training.architecture.resolution} px batch {self.settings.batch}"
        )
        return self.training.compute.decide(network, trial_step(self.training))

    def log(self) -> Tick:
        """Write a line of the log.

        Raises:
            BenchError: a loss is not finite.
        """
        values = {name: round(float(value), 5) for name, value in sorted(self.game.readings.items())}
        broken = [name for name, value in values.items() if value != value or abs(value) == float("inf")]
        if broken:
            raise BenchError(
                f"the training of {self.training.name} diverged: {broken[0]} is {values[broken[0]]} after "
                f"{self.game.kimg:.1f} thousand images; lower generator.training.discriminator_lr and generator_lr "
                "or try another seed"
            )
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        line = {"step": self.game.step, "kimg": round(self.game.kimg, 3), "seconds": round(self.seconds, 2), **values}
        with (self.training.work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return Tick(
            self.game.step * self.settings.batch,
            self.game.steps * self.settings.batch,
            values=values,
            note=self._note(),
        )

    def _note(self) -> str:
        newest = self.training.work / "samples" / "newest.png"
        return f"samples: {newest}" if newest.is_file() else ""

    def sample_due(self) -> bool:
        """Whether a sample grid is due after this step."""
        every = self.settings.sample_every_kimg * 1000 / self.settings.batch
        return self.game.step == self.game.steps or int(self.game.step / every) > int((self.game.step - 1) / every)

    @torch.no_grad()
    def sample(self) -> None:
        """Write a grid of forged faces, always of the same latents, made by the averaged weights."""
        settle_batch_norm(self.game.averaged, self.training.architecture, self.game.device)
        torch.manual_seed(derive_seed(self.training.seed, "grid"))
        faces = (
            to_uint8(self.game.averaged(self.training.architecture.latents(SAMPLES, self.game.device))).cpu().numpy()
        )
        folder = self.training.work / "samples"
        write_grid(folder / f"{int(self.game.kimg):06d}k.png", faces)
        write_grid(folder / "newest.png", faces)

    def save(self) -> None:
        """Write the whole state atomically."""
        state = {
            "identity": self.training.identity(self.game.precision),
            "step": self.game.step,
            "seconds": self.seconds + time.monotonic() - self._since,
        }
        save_checkpoint(self.training.work / "checkpoint.safetensors", self.game.pack(), state)

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        refuse_other_settings(state["identity"], self.training.identity(self.game.precision), self.training.work)
        self.game.unpack(tensors, state["step"])
        self.seconds = state["seconds"]
        log = self.training.work / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        kept = [line for line in lines if _step_of(line) <= self.game.step]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def publish(self, out: Path) -> None:
        """Write the finished generator, its log and its sample grids."""
        settle_batch_norm(self.game.averaged, self.training.architecture, self.game.device)
        card = self.training.view.faces.card
        write_generator(
            out,
            raw=self.game.generator,
            averaged=self.game.averaged,
            discriminator=self.game.discriminator,
            card={
                "name": self.training.name,
                "architecture": self.training.reference,
                "settings": self.training.architecture.settings.model_dump(mode="json"),
                "resolution": self.training.architecture.resolution,
                "seed": self.training.seed,
                "kimg": self.game.kimg,
                "training": self.settings.model_dump(mode="json"),
                "data": {
                    "name": card.name,
                    "digest": card.digest,
                    "licence": card.licence,
                    "images": len(self.training.view),
                },
                "precision": self.game.precision,
                "parameters": {
                    "generator": sum(p.numel() for p in self.game.generator.parameters()),
                    "discriminator": sum(p.numel() for p in self.game.discriminator.parameters()),
                },
            },
        )
        (out / "log.jsonl").write_bytes((self.training.work / "log.jsonl").read_bytes())
        (out / "samples").mkdir()
        for grid in sorted((self.training.work / "samples").glob("*.png")):
            (out / "samples" / grid.name).write_bytes(grid.read_bytes())


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return 1 << 62  # the half line of a killed process is dropped
