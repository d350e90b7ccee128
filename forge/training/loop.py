"""The one training loop: play, log, watch, show samples, save, publish; continues from its checkpoint."""

from __future__ import annotations

import json
import math
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forge import marks
from forge.checkpoint import load_checkpoint, refuse_other_settings, save_checkpoint
from forge.compute import Precision, derive_seed
from forge.distributed import World
from forge.errors import BenchError, BenchWarning, InputError
from forge.execution import execution_of
from forge.files import parse_json, publishing, write_json
from forge.generator import settle_batch_norm, snapshot_name, write_generator
from forge.interrupt import deferred_interrupt
from forge.pictures import write_grid
from forge.progress import Report, Tick
from forge.training.augment import to_float, to_uint8
from forge.training.game import Game
from forge.training.health import Action, decide
from forge.training.memory import explaining_memory
from forge.training.monitor import FEWEST, HealthMonitor, Observed, aside
from forge.training.task import Training
from forge.training.track import Tracker

CHECKPOINT_SECONDS = 10.0
SAMPLES = 64
WATCHED = 256  # forged images that the health monitor looks at
REALS_WATCHED = 1280  # real ones


def train(training: Training, out: Path, report: Report) -> None:
    """Train a generator, continuing from the checkpoint in `training.work` if there is one, and write it to `out`.

    Under `torchrun` or `accelerate launch` all processes call this; the first one writes.

    Args:
        training: what to do.
        out: an existing directory; receives the generator, log.jsonl, health.json, samples/ and snapshots/.
        report: told about progress.

    Raises:
        InputError: the set has fewer than 16 images or is of another resolution; a checkpoint with other settings;
            images or an architecture that cannot be trained.
        BenchError: the training diverged, or its health policy stopped it; the memory was too small for the batch.
        KeyboardInterrupt: Ctrl-C came; a checkpoint was saved first.
    """
    _check(training)
    training = _with_batch_that_fits(training)
    training.work.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(), deferred_interrupt() as interrupted, explaining_memory(training):
        session = Session(training, World.join(training.compute.torch_device))
        settings, saved = training.settings, time.monotonic()
        session.start()
        while session.game.step < session.game.steps:
            logged = session.log_due()
            session.game.advance(measure=logged)
            if logged:
                session.read()
                if session.world.first:
                    report(session.log())
            broken = logged and session.world.same(session.broken())
            if broken or session.due(session.health_every):
                session.watch()
            session.keep_snapshots()
            if session.due(settings.sample_every_kimg) and session.world.first:
                session.sample()
            if (logged or session.world.size == 1) and session.world.same(interrupted()):
                session.save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                session.save()
                saved = time.monotonic()
        session.save()
        if session.world.first:
            session.publish(out)
        session.world.same(None)


def _check(training: Training) -> None:
    view, size, settings = training.view, training.architecture.resolution, training.settings
    if view.faces.resolution != size:
        raise InputError(f"the set {view.faces.path} has {view.faces.resolution} px, the generator wants {size}")
    if len(view) < FEWEST:
        raise InputError(f"{len(view)} training images are too few; prepare more, at least {FEWEST} are needed")
    if settings.path_length and not training.architecture.truncates:
        raise InputError("path_length needs a style-based generator such as stylegan-lite; set it to 0")
    beyond = [kimg for kimg in settings.snapshots_kimg if not 0 < kimg <= settings.kimg]
    if beyond:
        raise InputError(
            f"a snapshot after {beyond[0]:g} thousand images is outside the training of {settings.kimg:g} thousand; "
            "raise training.kimg or ask for an earlier one"
        )


def _with_batch_that_fits(training: Training) -> Training:
    """Lower the batch to the number of training images where there are fewer."""
    images, batch = len(training.view), training.settings.batch
    if images >= batch:
        return training
    warnings.warn(
        f"{training.name}: batch {batch} is lowered to {images}, the number of its training images",
        BenchWarning,
        stacklevel=3,
    )
    return training.with_batch(images)


class Session:
    """A game with its working directory: checkpoint, log, health, sample grids, snapshots."""

    def __init__(self, training: Training, world: World) -> None:
        self.training, self.settings, self.world = training, training.settings, world
        self.seconds, self._since = 0.0, time.monotonic()
        checkpoint = training.work / "checkpoint.safetensors"
        tensors, state = load_checkpoint(checkpoint) if checkpoint.is_file() else ({}, {})
        self.game = Game(training, self._precision(state), world)
        self.monitor = self._fresh_monitor()
        self.readings: dict[str, float] = {}
        self.health: list[dict[str, Any]] = []
        self.roll_backs = 0
        self.health_every = self.settings.health_every_kimg or min(self.settings.kimg / 20, 50.0)
        self.tracker = Tracker(training.track) if training.track and world.first else None
        if state:
            self._restore(tensors, state)
        elif world.first:
            (training.work / "log.jsonl").unlink(missing_ok=True)
            self._healthy.unlink(missing_ok=True)
            shutil.rmtree(training.work / "snapshots", ignore_errors=True)
        self.world.same(None)

    def _precision(self, state: dict[str, Any]) -> Precision:
        if state and self.training.compute.precision == "auto":
            saved: Precision = state["identity"]["precision"]
            return saved
        decided: Precision = self.training.compute.decide(execution_of("generators", self.training.reference))
        return decided

    @property
    def _healthy(self) -> Path:
        """Where the last checkpoint without a sign of sickness lies."""
        return self.training.work / "healthy.safetensors"

    def _fresh_monitor(self) -> HealthMonitor:
        training, held_out = self.training, self.training.held_out
        return HealthMonitor(
            self.settings.health,
            training.view.sample(REALS_WATCHED, training.seed).read(),
            held_out.read() if held_out is not None else None,
            seed=training.seed,
            device=self.game.device,
        )

    def start(self) -> None:
        """Before step one: the untrained generator's images must be tellable from real ones.

        Raises:
            InputError: they are not, or the images or the generator are not what they should be.
        """
        if self.game.step == 0 and self.world.first:
            self.monitor.start_check(self._forged(self.game.generator, WATCHED, "start"))

    def log_due(self) -> bool:
        """Whether the coming step is to be logged."""
        return (self.game.step + 1) % self.settings.log_every == 0 or self.game.step + 1 == self.game.steps

    def read(self) -> None:
        """Fetch the readings of the game, means over all processes, from the device."""
        self.game.share_readings()
        self.readings = self.game.read()

    def log(self) -> Tick:
        """Write a line of the log; readings that are no numbers are left out."""
        values = {name: round(value, 5) for name, value in self.readings.items() if math.isfinite(value)}
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        line = {"step": self.game.step, "kimg": round(self.game.kimg, 3), "seconds": round(self.seconds, 2), **values}
        with (self.training.work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.tracker:
            self.tracker.scalars(round(self.game.kimg * 1000), values)
        done, total = (count * self.game.images_per_step for count in (self.game.step, self.game.steps))
        return Tick(done, total, values=values, note=self._note())

    def broken(self) -> bool:
        """Whether a reading is no number."""
        return not all(map(math.isfinite, self.readings.values()))

    def _note(self) -> str:
        newest = self.training.work / "samples" / "newest.png"
        state = f"{self.health[-1]['state']}; " if self.health else ""
        return f"{state}samples: {newest}" if newest.is_file() else state.rstrip("; ")

    def due(self, every_kimg: float) -> bool:
        """Whether what happens every so many thousand images is due after this step."""
        every, step = every_kimg * 1000 / self.game.images_per_step, self.game.step
        return step == self.game.steps or int(step / every) > int((step - 1) / every)

    @torch.no_grad()
    def _forged(self, network: torch.nn.Module, count: int, purpose: str, *more: int) -> Tensor:
        """Forged images [count, 3, H, W] whose latents, labels and noise follow from the purpose alone."""
        training = self.training
        torch.manual_seed(derive_seed(training.seed, purpose, *more))
        parts, was_training = [], network.training
        network.eval()
        for start in range(0, count, SAMPLES):
            latents = training.architecture.latents(min(SAMPLES, count - start), self.game.device)
            given = training.some_labels(len(latents), self.game.device)
            parts.append(network(latents, *given).float())
        network.train(was_training)
        return torch.cat(parts)

    def _settled(self) -> torch.nn.Module:
        settle_batch_norm(
            self.game.averaged, self.training.architecture, self.game.device, labels=self.training.some_labels
        )
        return self.game.averaged

    def watch(self) -> None:
        """Ask the health monitor, and do what its policy says.

        Raises:
            BenchError: the training stops here.
        """
        accuracy = self.game.mean_accuracy(restart=True)
        self.read()
        action = self.world.same(self._look(accuracy) if self.world.first else None)
        if action.step == "stop":
            raise BenchError(
                f"the training of {self.training.name} was stopped: {action.reason}; lower generator.training."
                "discriminator_lr and generator_lr, or try another seed"
            )
        if action.step == "roll-back":
            self._roll_back(action)
        elif self.settings.health.policy == "roll-back" and self.world.first and self.monitor.clear:
            self._write(self._healthy)

    def _roll_back(self, action: Action) -> None:
        """Return to the last state without a sign of sickness, or to the beginning, and go on differently."""
        self.roll_backs += 1
        if self._healthy.is_file():
            tensors, state = load_checkpoint(self._healthy)
            self._take_over(tensors, state)
        else:
            self.game = Game(self.training, self.game.precision, self.world)
            self.monitor = self._fresh_monitor()
        self.game.divert(action.stream, action.lr_factor)
        self._cut_log()
        self.world.same(None)  # all have read the file before the first process writes another
        self.save()

    def _take_over(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.game.unpack(tensors, state["step"])
        self.game.restore_readings(state["readings"])
        self.monitor.load_state_dict(state["monitor"])

    def _look(self, accuracy: float) -> Action:
        game = self.game
        readings = self.readings | {"d_accuracy": accuracy}
        network = self._settled()
        fresh = self._forged(network, WATCHED, "fresh", game.step)
        health = self.monitor.observe(
            Observed(
                step=game.step,
                kimg=game.kimg,
                readings=readings,
                fixed=self._forged(network, SAMPLES, "grid"),
                fresh=fresh,
                discriminator=self._judge(fresh),
            )
        )
        action = decide(health, self.settings.health, self.roll_backs)
        rounded = {name: round(value, 5) for name, value in health.readings.items()}
        self.health.append(asdict(health) | {"readings": rounded, "action": action.step})
        write_json(self.training.work / "health.json", self.health)
        if self.tracker:
            self.tracker.scalars(round(game.kimg * 1000), {f"health/{k}": v for k, v in rounded.items()})
            self.tracker.text(round(game.kimg * 1000), "health", f"{health.state}: {health.reason}")
        return action

    def _judge(self, fresh: Tensor) -> Callable[[Tensor], Tensor]:
        """The discriminator with logits above 0 for real, whatever the objective's boundary is."""
        game = self.game
        look = aside(game.discriminator, lambda: self.training.compute.autocast(game.precision))
        boundary = game.objective.boundary
        if boundary is None:  # only differences mean something: half way between real and forged
            reals = to_float(torch.from_numpy(self.training.view.read(slice(0, len(fresh))))).to(game.device)
            boundary = float(look(reals).mean() + look(fresh).mean()) / 2
        return lambda images: look(images) - boundary

    def sample(self) -> None:
        """Write a grid of forged faces, always of the same latents, made by the averaged weights."""
        faces = to_uint8(self._forged(self._settled(), SAMPLES, "grid")).cpu().numpy()
        folder = self.training.work / "samples"
        moment = f"after {self.game.kimg:.3f} thousand images, seed {self.training.seed}"  # these weights are not kept
        source = marks.origin(self.training.name, moment=moment)
        write_grid(folder / f"{int(self.game.kimg):06d}k.png", faces, source=source)
        write_grid(folder / "newest.png", faces, source=source)
        if self.tracker:
            self.tracker.picture(round(self.game.kimg * 1000), folder / "newest.png")

    def keep_snapshots(self) -> None:
        """Keep the generator as it is now, if a snapshot was asked for at this count of images."""
        for kimg in self.settings.snapshots_kimg:
            if self.game.step == max(1, round(kimg * 1000 / self.game.images_per_step)) and self.world.first:
                label = snapshot_name(kimg)
                place = self.training.work / "snapshots" / label
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(exist_ok=True)
                with publishing(place) as directory:
                    self._write_generator(directory, f"{self.training.name}@{label}")

    def save(self) -> None:
        """Write the whole state atomically."""
        if self.world.first:
            self._write(self.training.work / "checkpoint.safetensors")

    def _write(self, path: Path) -> None:
        tensors = self.game.pack()
        state = {
            "identity": self.training.identity(self.game.precision),
            "step": self.game.step,
            "seconds": self.seconds + time.monotonic() - self._since,
            "readings": self.game.read(),
            "health": self.health,
            "monitor": self.monitor.state_dict(),
            "roll_backs": self.roll_backs,
            "stream": self.game.stream,
            "lr_factor": self.game.lr_factor,
        }
        save_checkpoint(path, tensors, state)

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        refuse_other_settings(state["identity"], self.training.identity(self.game.precision), self.training.work)
        self._take_over(tensors, state)
        self.game.divert(state["stream"], state["lr_factor"])
        self.seconds, self.roll_backs, self.health = state["seconds"], state["roll_backs"], state["health"]
        self._cut_log()

    def _cut_log(self) -> None:
        """Drop what the log says of steps that are played again."""
        if not self.world.first:
            return
        log = self.training.work / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        kept = [line for line in lines if _step_of(line) <= self.game.step]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def publish(self, out: Path) -> None:
        """Write the finished generator, its log, health, sample grids and snapshots."""
        work = self.training.work
        self._write_generator(out, self.training.name)
        (out / "log.jsonl").write_bytes((work / "log.jsonl").read_bytes())
        write_json(out / "health.json", self.health)
        (out / "samples").mkdir()
        for grid in sorted((work / "samples").glob("*.png")):
            (out / "samples" / grid.name).write_bytes(grid.read_bytes())
        if (work / "snapshots").is_dir():
            shutil.copytree(work / "snapshots", out / "snapshots", ignore=shutil.ignore_patterns(".*"))
        if self.tracker:
            self.tracker.close()

    def _write_generator(self, directory: Path, name: str) -> None:
        training, game, card = self.training, self.game, self.training.view.faces.card
        write_generator(
            directory,
            raw=game.generator,
            averaged=self._settled(),
            discriminator=game.discriminator,
            card={
                "name": name,
                "architecture": training.reference,
                "family": training.architecture.family,
                "settings": training.architecture.settings.model_dump(mode="json"),
                "resolution": training.architecture.resolution,
                "condition": training.condition.to_json() if training.condition else None,
                "seed": training.seed,
                "kimg": game.kimg,
                "training": self.settings.model_dump(mode="json"),
                "data": {
                    "name": card.name,
                    "digest": card.digest,
                    "licence": card.licence,
                    "images": len(training.view),
                },
                "precision": game.precision,
                "parameters": {
                    "generator": sum(p.numel() for p in game.generator.parameters()),
                    "discriminator": sum(p.numel() for p in game.discriminator.parameters()),
                },
            },
        )


def _step_of(line: str) -> int:
    try:
        return int(parse_json(line, "log.jsonl", finite=False)["step"])
    except (InputError, KeyError, TypeError, ValueError):
        return 1 << 62  # the half line of a killed process is dropped
