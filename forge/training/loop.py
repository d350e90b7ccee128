"""The one training loop: a game between two networks, resumable to the bit.

All randomness of step n follows from (seed, n): nothing random needs saving, and a killed training continues exactly
where its last checkpoint stood.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forge.compute import Compute, Precision, derive_seed
from forge.errors import BenchError, InputError
from forge.faces.faceset import FaceView
from forge.generator import settle_batch_norm, write_generator
from forge.interrupt import deferred_interrupt
from forge.networks.base import Architecture
from forge.pictures import write_grid
from forge.progress import Report, Tick
from forge.training.augment import random_flip, random_translation, to_float, to_uint8
from forge.training.checkpoint import (
    load_checkpoint,
    pack_module,
    pack_optimizer,
    save_checkpoint,
    unpack_module,
    unpack_optimizer,
)
from forge.training.objectives import OBJECTIVES, r1_penalty
from forge.training.settings import TrainingSettings

CHECKPOINT_SECONDS = 10.0
RESIDENT_BYTES = 4 << 30  # a set up to this size is held on the device as one uint8 tensor, larger ones stream
SAMPLES = 64


@dataclass(frozen=True)
class Training:
    """What is trained, on what, how and where.

    Attributes:
        name: what people call the generator.
        reference: registered name or file.py:Class of the architecture.
        architecture: the networks.
        settings: of the loop.
        view: real images, of the architecture's resolution.
        seed: everything random follows from it.
        compute: device and precision.
        work: directory that keeps the checkpoint, log and sample grids between calls.
    """

    name: str
    reference: str
    architecture: Architecture
    settings: TrainingSettings
    view: FaceView
    seed: int
    compute: Compute
    work: Path

    def identity(self, precision: Precision) -> dict[str, Any]:
        """What a checkpoint must agree with to be continued."""
        return {
            "architecture": self.reference,
            "network": self.architecture.settings.model_dump(mode="json"),
            "training": self.settings.model_dump(mode="json"),
            "resolution": self.architecture.resolution,
            "data": self.view.faces.card.digest,
            "images": len(self.view),
            "seed": self.seed,
            "precision": precision,
        }


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
        game = Game(training)
        saved = time.monotonic()
        while game.step < game.steps:
            game.advance()
            if game.step % training.settings.log_every == 0 or game.step == game.steps:
                report(game.log())
            if game.sample_due():
                game.sample()
            if interrupted():
                game.save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                game.save()
                saved = time.monotonic()
        game.save()
        game.publish(out)


def _check(training: Training) -> None:
    view, size = training.view, training.architecture.resolution
    if view.faces.resolution != size:
        raise InputError(f"the set {view.faces.path} has {view.faces.resolution} px, the generator wants {size}")
    if len(view) < training.settings.batch:
        raise InputError(
            f"batch {training.settings.batch} is larger than the {len(view)} training images; "
            "lower it with --set generator.training.batch=N or prepare more images"
        )


class Game:
    """The state of a training: networks, optimizers, averaged weights, counters."""

    def __init__(self, training: Training) -> None:
        self.training, self.settings = training, training.settings
        self.device = training.compute.torch_device
        self.objective = OBJECTIVES[self.settings.objective]
        self.steps = max(1, round(self.settings.kimg * 1000 / self.settings.batch))
        self.step = 0
        self.readings: dict[str, Tensor] = {}
        self.seconds, self._since = 0.0, time.monotonic()
        checkpoint = training.work / "checkpoint.safetensors"
        tensors, state = load_checkpoint(checkpoint) if checkpoint.is_file() else ({}, {})
        self.precision = self._precision(state)
        self._build()
        self._load_images()
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
        return self.training.compute.decide(network, _trial_step(self.training))

    def _build(self) -> None:
        torch.manual_seed(derive_seed(self.training.seed, "weights"))
        architecture, settings = self.training.architecture, self.settings
        self.generator = _place(architecture.generator(), self.device)
        self.discriminator = _place(architecture.discriminator(), self.device)
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False).eval()
        betas = (settings.beta1, settings.beta2)
        self.generator_optimizer = torch.optim.Adam(
            self.generator.parameters(), settings.generator_lr, betas, fused=True
        )
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), settings.discriminator_lr, betas, fused=True
        )
        # batch norm must not see real and forged images as one batch
        norms = nn.modules.batchnorm._BatchNorm
        self.joint = not any(isinstance(module, norms) for module in self.discriminator.modules())

    def _load_images(self) -> None:
        view = self.training.view
        size = len(view) * view.faces.resolution**2 * 3
        self.images = torch.from_numpy(view.read()).to(self.device) if size <= RESIDENT_BYTES else None

    def _real_batch(self) -> Tensor:
        """The real images of this step, float in -1..1; every epoch shows each image once, in an order of its own."""
        count, batch = len(self.training.view), self.settings.batch
        per_epoch = count // batch
        epoch, position = divmod(self.step, per_epoch)
        if position == 0 or not hasattr(self, "_order"):
            source = torch.Generator().manual_seed(derive_seed(self.training.seed, "order", epoch))
            self._order = torch.randperm(count, generator=source)
        chosen = self._order[position * batch : (position + 1) * batch]
        if self.images is not None:
            raw = self.images[chosen.to(self.device)]
        else:
            raw = torch.from_numpy(self.training.view.read(chosen.numpy())).to(self.device)
        images = to_float(raw)
        return random_flip(images) if self.settings.flip else images

    def _judge(self, images: Tensor) -> Tensor:
        if self.settings.translate:
            images = random_translation(images, self.settings.translate)
        logits: Tensor = self.discriminator(images)
        return logits.float()

    def advance(self) -> None:
        """Play one step: the discriminator moves, then the generator on the same forged images."""
        torch.manual_seed(derive_seed(self.training.seed, "step", self.step))
        real = self._real_batch()
        latents = self.training.architecture.latents(len(real), self.device)
        with self.training.compute.autocast(self.precision):
            forged = self.generator(latents)
        self._move_discriminator(real, forged.detach().float())
        self._move_generator(forged)
        self.step += 1
        self._average()

    def _move_discriminator(self, real: Tensor, forged: Tensor) -> None:
        self.discriminator.requires_grad_(True)
        with self.training.compute.autocast(self.precision):
            if self.joint:
                real_logits, forged_logits = self._judge(torch.cat([real, forged])).chunk(2)
            else:
                real_logits, forged_logits = self._judge(real), self._judge(forged)
        loss = self.objective.discriminator(real_logits, forged_logits)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.settings.r1_gamma and self.step % self.settings.r1_every == 0:
            penalty = r1_penalty(self.discriminator, real)  # in fp32: bf16 gradients of gradients are too coarse
            torch.autograd.backward(penalty * (self.settings.r1_gamma * self.settings.r1_every))
            self.readings["r1"] = penalty.detach()
        self.discriminator_optimizer.step()
        correct = ((real_logits > 0).float().mean() + (forged_logits < 0).float().mean()) / 2
        self.readings |= {"d_loss": loss.detach(), "d_accuracy": correct.detach()}
        self._real_logits = real_logits.detach()

    def _move_generator(self, forged: Tensor) -> None:
        self.discriminator.requires_grad_(False)
        with self.training.compute.autocast(self.precision):
            logits = self._judge(forged)
        loss = self.objective.generator(self._real_logits, logits)
        self.generator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.generator_optimizer.step()
        self.readings["g_loss"] = loss.detach()

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the current ones (half-life as in StyleGAN2-ADA, ramped at the start)."""
        shown = self.step * self.settings.batch
        half_life = min(self.settings.ema_kimg * 1000, shown * self.settings.ema_ramp)
        weight = 1 - 0.5 ** (self.settings.batch / half_life) if half_life > 0 else 1.0
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.generator.parameters()), weight)
        for average, current in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
            average.copy_(current)

    @property
    def kimg(self) -> float:
        """Thousands of real images shown so far."""
        return self.step * self.settings.batch / 1000

    def log(self) -> Tick:
        """Write a line of the log.

        Raises:
            BenchError: a loss is not finite.
        """
        values = {name: round(float(value), 5) for name, value in sorted(self.readings.items())}
        broken = [name for name, value in values.items() if value != value or abs(value) == float("inf")]
        if broken:
            raise BenchError(
                f"the training of {self.training.name} diverged: {broken[0]} is {values[broken[0]]} after "
                f"{self.kimg:.1f} thousand images; lower generator.training.discriminator_lr and generator_lr "
                "or try another seed"
            )
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        line = {"step": self.step, "kimg": round(self.kimg, 3), "seconds": round(self.seconds, 2), **values}
        with (self.training.work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return Tick(self.step * self.settings.batch, self.steps * self.settings.batch, values=values, note=self._note())

    def _note(self) -> str:
        newest = self.training.work / "samples" / "newest.png"
        return f"samples: {newest}" if newest.is_file() else ""

    def sample_due(self) -> bool:
        """Whether a sample grid is due after this step."""
        every = self.settings.sample_every_kimg * 1000 / self.settings.batch
        return self.step == self.steps or int(self.step / every) > int((self.step - 1) / every)

    @torch.no_grad()
    def sample(self) -> None:
        """Write a grid of forged faces, always of the same latents, made by the averaged weights."""
        settle_batch_norm(self.averaged, self.training.architecture, self.device)
        torch.manual_seed(derive_seed(self.training.seed, "grid"))
        faces = to_uint8(self.averaged(self.training.architecture.latents(SAMPLES, self.device))).cpu().numpy()
        folder = self.training.work / "samples"
        write_grid(folder / f"{int(self.kimg):06d}k.png", faces)
        write_grid(folder / "newest.png", faces)

    def save(self) -> None:
        """Write the whole state atomically."""
        tensors = {
            **pack_module("generator", self.generator),
            **pack_module("discriminator", self.discriminator),
            **pack_module("averaged", self.averaged),
            **pack_optimizer("generator_optimizer", self.generator_optimizer),
            **pack_optimizer("discriminator_optimizer", self.discriminator_optimizer),
        }
        state = {
            "identity": self.training.identity(self.precision),
            "step": self.step,
            "seconds": self.seconds + time.monotonic() - self._since,
        }
        save_checkpoint(self.training.work / "checkpoint.safetensors", tensors, state)

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        refuse_other_settings(state["identity"], self.training.identity(self.precision), self.training.work)
        unpack_module("generator", self.generator, tensors)
        unpack_module("discriminator", self.discriminator, tensors)
        unpack_module("averaged", self.averaged, tensors)
        unpack_optimizer("generator_optimizer", self.generator_optimizer, tensors)
        unpack_optimizer("discriminator_optimizer", self.discriminator_optimizer, tensors)
        self.step, self.seconds = state["step"], state["seconds"]
        log = self.training.work / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        kept = [line for line in lines if _step_of(line) <= self.step]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def publish(self, out: Path) -> None:
        """Write the finished generator, its log and its sample grids."""
        settle_batch_norm(self.averaged, self.training.architecture, self.device)
        card = self.training.view.faces.card
        write_generator(
            out,
            raw=self.generator,
            averaged=self.averaged,
            discriminator=self.discriminator,
            card={
                "name": self.training.name,
                "architecture": self.training.reference,
                "settings": self.training.architecture.settings.model_dump(mode="json"),
                "resolution": self.training.architecture.resolution,
                "seed": self.training.seed,
                "kimg": self.kimg,
                "training": self.settings.model_dump(mode="json"),
                "data": {"name": card.name, "digest": card.digest, "licence": card.licence, "images": self.count},
                "precision": self.precision,
                "parameters": {
                    "generator": sum(p.numel() for p in self.generator.parameters()),
                    "discriminator": sum(p.numel() for p in self.discriminator.parameters()),
                },
            },
        )
        (out / "log.jsonl").write_bytes((self.training.work / "log.jsonl").read_bytes())
        (out / "samples").mkdir()
        for grid in sorted((self.training.work / "samples").glob("*.png")):
            (out / "samples" / grid.name).write_bytes(grid.read_bytes())

    @property
    def count(self) -> int:
        """Number of real training images."""
        return len(self.training.view)


def refuse_other_settings(saved: dict[str, Any], asked: dict[str, Any], work: Path) -> None:
    """Compare what a checkpoint was made with to what is asked for now.

    Raises:
        InputError: they differ; names every difference.
    """
    before, now = _flat(saved), _flat(asked)
    changed = [
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise InputError(
            f"the checkpoint in {work} was made with other settings: {'; '.join(changed)}; "
            "restore them, or delete the checkpoint to start over"
        )


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return 1 << 62  # the half line of a killed process is dropped


def _place(network: nn.Module, device: torch.device) -> nn.Module:
    network.to(device)
    return network.to(memory_format=torch.channels_last)


def _trial_step(training: Training) -> Any:  # noqa: ANN401 - a step function
    """A training step on networks of its own, for timing a precision."""
    architecture, device = training.architecture, training.compute.torch_device
    networks: list[nn.Module] = []

    def step(precision: Precision) -> None:
        if not networks:
            networks.extend(_place(n, device) for n in (architecture.generator(), architecture.discriminator()))
        generator, discriminator = networks
        with training.compute.autocast(precision):
            forged = generator(architecture.latents(training.settings.batch, device))
            logits = discriminator(torch.cat([forged.float(), forged.float()]))
        torch.autograd.backward(logits.float().mean())

    return step
