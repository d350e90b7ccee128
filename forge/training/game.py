"""The game: two networks, their optimizers, averaged weights, and the moves of a step.

All randomness of step n follows from (seed, n): nothing random needs saving, and a killed training continues exactly
where its last checkpoint stood. A step never reads a value back from the device, so that a GPU always has work waiting.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from forge.checkpoint import pack_module, pack_optimizer, unpack_module, unpack_optimizer
from forge.compute import Precision, derive_seed, to_device
from forge.distributed import World
from forge.execution import execution_of
from forge.faces.faceset import Indices
from forge.faces.feeding import PixelFeed
from forge.graphs import StepGraphs
from forge.training.augment import adapted, augment, flipped, to_float
from forge.training.monitor import gradient_norm
from forge.training.objectives import OBJECTIVES, gradient_penalty, path_lengths, zero_centred_penalty
from forge.training.setup import by_type, judges_jointly, place
from forge.training.task import Training

RESIDENT_BYTES = 4 << 30  # a set up to this size is held on the device as one uint8 tensor, larger ones stream
ADAPT_EVERY = 4  # discriminator moves between changes of the augmentation probability, as in ADA


class Extras(NamedTuple):
    """What a move does beside its loss, which is not the same at every step.

    Attributes:
        penalise: the discriminator's gradient penalties.
        adapt: a change of the augmentation probability.
        smooth: the generator's path-length penalty.
        measure: the norms of the gradients are read.
    """

    penalise: bool = False
    adapt: bool = False
    smooth: bool = False
    measure: bool = False


class Game:
    """The state of a training.

    Args:
        training: what is trained, on what.
        precision: of the networks' arithmetic.
        world: the processes that train together.
        graph: replay steps as CUDA graphs on a GPU; by default what `forge.execution` says of the architecture.
    """

    def __init__(
        self, training: Training, precision: Precision, world: World | None = None, *, graph: bool | None = None
    ) -> None:
        self.training, self.settings, self.precision = training, training.settings, precision
        self.world = world or World()
        self.device = training.compute.torch_device
        self.objective = OBJECTIVES[self.settings.objective]
        self.images_per_step = self.settings.batch * self.settings.d_steps
        self.steps = max(1, round(self.settings.kimg * 1000 / self.images_per_step))
        self.step = 0
        self.stream, self.lr_factor = 0, 1.0  # of random numbers: another one after the training was rolled back
        self.readings: dict[str, Tensor] = {}
        self._orders: dict[int, Tensor] = {}
        self._build()
        self._load_images()
        settings = self.settings
        self._together = settings.d_steps == settings.g_steps == 1 and settings.share_forgeries
        # several moves a step seed each move on its own, and several processes wait for each other: neither is captured
        graph = execution_of("generators", training.reference).graph if graph is None else graph
        self._graphs = StepGraphs(self._play, self.device, enabled=graph and self._together and self.world.size == 1)

    def _build(self) -> None:
        torch.manual_seed(derive_seed(self.training.seed, "weights"))
        architecture, settings = self.training.architecture, self.settings
        self.generator = place(architecture.generator(), self.device)
        self.discriminator = place(architecture.discriminator(), self.device)
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = self._adam(self.generator, settings.generator_lr)
        self.discriminator_optimizer = self._adam(self.discriminator, settings.discriminator_lr)
        # what adapts: augmentation probability, sum and number of D's signs at real images since it changed, mean path
        # length; and for the next tick: sum and number of D's accuracies
        self.scalars = torch.tensor([settings.first_probability, 0.0, 0.0, 0.0, 0.0, 0.0], device=self.device)
        self._buffers = by_type(self.averaged, self.generator)
        self.share = self.world.share(settings.batch)
        self.joint = judges_jointly(self.discriminator, self.share.stop - self.share.start)

    def _adam(self, network: nn.Module, rate: float) -> torch.optim.Adam:
        betas = (self.settings.beta1, self.settings.beta2)
        capturable = self.device.type == "cuda"
        return torch.optim.Adam(network.parameters(), rate, betas, fused=True, capturable=capturable)

    def _load_images(self) -> None:
        view = self.training.view
        size = len(view) * view.faces.resolution**2 * 3
        self._feed = PixelFeed(view, self.device, resident=size <= RESIDENT_BYTES)
        codes = self.training.codes
        self.codes = None if codes is None else torch.from_numpy(codes).to(self.device)

    def _positions(self, number: int) -> Indices:
        """Which images this process shows in batch `number`; an epoch shows each image once."""
        count, batch = len(self.training.view), self.settings.batch
        epoch, position = divmod(number, count // batch)
        if epoch not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key >= epoch - 1}
            source = torch.Generator().manual_seed(derive_seed(self.training.seed, "order", epoch))
            self._orders[epoch] = torch.randperm(count, generator=source)
        return cast(Indices, self._orders[epoch][position * batch : (position + 1) * batch][self.share].numpy())

    def _real_batch(self, move: int) -> tuple[Tensor, Tensor | None]:
        """This process' share of a batch of real images, uint8 [N, H, W, 3], and labels."""
        number = self.step * self.settings.d_steps + move
        chosen = self._positions(number)
        pixels = self._feed.take(chosen, lambda: self._positions(number + 1))
        labels = None if self.codes is None else self.codes[to_device(torch.from_numpy(chosen), self.device)]
        return pixels, labels

    def _shown(self, pixels: Tensor) -> Tensor:
        """Real images as floats in -1..1, mirrored at random."""
        images = to_float(pixels)
        if self.settings.flip:
            images = flipped(images, (torch.rand(self.settings.batch, device=self.device) < 0.5)[self.share])
        return images

    def _latents(self) -> Tensor:
        return self.training.architecture.latents(self.settings.batch, self.device)[self.share]

    def _forge(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        with self.training.compute.autocast(self.precision):
            forged: Tensor = self.generator(latents) if labels is None else self.generator(latents, labels)
        return forged

    def _judge(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logits [N] in fp32 of images as the discriminator sees them: augmented."""
        adapts = self.settings.augment_target is not None
        probability = self.scalars[0] if adapts else self.settings.first_probability
        with self.training.compute.autocast(self.precision):
            seen = augment(images, self.settings.augment, probability)
            logits: Tensor = self.discriminator(seen) if labels is None else self.discriminator(seen, labels)
        return logits.float()

    def advance(self, *, measure: bool = False) -> None:
        """Play one step: the discriminator's moves, then the generator's.

        Args:
            measure: also read the norms of the gradients.
        """
        self._seed()
        settings = self.settings
        if self._together:
            # a graph reads the norms at every step: that costs little, and a graph less
            extras = self._extras(self.step, self.step, measure or self._graphs.enabled)
            self._graphs(extras, *self._real_batch(0))
        else:
            for move in range(settings.d_steps):
                self._seed(move)
                pixels, labels = self._real_batch(move)
                real, latents = self._shown(pixels), self._latents()
                self._branch(move)
                with torch.no_grad():
                    forged = self._forge(latents, labels).float()
                self._move_discriminator(
                    real, forged, labels, self._extras(self.step * settings.d_steps + move, 0, measure)
                )
            for move in range(settings.g_steps):
                self._seed(settings.d_steps + move)
                latents = self._latents()
                self._branch(settings.d_steps + move)
                forged = self._forge(latents, labels)
                self._move_generator(
                    forged, real, labels, self._extras(0, self.step * settings.g_steps + move, measure)
                )
        self.step += 1
        self._average()

    def _extras(self, d_move: int, g_move: int, measure: bool) -> Extras:
        settings = self.settings
        penalties = settings.r1_gamma or settings.r2_gamma or settings.gradient_penalty
        return Extras(
            penalise=bool(penalties) and d_move % settings.penalty_every == 0,
            adapt=settings.augment_target is not None and (d_move + 1) % ADAPT_EVERY == 0,
            smooth=bool(settings.path_length) and g_move % settings.path_every == 0,
            measure=measure,
        )

    def _play(self, extras: Extras, pixels: Tensor, labels: Tensor | None) -> None:
        """One move of each on the same forgeries: what a CUDA graph holds."""
        real, latents = self._shown(pixels), self._latents()
        self._branch()
        forged = self._forge(latents, labels)
        self._move_discriminator(real, forged.detach().float(), labels, extras)
        self._move_generator(forged, real, labels, extras)

    def _read(self, name: str, value: Tensor) -> None:
        """Keep a reading on the device, always in the same place, where graphs of every kind of step write it."""
        if name in self.readings:
            self.readings[name].copy_(value.detach())
        else:
            self.readings[name] = value.detach().float().reshape(()).clone()

    def _seed(self, *more: int) -> None:
        """Random numbers that all processes share."""
        diverted = ("stream", self.stream) if self.stream else ()
        torch.manual_seed(derive_seed(self.training.seed, "step", self.step, *more, *diverted))

    def _branch(self, *more: int) -> None:
        """Random numbers of this process alone, so that noise and augmentation are not the same in all."""
        if self.world.rank:
            torch.manual_seed(derive_seed(self.training.seed, "rank", self.world.rank, self.step, self.stream, *more))

    def _move_discriminator(self, real: Tensor, forged: Tensor, labels: Tensor | None, extras: Extras) -> None:
        self.discriminator.requires_grad_(True)
        if self.joint:
            both = None if labels is None else torch.cat([labels, labels])
            real_logits, forged_logits = self._judge(torch.cat([real, forged]), both).chunk(2)
        else:
            real_logits, forged_logits = self._judge(real, labels), self._judge(forged, labels)
        loss = self.objective.discriminator(real_logits, forged_logits)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if extras.penalise:
            self._penalise(real, forged, labels)
        self.world.average_gradients(self.discriminator)
        if extras.measure:
            self._read("d_grad_norm", gradient_norm(self.discriminator.parameters()))
        self.discriminator_optimizer.step()
        with torch.no_grad():
            correct = self._share_right(real_logits, forged_logits)
            self._read("d_loss", loss)
            self._read("d_accuracy", correct)
            self.scalars[4].add_(correct)
            self.scalars[5].add_(1)
            self._real_logits = real_logits.detach()
            if self.settings.augment_target is not None:
                self._watch_signs(real_logits, adapt=extras.adapt)

    def _share_right(self, real: Tensor, forged: Tensor) -> Tensor:
        """Share of images on the right side of the boundary; without one, of pairs in the right order."""
        boundary = self.objective.boundary
        if boundary is None:
            return (real > forged).float().mean()
        return ((real > boundary).float().mean() + (forged < boundary).float().mean()) / 2

    def share_readings(self) -> None:
        """Replace the readings by their means over all processes."""
        self.world.average(self.readings.values())

    def read(self) -> dict[str, float]:
        """The readings, each of the last step that took it; waits for the device, once for all of them."""
        names = sorted(self.readings)
        if not names:
            return {}
        values: list[float] = torch.stack([self.readings[name] for name in names]).tolist()
        return dict(zip(names, values, strict=True))

    def restore_readings(self, readings: Mapping[str, float]) -> None:
        """Take over what `read` gave."""
        self.readings = {name: torch.tensor(value, device=self.device) for name, value in readings.items()}

    def _penalise(self, real: Tensor, forged: Tensor, labels: Tensor | None) -> None:
        """Add the gradients of the penalties, not in bf16, whose gradients of gradients are too coarse."""
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
                with self.training.compute.tensor_cores(self.precision):
                    value = penalty()
                    torch.autograd.backward(value * (weight * settings.penalty_every))
                self._read(name, value)

    def _watch_signs(self, real_logits: Tensor, *, adapt: bool) -> None:
        """Gather the signs of D at real images, and change the augmentation probability every few moves."""
        settings = self.settings
        signs = (real_logits - (self.objective.boundary or 0.0)).sign().sum().reshape(1)
        self.world.average([signs])
        self.scalars[1].add_(signs[0] * self.world.size)
        self.scalars[2].add_(settings.batch)
        if adapt:
            probability = adapted(
                self.scalars[0],
                self.scalars[1] / self.scalars[2],
                target=settings.augment_target or 0.0,
                images=self.scalars[2],
                kimg=settings.augment_kimg,
                most=settings.augment_most,
            )
            self.scalars[0].copy_(probability)
            self.scalars[1:3].zero_()
        self._read("augment", self.scalars[0])

    def _move_generator(self, forged: Tensor, real: Tensor, labels: Tensor | None, extras: Extras) -> None:
        self.discriminator.requires_grad_(False)
        logits = self._judge(forged, labels)
        real_logits = self._real_logits
        if self.objective.relative:
            with torch.no_grad():
                real_logits = self._judge(real, labels)
        loss = self.objective.generator(real_logits, logits)
        self.generator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if extras.smooth:
            self._smooth_paths(labels)
        self.world.average_gradients(self.generator)
        if extras.measure:
            self._read("g_grad_norm", gradient_norm(self.generator.parameters()))
        self.generator_optimizer.step()
        self._read("g_loss", loss)

    def _smooth_paths(self, labels: Tensor | None) -> None:
        """Path-length penalty on half a batch, as in StyleGAN2: images should move as far with every style."""
        latents = self._latents()
        half = max(1, len(latents) // 2)
        given = () if labels is None else (labels[:half],)
        images, styles = cast(Any, self.generator).with_styles(latents[:half], *given)
        lengths = path_lengths(images, styles)
        mean = lengths.detach().mean().reshape(1)
        self.world.average([mean])
        self.scalars[3:4].lerp_(mean, 0.01)
        penalty = (lengths - self.scalars[3]).square().mean()
        torch.autograd.backward(penalty * (self.settings.path_length * self.settings.path_every))
        self._read("path_length", lengths.mean())

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the current ones (half-life as in StyleGAN2-ADA, ramped at the start)."""
        shown = self.step * self.images_per_step
        half_life = min(self.settings.ema_kimg * 1000, shown * self.settings.ema_ramp)
        weight = 1 - 0.5 ** (self.images_per_step / half_life) if half_life > 0 else 1.0
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.generator.parameters()), weight)
        for averaged, current in self._buffers:
            torch._foreach_copy_(averaged, current)

    @property
    def kimg(self) -> float:
        """Thousands of real images shown so far."""
        return self.step * self.images_per_step / 1000

    def mean_accuracy(self, *, restart: bool = False) -> float:
        """The mean accuracy of the discriminator over its moves since the last restart."""
        mean = (self.scalars[4] / self.scalars[5].clamp(min=1)).reshape(1)
        self.world.average([mean])
        if restart:
            self.scalars[4:].zero_()
        return float(mean)

    def divert(self, stream: int, lr_factor: float) -> None:
        """Go on with another stream of random numbers, at a share of the learning rates of the settings."""
        self.stream, self.lr_factor = stream, lr_factor
        for optimizer, rate in (
            (self.generator_optimizer, self.settings.generator_lr),
            (self.discriminator_optimizer, self.settings.discriminator_lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * lr_factor
        self._graphs.clear()  # a graph holds the rates it was captured with

    def pack(self) -> dict[str, Tensor]:
        """All tensors of the state by name."""
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
        self.scalars.copy_(tensors["scalars"])
        self.step = step
        self._graphs.clear()  # the optimizers' tensors are others now
