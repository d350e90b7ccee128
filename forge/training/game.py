"""The game: two networks, their optimizers, averaged weights, and the moves of a step.

All randomness of step n follows from (seed, n): nothing random needs saving, and a killed training continues exactly
where its last checkpoint stood.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from forge.checkpoint import pack_module, pack_optimizer, unpack_module, unpack_optimizer
from forge.compute import Precision, derive_seed
from forge.distributed import World
from forge.networks.layers import MinibatchDeviation
from forge.training.augment import adapted, augment, flipped, to_float
from forge.training.monitor import gradient_norm
from forge.training.objectives import OBJECTIVES, gradient_penalty, path_lengths, zero_centred_penalty
from forge.training.task import Training

RESIDENT_BYTES = 4 << 30  # a set up to this size is held on the device as one uint8 tensor, larger ones stream
ADAPT_EVERY = 4  # discriminator moves between changes of the augmentation probability, as in ADA


class Game:
    """The state of a training.

    Args:
        training: what is trained, on what.
        precision: of the networks' arithmetic.
        world: the processes that train together.
    """

    def __init__(self, training: Training, precision: Precision, world: World | None = None) -> None:
        self.training, self.settings, self.precision = training, training.settings, precision
        self.world = world or World()
        self.device = training.compute.torch_device
        self.objective = OBJECTIVES[self.settings.objective]
        self.images_per_step = self.settings.batch * self.settings.d_steps
        self.steps = max(1, round(self.settings.kimg * 1000 / self.images_per_step))
        self.step = 0
        self.stream, self.lr_factor = 0, 1.0  # of random numbers: another one after the training was rolled back
        self.readings: dict[str, Tensor] = {}
        self._accuracies: list[Tensor] = []
        self._epoch, self._order = -1, torch.empty(0)
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
        # what adapts: augmentation probability, sum and number of D's signs at real images since it changed, mean path
        # length; and for the next tick: sum and number of D's accuracies
        self.scalars = torch.tensor([settings.first_probability, 0.0, 0.0, 0.0, 0.0, 0.0])
        self.share = self.world.share(settings.batch)
        self.joint = _judges_jointly(self.discriminator, self.share.stop - self.share.start)

    def _load_images(self) -> None:
        view = self.training.view
        size = len(view) * view.faces.resolution**2 * 3
        self.images = torch.from_numpy(view.read()).to(self.device) if size <= RESIDENT_BYTES else None
        codes = self.training.codes
        self.codes = None if codes is None else torch.from_numpy(codes).to(self.device)

    def _real_batch(self, move: int) -> tuple[Tensor, Tensor | None]:
        """This process' share of a batch of real images, float in -1..1, and labels; an epoch shows each image once."""
        count, batch = len(self.training.view), self.settings.batch
        epoch, position = divmod(self.step * self.settings.d_steps + move, count // batch)
        if self._epoch != epoch:
            source = torch.Generator().manual_seed(derive_seed(self.training.seed, "order", epoch))
            self._epoch, self._order = epoch, torch.randperm(count, generator=source)
        chosen = self._order[position * batch : (position + 1) * batch][self.share]
        if self.images is not None:
            raw = self.images[chosen.to(self.device)]
        else:
            raw = torch.from_numpy(self.training.view.read(chosen.numpy())).to(self.device)
        images = to_float(raw)
        if self.settings.flip:
            images = flipped(images, (torch.rand(batch) < 0.5)[self.share].to(self.device))
        return images, None if self.codes is None else self.codes[chosen.to(self.device)]

    def _latents(self) -> Tensor:
        return self.training.architecture.latents(self.settings.batch, self.device)[self.share]

    def _forge(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        with self.training.compute.autocast(self.precision):
            forged: Tensor = self.generator(latents) if labels is None else self.generator(latents, labels)
        return forged

    def _judge(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logits [N] in fp32 of images as the discriminator sees them: augmented."""
        with self.training.compute.autocast(self.precision):
            seen = augment(images, self.settings.augment, float(self.scalars[0]))
            logits: Tensor = self.discriminator(seen) if labels is None else self.discriminator(seen, labels)
        return logits.float()

    def advance(self, *, measure: bool = False) -> None:
        """Play one step: the discriminator's moves, then the generator's.

        Args:
            measure: also read the norms of the gradients.
        """
        self._seed()
        settings = self.settings
        if settings.d_steps == settings.g_steps == 1 and settings.share_forgeries:
            real, labels = self._real_batch(0)
            latents = self._latents()
            self._branch()
            forged = self._forge(latents, labels)
            self._move_discriminator(real, forged.detach().float(), labels, self.step, measure)
            self._move_generator(forged, real, labels, self.step, measure)
        else:
            for move in range(settings.d_steps):
                self._seed(move)
                real, labels = self._real_batch(move)
                latents = self._latents()
                self._branch(move)
                with torch.no_grad():
                    forged = self._forge(latents, labels).float()
                self._move_discriminator(real, forged, labels, self.step * settings.d_steps + move, measure)
            for move in range(settings.g_steps):
                self._seed(settings.d_steps + move)
                latents = self._latents()
                self._branch(settings.d_steps + move)
                forged = self._forge(latents, labels)
                self._move_generator(forged, real, labels, self.step * settings.g_steps + move, measure)
        self.step += 1
        self._average()

    def _seed(self, *more: int) -> None:
        """Random numbers that all processes share."""
        diverted = ("stream", self.stream) if self.stream else ()
        torch.manual_seed(derive_seed(self.training.seed, "step", self.step, *more, *diverted))

    def _branch(self, *more: int) -> None:
        """Random numbers of this process alone, so that noise and augmentation are not the same in all."""
        if self.world.rank:
            torch.manual_seed(derive_seed(self.training.seed, "rank", self.world.rank, self.step, self.stream, *more))

    def _move_discriminator(
        self, real: Tensor, forged: Tensor, labels: Tensor | None, move: int, measure: bool
    ) -> None:
        self.discriminator.requires_grad_(True)
        if self.joint:
            both = None if labels is None else torch.cat([labels, labels])
            real_logits, forged_logits = self._judge(torch.cat([real, forged]), both).chunk(2)
        else:
            real_logits, forged_logits = self._judge(real, labels), self._judge(forged, labels)
        loss = self.objective.discriminator(real_logits, forged_logits)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if move % self.settings.penalty_every == 0:
            self._penalise(real, forged, labels)
        self.world.average_gradients(self.discriminator)
        if measure:
            self.readings["d_grad_norm"] = gradient_norm(self.discriminator.parameters())
        self.discriminator_optimizer.step()
        with torch.no_grad():
            correct = self._share_right(real_logits, forged_logits)
            self.readings |= {"d_loss": loss.detach(), "d_accuracy": correct}
            self._accuracies.append(correct)
            self._real_logits = real_logits.detach()
            if self.settings.augment_target is not None:
                self._adapt(real_logits, move)

    def _share_right(self, real: Tensor, forged: Tensor) -> Tensor:
        """Share of images on the right side of the boundary; without one, of pairs in the right order."""
        boundary = self.objective.boundary
        if boundary is None:
            return (real > forged).float().mean()
        return ((real > boundary).float().mean() + (forged < boundary).float().mean()) / 2

    def share_readings(self) -> None:
        """Replace the readings by their means over all processes."""
        self.readings = {name: value.float().reshape(()) for name, value in self.readings.items()}
        self.world.average(self.readings.values())

    def _penalise(self, real: Tensor, forged: Tensor, labels: Tensor | None) -> None:
        """Add the gradients of the penalties, in fp32: bf16 gradients of gradients are too coarse."""
        settings = self.settings

        def judge(images: Tensor) -> Tensor:
            logits: Tensor = self.discriminator(images) if labels is None else self.discriminator(images, labels)
            return logits

        penalties: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "r1": (settings.r1_gamma, lambda: zero_centred_penalty(judge, real)),
            "r2": (settings.r2_gamma, lambda: zero_centred_penalty(judge, forged)),
            "gradient_penalty": (settings.gradient_penalty, lambda: gradient_penalty(judge, real, forged)),
        }
        for name, (weight, penalty) in penalties.items():
            if weight:
                value = penalty()
                torch.autograd.backward(value * (weight * settings.penalty_every))
                self.readings[name] = value.detach()

    def _adapt(self, real_logits: Tensor, move: int) -> None:
        """Gather the signs of D at real images, and change the augmentation probability every few moves."""
        settings = self.settings
        signs = (real_logits - (self.objective.boundary or 0.0)).sign().sum().reshape(1)
        self.world.average([signs])
        self.scalars[1] += float(signs) * self.world.size
        self.scalars[2] += settings.batch
        if (move + 1) % ADAPT_EVERY == 0:
            self.scalars[0] = adapted(
                float(self.scalars[0]),
                float(self.scalars[1] / self.scalars[2]),
                target=settings.augment_target or 0.0,
                images=int(self.scalars[2]),
                kimg=settings.augment_kimg,
                most=settings.augment_most,
            )
            self.scalars[1:3] = 0
        self.readings["augment"] = self.scalars[0].clone()

    def _move_generator(self, forged: Tensor, real: Tensor, labels: Tensor | None, move: int, measure: bool) -> None:
        self.discriminator.requires_grad_(False)
        logits = self._judge(forged, labels)
        real_logits = self._real_logits
        if self.objective.relative:
            with torch.no_grad():
                real_logits = self._judge(real, labels)
        loss = self.objective.generator(real_logits, logits)
        self.generator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.settings.path_length and move % self.settings.path_every == 0:
            self._smooth_paths(labels)
        self.world.average_gradients(self.generator)
        if measure:
            self.readings["g_grad_norm"] = gradient_norm(self.generator.parameters())
        self.generator_optimizer.step()
        self.readings["g_loss"] = loss.detach()

    def _smooth_paths(self, labels: Tensor | None) -> None:
        """Path-length penalty on half a batch, as in StyleGAN2: images should move as far with every style."""
        latents = self._latents()
        half = max(1, len(latents) // 2)
        given = () if labels is None else (labels[:half],)
        images, styles = cast(Any, self.generator).with_styles(latents[:half], *given)
        lengths = path_lengths(images, styles)
        mean = lengths.detach().mean().reshape(1)
        self.world.average([mean])
        self.scalars[3:4] = torch.lerp(self.scalars[3:4], mean.cpu(), 0.01)
        penalty = (lengths - float(self.scalars[3])).square().mean()
        torch.autograd.backward(penalty * (self.settings.path_length * self.settings.path_every))
        self.readings["path_length"] = lengths.detach().mean()

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the current ones (half-life as in StyleGAN2-ADA, ramped at the start)."""
        shown = self.step * self.images_per_step
        half_life = min(self.settings.ema_kimg * 1000, shown * self.settings.ema_ramp)
        weight = 1 - 0.5 ** (self.images_per_step / half_life) if half_life > 0 else 1.0
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.generator.parameters()), weight)
        for average, current in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
            average.copy_(current)

    @property
    def kimg(self) -> float:
        """Thousands of real images shown so far."""
        return self.step * self.images_per_step / 1000

    def mean_accuracy(self, *, restart: bool = False) -> float:
        """The mean accuracy of the discriminator over its moves since the last restart."""
        self._gather_accuracies()
        mean = (self.scalars[4] / self.scalars[5].clamp(min=1)).reshape(1).to(self.device)
        self.world.average([mean])
        if restart:
            self.scalars[4:] = 0
        return float(mean)

    def _gather_accuracies(self) -> None:
        if self._accuracies:
            self.scalars[4] += float(torch.stack(self._accuracies).sum())
            self.scalars[5] += len(self._accuracies)
            self._accuracies = []

    def divert(self, stream: int, lr_factor: float) -> None:
        """Go on with another stream of random numbers, at a share of the learning rates of the settings."""
        self.stream, self.lr_factor = stream, lr_factor
        for optimizer, rate in (
            (self.generator_optimizer, self.settings.generator_lr),
            (self.discriminator_optimizer, self.settings.discriminator_lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * lr_factor

    def pack(self) -> dict[str, Tensor]:
        """All tensors of the state by name."""
        self._gather_accuracies()
        return {
            **pack_module("generator", self.generator),
            **pack_module("discriminator", self.discriminator),
            **pack_module("averaged", self.averaged),
            **pack_optimizer("generator_optimizer", self.generator_optimizer),
            **pack_optimizer("discriminator_optimizer", self.discriminator_optimizer),
            "scalars": self.scalars,
        }

    def unpack(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take over what `pack` gave after `step` steps."""
        unpack_module("generator", self.generator, tensors)
        unpack_module("discriminator", self.discriminator, tensors)
        unpack_module("averaged", self.averaged, tensors)
        unpack_optimizer("generator_optimizer", self.generator_optimizer, tensors)
        unpack_optimizer("discriminator_optimizer", self.discriminator_optimizer, tensors)
        self.scalars = tensors["scalars"].cpu().clone()
        self.step = step


def _judges_jointly(discriminator: nn.Module, batch: int) -> bool:
    """Whether real and forged images can be judged as one batch without learning of each other."""
    for module in discriminator.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return False
        if isinstance(module, MinibatchDeviation) and batch % module.group:
            return False
    return True


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
            batch = training.settings.batch
            labels = None if training.codes is None else torch.from_numpy(training.codes[:batch]).to(device)
            given = () if labels is None else (labels,)
            forged = generator(architecture.latents(batch, device), *given)
            both = () if labels is None else (torch.cat([labels, labels]),)
            logits = discriminator(torch.cat([forged.float(), forged.float()]), *both)
        torch.autograd.backward(logits.float().mean())

    return step
