"""The interface of a training method: networks, optimisers, and what one step computes from real images.

The loop (`forge.training.trainer`) brings batches, random numbers, averaged weights and checkpoints; it knows no loss.
A method brings the losses and knows nothing of the loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from forge.core.checkpoint import pack_module, pack_optimizer, unpack_module, unpack_optimizer
from forge.core.compute import Precision, derive_seed
from forge.core.distributed import ProcessGroup
from forge.core.seeding import seed_torch
from forge.faces.faceset import FaceView
from forge.faces.tensors import flipped, to_float
from forge.training.batches import Batch
from forge.training.monitor.metrics import SAMPLES
from forge.training.readings import Readings
from forge.training.settings import LoopSettings
from forge.training.task import Training

if TYPE_CHECKING:
    from forge.generators.artifact import TrainedGenerator


@dataclass
class StepRandom:
    """Torch's random state in a step, which follows from (seed, step, stream): nothing random has to be saved.

    Attributes:
        seed: of the training.
        rank: of this process.
        step: the step at hand.
        stream: another one gives other numbers at the same steps, after a training was rolled back.
    """

    seed: int
    rank: int = 0
    step: int = 0
    stream: int = 0

    def shared(self, *more: int) -> None:
        """Seed torch alike in all processes; `more` tells the parts of a step apart."""
        diverted = ("stream", self.stream) if self.stream else ()
        seed_torch(derive_seed(self.seed, "step", self.step, *more, *diverted))

    def local(self, *more: int) -> None:
        """Seed torch for this process alone, so that noise and augmentation differ between processes."""
        if self.rank:
            seed_torch(derive_seed(self.seed, "rank", self.rank, self.step, self.stream, *more))


@dataclass(frozen=True)
class StepContext:
    """Inputs of a training method from the loop.

    Attributes:
        training: what is trained, on what.
        precision: of the networks' arithmetic.
        processes: the processes that train together.
        random: seeded for each step by the loop; a step of several parts seeds each part.
        readings: where losses and other numbers are recorded.
    """

    training: Training
    precision: Precision
    processes: ProcessGroup
    random: StepRandom
    readings: Readings

    @property
    def device(self) -> torch.device:
        """Device of the training."""
        return self.training.compute.torch_device

    @property
    def share(self) -> slice:
        """The part of each batch that this process computes."""
        return self.processes.share(self.training.settings.batch)


class TrainingMethod(ABC):
    """Networks, optimisers and the steps that train them. Torch is seeded when it is made.

    Args:
        context: from the loop.

    Attributes:
        Settings: of the training; a method adds its own to those of the loop.
        remedy: what to try after a training that failed, in words after which a sentence may go on.
        watched: forged images of each look of the health monitor; fewer where making them is dear.
        starts_tellable: whether images of an untrained generator differ from real ones, which the monitor checks.
        takes_guidance: whether the generator can follow a further loss of its images.
        generator: the network that makes images: what is averaged and published.
    """

    Settings: ClassVar[type[LoopSettings]] = LoopSettings
    remedy: ClassVar[str] = "lower the learning rate"
    watched: ClassVar[int] = SAMPLES
    starts_tellable: ClassVar[bool] = True
    takes_guidance: ClassVar[bool] = False
    generator: nn.Module

    def __init__(self, context: StepContext) -> None:
        self.context = context

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse what this method cannot train, before anything is computed.

        Raises:
            InputError: says what cannot be, and what to do.
        """
        return

    def begin_from(self, trained: TrainedGenerator) -> None:
        """Take over the raw weights of a finished training; optimisers begin anew.

        Raises:
            InputError: it has no raw weights, or lacks a network.
        """
        device = str(self.context.device)
        self.generator.load_state_dict(trained.generator(averaged=False, device=device).state_dict())
        for name, network in self.published().items():
            network.load_state_dict(trained.network(name, network, device=device).state_dict())

    def guidance(self, forged: Tensor) -> Tensor | None:
        """Return the further loss of the generator for forged images [N, 3, H, W]; None: there is none."""
        guidance = self.context.training.guidance
        if guidance is None:
            return None
        loss = guidance.loss(forged.float())
        self.context.readings.record("guidance", loss)
        return guidance.weight * loss

    @classmethod
    def views(cls, training: Training) -> Sequence[FaceView]:
        """Return the images whose batches a step takes in turn; by default all that is trained on."""
        return [training.view]

    def expected(self) -> tuple[FaceView, FaceView | None]:
        """Return real images that forgeries should look like, trained on and held out, for the health monitor."""
        return self.context.training.view, self.context.training.held_out

    def rate_factor(self, progress: float) -> float:
        """Return the factor on all learning rates when this share of the steps is done, 0..1; by default always 1."""
        return 1.0

    def ema_factor(self, progress: float) -> float:
        """Return the factor on the half-life of the averaged weights when this share is done; by default always 1."""
        return 1.0

    def begin_step(self, progress: float) -> None:
        """Set what changes over the training, before each step; it must follow from this share of the steps alone."""
        return

    @property
    def batches_per_step(self) -> int:
        """Batches of real images that one step takes."""
        return 1

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph may replay a step: a step never seeds torch, and reads no value back from the device."""
        return False

    @abstractmethod
    def networks(self) -> Mapping[str, nn.Module]:
        """Return all networks by name, the generator as "generator": what a checkpoint holds, and the card counts."""

    @abstractmethod
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return all optimisers by name, which no network has."""

    def plan(self, step: int, *, measure: bool) -> Hashable:
        """Return the key of a step's variant, e.g. that it computes a penalty; each variant gets a CUDA graph.

        Args:
            step: its number, from 0.
            measure: whether costly readings such as gradient norms are wanted.
        """
        return measure

    @abstractmethod
    def step(self, plan: Hashable, batches: Sequence[Batch]) -> None:
        """Train for one step: all optimisers move, and readings are recorded.

        Args:
            plan: of `plan`.
            batches: `batches_per_step` of them.
        """

    def real_images(self, batch: Batch) -> Tensor:
        """Return images of a batch as floats [N, 3, H, W] in -1..1, mirrored at random where the settings say so."""
        settings, images = self.context.training.settings, to_float(batch.pixels)
        if settings.flip:
            # drawn for the whole batch, so that several processes mirror the images that one would
            mirrored = torch.rand(settings.batch, device=self.context.device) < 0.5
            images = flipped(images, mirrored[self.context.share])
        return images

    def scalars(self) -> Mapping[str, Tensor]:
        """Return further tensors that a checkpoint must hold, by name; they are restored in place."""
        return {}

    def inputs(self, count: int) -> tuple[Tensor, ...]:
        """Draw the generator's inputs for `count` images from torch's random state: latents, labels."""
        training = self.context.training
        latents = training.architecture.latents(count, self.context.device)
        return (latents, *training.some_labels(count, self.context.device))

    def batches(self, count: int, size: int) -> Iterator[tuple[Tensor, ...]]:
        """Draw the generator's inputs for `count` images, `size` at a time, from torch's random state."""
        for start in range(0, count, size):
            yield self.inputs(min(size, count - start))

    def discriminate(self, forged: Tensor) -> Callable[[Tensor], Tensor] | None:
        """For the health monitor: images [N, 3, H, W] to logits [N], above 0 for real; None without a discriminator.

        Args:
            forged: images of the averaged generator.
        """
        return None

    def interval_readings(self) -> dict[str, float]:
        """For the health monitor: readings over all steps since the last call, which single steps do not give."""
        return {}

    @property
    def guided(self) -> bool:
        """Whether the generator also follows a loss beside the game; then a discriminator may dominate harmlessly."""
        return False

    def generator_readings(self, generator: nn.Module) -> dict[str, float]:
        """For the health monitor: readings of the generator that it knows by name, see `forge.training.monitor`.

        Args:
            generator: the averaged one, in evaluation mode; torch is seeded alike at every call.
        """
        return {}

    def published(self) -> Mapping[str, nn.Module]:
        """Return networks that are stored with the generator: all others."""
        return {name: network for name, network in self.networks().items() if network is not self.generator}

    def pack(self) -> dict[str, Tensor]:
        """Return all tensors of the state by name."""
        tensors: dict[str, Tensor] = {}
        for name, network in self.networks().items():
            tensors |= pack_module(name, network)
        for name, optimizer in self.optimizers().items():
            tensors |= pack_optimizer(name, optimizer)
        return tensors | dict(self.scalars())

    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `pack` gave.

        Raises:
            InputError: the tensors belong to other networks.
        """
        for name, network in self.networks().items():
            unpack_module(name, network, tensors)
        for name, optimizer in self.optimizers().items():
            unpack_optimizer(name, optimizer, tensors)
        for name, value in self.scalars().items():
            value.copy_(tensors[name])

    @classmethod
    def trial_step(cls, training: Training) -> Callable[[Precision], None]:
        """Return a step on networks of its own, to learn what fits into memory; torch's random state is changed."""
        methods: list[TrainingMethod] = []

        def step(precision: Precision) -> None:
            if not methods or methods[0].context.precision != precision:
                readings = Readings(training.compute.torch_device)
                random = StepRandom(training.seed)
                methods[:] = [cls(StepContext(training, precision, ProcessGroup(), random, readings))]
            method = methods[0]
            size = (training.settings.batch, training.architecture.resolution, training.architecture.resolution, 3)
            pixels = torch.zeros(size, dtype=torch.uint8, device=method.context.device)
            labels = training.some_labels(training.settings.batch, method.context.device)
            batch = Batch(pixels, labels[0] if labels else None)
            method.step(method.plan(0, measure=False), [batch] * method.batches_per_step)

        return step
