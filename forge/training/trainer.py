"""The training loop: batches, random numbers, averaged weights, checkpoints; it knows no loss and no discriminator.

What a step computes is the training method's (`forge.training.steps`); what happens around steps is the callbacks'
(`forge.training.callbacks`). All random numbers of step n follow from (seed, n), so that nothing random has to be saved
and a killed training continues exactly where its last checkpoint stood.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forge.core.checkpoint import load_checkpoint, pack_module, refuse_other_settings, save_checkpoint, unpack_module
from forge.core.compute import Precision, derive_seed
from forge.core.distributed import ProcessGroup
from forge.core.execution import execution_of
from forge.core.graphs import StepGraphs
from forge.core.seeding import seed_torch
from forge.generators.artifact import settle_batch_norm, write_generator
from forge.training.averaging import AveragedWeights
from forge.training.batches import Batch, Batches
from forge.training.readings import Readings
from forge.training.steps import method_of
from forge.training.steps.base import StepContext, StepRandom, TrainingMethod
from forge.training.task import Training

SAMPLES = 64  # images of a sample grid, and of a batch that makes images for callbacks


class Callback:
    """Hooks around the steps of a training, called in all processes.

    The moments: `setup` when the trainer is made; `load_state_dict` if a checkpoint is continued; `on_start` before the
    first step; `on_step` after each step; `on_rewind` after the training returned to an earlier state; `state_dict`
    when a checkpoint is written; `on_end` after the last step; `on_publish` when the result is written, in the first
    process alone.
    """

    def setup(self, trainer: Trainer) -> None:
        """Prepare for a training: networks are there, nothing was restored yet."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over from a checkpoint what `state_dict` of all callbacks gave."""

    def on_start(self, trainer: Trainer) -> None:
        """Begin, or continue where `trainer.resumed`."""

    def on_step(self, trainer: Trainer) -> None:
        """Act after a step; `trainer.values` are of this step where `trainer.logged`."""

    def on_rewind(self, trainer: Trainer, state: Mapping[str, Any] | None) -> None:
        """Follow the trainer to an earlier state; None: to the beginning."""

    def state_dict(self) -> dict[str, Any]:
        """Return JSON values that a checkpoint must hold, under names that no other callback uses."""
        return {}

    def on_end(self, trainer: Trainer) -> None:
        """Act after the last step."""

    def on_publish(self, trainer: Trainer, out: Path) -> None:
        """Write into the directory of the finished generator."""


class Trainer:
    """A training method in its loop.

    Args:
        training: what is trained, on what.
        precision: of the networks' arithmetic.
        processes: the processes that train together.
        callbacks: called around steps, in this order.
        graph: replay steps as CUDA graphs on a GPU; by default what `forge.core.execution` says of the architecture.
        method: the training method; by default what the architecture declares.

    Attributes:
        method: the networks and what a step computes.
        averaged: the moving average of the generator's weights.
        step: steps done; `steps` in all.
        readings: numbers that steps measure, on the device.
        values: readings as numbers, fetched at steps that are logged; means over all processes.
        logged: whether `values` are of the step just done.
        resumed: whether a checkpoint was restored.
    """

    def __init__(
        self,
        training: Training,
        precision: Precision,
        processes: ProcessGroup | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        graph: bool | None = None,
        method: type[TrainingMethod] | None = None,
    ) -> None:
        self.training, self.settings, self.precision = training, training.settings, precision
        self.processes, self.callbacks = processes or ProcessGroup(), callbacks
        self.device = training.compute.torch_device
        self._graph = execution_of("generators", training.reference).graph if graph is None else graph
        self._method = method or method_of(training.architecture)
        self.batches = Batches(training, self.processes.share(self.settings.batch), self._method.views(training))
        self.values: dict[str, float] = {}
        self.logged, self.resumed = False, False
        self._build()
        self.images_per_step = self.settings.batch * self.method.batches_per_step
        self.steps = max(1, round(self.settings.kimg * 1000 / self.images_per_step))
        for callback in self.callbacks:
            callback.setup(self)

    def _build(self) -> None:
        """Networks, optimisers and averaged weights as they are before the first step."""
        self.step, self.lr_factor = 0, 1.0
        self.random = StepRandom(self.training.seed, self.processes.rank)
        self.readings = Readings(self.device)
        seed_torch(derive_seed(self.training.seed, "weights"))
        context = StepContext(self.training, self.precision, self.processes, self.random, self.readings)
        self.method = self._method(context)
        start = self.training.start
        if start is not None:
            self.method.begin_from(start)
        self.averaged = AveragedWeights(
            self.method.generator, half_life=self.settings.ema_kimg * 1000, ramp=self.settings.ema_ramp
        )
        if start is not None:
            averaged = start.generator(averaged=True, device=str(self.device))
            self.averaged.network.load_state_dict(averaged.state_dict())
        self._rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self.method.optimizers().items()
        }
        # several processes wait for each other within a step, which a graph cannot hold
        enabled = self._graph and self.method.capturable and self.processes.size == 1
        self._graphs = StepGraphs(self._play, self.device, enabled=enabled)

    @property
    def kimg(self) -> float:
        """Thousands of real images shown so far."""
        return self.step * self.images_per_step / 1000

    def due(self, every_kimg: float) -> bool:
        """Return whether an action that recurs every so many thousand images is due after this step."""
        every, step = every_kimg * 1000 / self.images_per_step, self.step
        return step == self.steps or int(step / every) > int((step - 1) / every)

    def run(self) -> None:
        """Train until the last step; the moments at which callbacks are called are those of `Callback`."""
        for callback in self.callbacks:
            callback.on_start(self)
        self.processes.broadcast(None)
        while self.step < self.steps:
            self.logged = (self.step + 1) % self.settings.log_every == 0 or self.step + 1 == self.steps
            self.advance(measure=self.logged)
            if self.logged:
                self.fetch()
            for callback in self.callbacks:
                callback.on_step(self)
        for callback in self.callbacks:
            callback.on_end(self)

    def advance(self, *, measure: bool = False) -> None:
        """Train for one step.

        Args:
            measure: also measure what costs time, such as the norms of gradients.
        """
        self.random.step = self.step
        self.random.shared()
        self._set_rates()
        progress = self.step / self.steps
        self.method.begin_step(progress)
        # a graph measures at every step: that costs little, and one graph less
        plan = self.method.plan(self.step, measure=measure or self._graphs.enabled)
        count = self.method.batches_per_step
        batches = [self.batches.take(self.step * count + i) for i in range(count)]
        self._graphs(plan, *(tensor for batch in batches for tensor in batch))
        self.step += 1
        shown = self.settings.batch * count
        self.averaged.update(self.step * shown, shown, self.method.ema_factor(progress))

    def _play(self, plan: Any, *tensors: Tensor | None) -> None:  # noqa: ANN401 - the method's
        pairs = zip(tensors[::2], tensors[1::2], strict=True)
        self.method.step(plan, [Batch(pixels, labels) for pixels, labels in pairs if pixels is not None])

    def fetch(self) -> None:
        """Fetch the readings from the device into `values`, as means over all processes."""
        self.readings.average(self.processes)
        self.values = self.readings.fetch()

    @property
    def finite(self) -> bool:
        """Return whether all values are finite numbers."""
        return all(map(math.isfinite, self.values.values()))

    @torch.no_grad()
    def images(self, network: nn.Module, count: int, purpose: str, *more: int) -> Tensor:
        """Return forged images [count, 3, H, W] whose inputs and noise follow from the seed and the purpose alone."""
        seed_torch(derive_seed(self.training.seed, purpose, *more))
        was_training = network.training
        network.eval()
        parts = [network(*inputs).float() for inputs in self.method.batches(count, SAMPLES)]
        network.train(was_training)
        return torch.cat(parts)

    @torch.no_grad()
    def generator_readings(self, network: nn.Module) -> dict[str, float]:
        """Return what the method reads of a generator, from the same inputs at every call."""
        seed_torch(derive_seed(self.training.seed, "readings"))
        was_training = network.training
        network.eval()
        readings = self.method.generator_readings(network)
        network.train(was_training)
        return readings

    def settled(self) -> nn.Module:
        """Return the generator with averaged weights and batch-norm statistics of these."""
        settle_batch_norm(self.averaged.network, self.method.inputs, self.device)
        return self.averaged.network

    def save(self, path: Path | None = None) -> None:
        """Write the whole state atomically, by default as the checkpoint that `train` continues from."""
        if not self.processes.first:
            return
        state: dict[str, Any] = {
            "identity": self.training.identity(self.precision),
            "step": self.step,
            "readings": self.readings.fetch(),
            "stream": self.random.stream,
            "lr_factor": self.lr_factor,
        }
        for callback in self.callbacks:
            state |= callback.state_dict()
        save_checkpoint(path or self.training.work / "checkpoint.safetensors", self.pack(), state)

    def pack(self) -> dict[str, Tensor]:
        """Return all tensors of the state by name."""
        return {**self.method.pack(), **pack_module("averaged", self.averaged.network)}

    def unpack(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take over what `pack` gave after `step` steps."""
        self.method.unpack(tensors)
        unpack_module("averaged", self.averaged.network, tensors)
        self.step = step
        self._graphs.clear()  # the optimisers' tensors are others now

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            InputError: it was made with other settings; names them.
        """
        refuse_other_settings(state["identity"], self.training.identity(self.precision), self.training.work)
        self.unpack(tensors, state["step"])
        self.readings.restore(state["readings"])
        self.divert(state["stream"], state["lr_factor"])
        self.resumed = True
        for callback in self.callbacks:
            callback.load_state_dict(state)

    def rewind(self, path: Path, *, stream: int, lr_factor: float) -> None:
        """Return to a saved state, or to the beginning where there is no such file, and go on differently.

        Args:
            path: that `save` wrote.
            stream: of random numbers.
            lr_factor: share of the learning rates of the settings.
        """
        state: Mapping[str, Any] | None = None
        if path.is_file():
            tensors, state = load_checkpoint(path)
            self.unpack(tensors, state["step"])
            self.readings.restore(state["readings"])
        else:
            self._build()
        self.divert(stream, lr_factor)
        for callback in self.callbacks:
            callback.on_rewind(self, state)
        self.processes.broadcast(None)  # all have read the file before the first process writes another
        self.save()

    def divert(self, stream: int, lr_factor: float) -> None:
        """Go on with another stream of random numbers, at a share of the learning rates of the settings."""
        self.random.stream, self.lr_factor = stream, lr_factor
        self._set_rates()
        self._graphs.clear()  # a graph holds the rates it was captured with

    def _set_rates(self) -> None:
        """Set the learning rates of the step at hand: those of the settings, times the schedule, times the factor."""
        factor = self.lr_factor * self.method.rate_factor(self.step / self.steps)
        for name, optimizer in self.method.optimizers().items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * factor

    def publish(self, out: Path) -> None:
        """Write the finished generator, and what the callbacks have of the training."""
        self.write_generator(out, self.training.name)
        for callback in self.callbacks:
            callback.on_publish(self, out)

    def write_generator(self, directory: Path, name: str) -> None:
        """Write the generator as it is now into an existing directory."""
        training, card = self.training, self.training.view.faces.card
        write_generator(
            directory,
            raw=self.method.generator,
            averaged=self.settled(),
            **self.method.published(),
            card={
                "name": name,
                "architecture": training.reference,
                "family": training.architecture.family,
                "settings": training.architecture.settings.model_dump(mode="json"),
                "resolution": training.architecture.resolution,
                "condition": training.condition.to_json() if training.condition else None,
                "domains": training.domains.to_json() if training.domains else None,
                "seed": training.seed,
                "kimg": self.kimg,
                "training": self.settings.model_dump(mode="json"),
                "data": {
                    "name": card.name,
                    "digest": card.digest,
                    "licence": card.licence,
                    "images": len(training.view),
                },
                "precision": self.precision,
                "parameters": {
                    name: sum(p.numel() for p in network.parameters())
                    for name, network in self.method.networks().items()
                },
            },
        )
