"""The game: two networks, their optimizers, averaged weights, and one move of each a step.

All randomness of step n follows from (seed, n): nothing random needs saving, and a killed training continues exactly
where its last checkpoint stood.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forge.checkpoint import pack_module, pack_optimizer, unpack_module, unpack_optimizer
from forge.compute import Compute, Precision, derive_seed
from forge.faces.faceset import FaceView
from forge.networks.base import Architecture
from forge.training.augment import random_flip, random_translation, to_float
from forge.training.objectives import OBJECTIVES, r1_penalty
from forge.training.settings import TrainingSettings

RESIDENT_BYTES = 4 << 30  # a set up to this size is held on the device as one uint8 tensor, larger ones stream


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


class Game:
    """The state of a training.

    Args:
        training: what is trained, on what.
        precision: of the networks' arithmetic.
    """

    def __init__(self, training: Training, precision: Precision) -> None:
        self.training, self.settings, self.precision = training, training.settings, precision
        self.device = training.compute.torch_device
        self.objective = OBJECTIVES[self.settings.objective]
        self.steps = max(1, round(self.settings.kimg * 1000 / self.settings.batch))
        self.step = 0
        self.readings: dict[str, Tensor] = {}
        self._build()
        self._load_images()

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

    def pack(self) -> dict[str, Tensor]:
        """All tensors of the state by name."""
        return {
            **pack_module("generator", self.generator),
            **pack_module("discriminator", self.discriminator),
            **pack_module("averaged", self.averaged),
            **pack_optimizer("generator_optimizer", self.generator_optimizer),
            **pack_optimizer("discriminator_optimizer", self.discriminator_optimizer),
        }

    def unpack(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take over what `pack` gave after `step` steps."""
        unpack_module("generator", self.generator, tensors)
        unpack_module("discriminator", self.discriminator, tensors)
        unpack_module("averaged", self.averaged, tensors)
        unpack_optimizer("generator_optimizer", self.generator_optimizer, tensors)
        unpack_optimizer("discriminator_optimizer", self.discriminator_optimizer, tensors)
        self.step = step


def _place(network: nn.Module, device: torch.device) -> nn.Module:
    network.to(device)
    return network.to(memory_format=torch.channels_last)


def trial_step(training: Training) -> Callable[[Precision], None]:
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
