"""The one training loop of all detectors that are networks.

Several processes (`torchrun`) compute a share of every batch each: gradients, losses and the running statistics of
batch norms are averaged after every backward pass, so that all hold the same network. The first process validates and
writes checkpoints, and what it finds decides for all.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn

from detect.data.augment import augment
from detect.data.batches import BalancedBatches
from detect.detectors.base import FitContext, FitData, FitSummary
from detect.training.adversarial import OVERFITTED, AdversarialSettings, harder
from detect.training.consistency import inconsistency
from detect.training.optim import exhausted, learning_rate_at, make_optimizer, set_learning_rate
from detect.training.state import FitCheckpoint, Progress, TrainableNetwork
from detect.training.validation import validate
from forge.core.compute import Precision, derive_seed
from forge.core.distributed import ProcessGroup
from forge.core.errors import DivergedError, InputError
from forge.core.execution import execution_of
from forge.core.graphs import StepGraphs
from forge.core.interrupt import deferred_interrupt
from forge.core.progress import ProgressEvent

TICK_SECONDS = 0.5
_ASKED_EVERY = 10  # steps after which several processes ask each other whether Ctrl-C came


def fit_network(
    detector: TrainableNetwork, data: FitData, context: FitContext
) -> tuple[nn.Module, Precision, FitSummary]:
    """Train a detector's network; the same seed gives the same weights, also across a kill and a resume (on a CPU).

    All randomness of a step follows from the seed and the step's number, so nothing random needs to be stored.

    Args:
        detector: gives the network, its inputs and its loss.
        data: checked views.
        context: seed, device, checkpoint directory, progress, and the processes that train together, all of which call
            this.

    Returns:
        The network with the weights of the best validation in evaluation mode, the precision used, and the summary.

    Raises:
        DivergedError: the loss is no longer finite.
        InputError, CorruptError: the checkpoint in `context.work` is of another fit, or damaged; a batch that cannot be
            divided among the processes.
    """
    device = context.compute.torch_device
    # weights depend on the seed alone, not on what was drawn before the fit; the generators are put back afterwards
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _seed(device, derive_seed(context.seed, "initial weights"))
        network = detector.build().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        fit = Fit(detector, network, data, context)
        fit.resume()
        fit.run()
    return fit.finish()


class Fit:
    """A network, its batches and optimizer, and how far the fit is.

    Args:
        detector: gives the inputs and the loss.
        network: what is trained, on the device.
        data: checked views.
        context: seed, device, checkpoint directory, progress, processes.
        graph: replay steps as CUDA graphs on a GPU; by default what `forge.core.execution` says of the detector.
    """

    def __init__(
        self,
        detector: TrainableNetwork,
        network: nn.Module,
        data: FitData,
        context: FitContext,
        *,
        graph: bool | None = None,
    ) -> None:
        self.detector, self.network, self.data, self.context = detector, network, data, context
        self.settings, self.compute, self.device = detector.settings, context.compute, context.compute.torch_device
        self.processes = context.processes or ProcessGroup()
        self.batches = BalancedBatches(
            data.train_real,
            data.train_forged,
            size=self.settings.batch,
            seed=derive_seed(context.seed, "batches"),
            device=self.device,
            share=_share_of(self.processes, self.settings.batch, detector.family),
        )
        # an epoch is a pass over the larger class
        self.total = self.settings.epochs * self.batches.steps_per_pass
        if self.settings.max_images is not None:
            self.total = min(self.total, max(1, self.settings.max_images // self.settings.batch))
        every = self.settings.validate_every
        between = self.batches.steps_per_pass if every is None else max(1, every // self.settings.batch)
        # evenly spaced, so that the last validation falls on the last step and none just before it
        self.between = -(-self.total // max(1, round(self.total / between)))
        # frozen parts (a critic, for instance) need no gradient, and clipping must not count them
        self.trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(self.trained, self.settings)
        # running statistics start as the plain mean of the first batches: their initial variance of 1 would otherwise
        # still outweigh the true one after hundreds of steps, and deep networks would score like chance until then
        self.norms = [
            (layer, layer.momentum)
            for layer in network.modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.momentum is not None
        ]
        graph = execution_of("detectors", detector.family).graph if graph is None else graph
        # torch's SGD cannot be captured, nor noise that is drawn on the CPU at each step, nor waiting for others
        enabled = graph and self.settings.optimizer != "sgd" and self.settings.consistency is None
        self._graphs = StepGraphs(self._learn, self.device, enabled=enabled and self.processes.size == 1)
        self.progress = Progress()
        # on the device: reading a loss back at each step would make a GPU wait for it
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.best: dict[str, Tensor] = {}
        self.precision: Precision = "fp32"
        made_with = {
            "settings": detector.settings.model_dump(mode="json"),
            "data": data.describe(),
            "seed": context.seed,
            "detector": detector.family,
        }
        self.checkpoint = FitCheckpoint(context.work, made_with)
        self.next_tick = 0.0

    def run(self) -> None:
        """Train until the last step, or until nothing is gained any more.

        Raises:
            DivergedError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C came; a checkpoint was saved first.
        """
        state, settings = self.progress, self.settings
        with deferred_interrupt() as interrupted:
            while state.step < self.total and not exhausted(settings, stale=state.stale, drops=state.drops):
                self.advance()
                validated = state.step % self.between == 0 or state.step == self.total
                if validated:
                    self._validate()
                # several processes must stop at the same step
                asked = self.processes.size == 1 or validated or state.step % _ASKED_EVERY == 0
                stop = asked and self.processes.broadcast(interrupted())
                # the last step needs no checkpoint: its result follows at once
                if stop or (self.checkpoint.due and state.step < self.total):
                    self._save()
                if stop:
                    raise KeyboardInterrupt
                if validated or time.monotonic() >= self.next_tick:
                    self._tick()

    def finish(self) -> tuple[nn.Module, Precision, FitSummary]:
        """Return the network with the weights of the best validation, the precision used, and the summary."""
        state = self.progress
        self.network.load_state_dict(self.best)
        self.network.eval()
        facts = {
            "precision": self.precision,
            "device": self.compute.describe(),
            "steps": state.step,
            "images_seen": state.step * self.settings.batch,
            "best_after_images": state.best_step * self.settings.batch,
            "best_val_auc": state.best_auc,
            "stopped_early": state.step < self.total,
        }
        if self.processes.size > 1:
            facts["processes"] = self.processes.size
        if self.settings.adversarial is not None:
            last = state.history[-1]
            lost = last["val_auc_fgsm"] - last["val_auc_pgd"]
            facts |= {"best_val_auc_pgd": state.best_auc, "catastrophic_overfitting": lost > OVERFITTED}
            facts["best_val_auc"] = max(entry["val_auc"] for entry in state.history)
        return self.network, self.precision, FitSummary(state.history, facts)

    def advance(self) -> None:
        """Train on one batch."""
        state = self.progress
        # dropout and other noise of the network: a function of seed and step, hence the same after a resume
        _seed(self.device, self._noise_seed("network noise"))
        pixels, labels = self.batches.batch(state.step)
        # drawn for the whole batch, so that several processes see what one would
        source = torch.Generator().manual_seed(derive_seed(self.context.seed, "augment", state.step))
        pixels = augment(pixels, source, self.settings, of=(self.settings.batch, self.batches.positions))
        passes = self.batches.steps_per_pass
        rate = learning_rate_at(state.step, self.total, self.settings, steps_per_pass=passes, drops=state.drops)
        set_learning_rate(self.optimizer, rate)
        self.network.train()
        for layer, momentum in self.norms:
            # momentum 1 / (step + 1): the running mean of all batches so far, until the layer's own momentum is larger
            layer.momentum = max(momentum, 1 / (state.step + 1))
        if self.settings.adversarial is not None:
            pixels = self._harder(pixels, labels, self.settings.adversarial)
        if self._settling:  # a graph would hold the momentum of the step it was captured in
            self._learn(None, pixels, labels)
        else:
            self._graphs(None, pixels, labels)
        state.step += 1
        state.loss_steps += 1

    def _noise_seed(self, purpose: str) -> int:
        """Return the seed of noise at this step; of each process after the first one another."""
        rank = (self.processes.rank,) if self.processes.rank else ()
        return derive_seed(self.context.seed, purpose, self.progress.step, *rank)

    def _harder(self, pixels: Tensor, labels: Tensor, settings: AdversarialSettings) -> Tensor:
        """Return a batch that the network as it would score now errs more on, float32 [N, H, W, C]."""
        source = torch.Generator().manual_seed(self._noise_seed("adversarial"))
        # stored statistics and no noise: the attack must not move running means, and is one on what scores
        self.network.eval()

        def loss(changed: Tensor) -> Tensor:
            with self.compute.autocast(self.precision):
                return self.detector.loss(self.network, self.detector.prepare(changed), labels)

        changed = harder(loss, pixels, settings, source)
        self.network.train()
        return changed

    def _logits(self, pixels: Tensor) -> Tensor:
        with self.compute.autocast(self.precision):
            return self.detector.logits(self.network, self.detector.prepare(pixels))

    @property
    def _settling(self) -> bool:
        return any(layer.momentum != momentum for layer, momentum in self.norms)  # in the first 1 / momentum steps

    def _learn(self, _variant: None, pixels: Tensor, labels: Tensor) -> None:
        """Loss, gradients and the optimizer's step of one batch: what a CUDA graph holds."""
        # None instead of zeros: the first backward pass then writes in place of adding
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(self.network, pixels, labels, self.precision)
        if self.processes.size > 1:
            # one message; shares are equal, so that means of the processes' means are those of the whole batch
            gradients = [parameter.grad for parameter in self.trained if parameter.grad is not None]
            statistics = [buffer for buffer in self.network.buffers() if buffer.is_floating_point()]
            self.processes.average([*gradients, *statistics, loss])
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.settings.clip)
        self.optimizer.step()
        # summed without leaving the device; read at validations and ticks
        self.loss_sum += loss

    def _backward(self, network: nn.Module, pixels: Tensor, labels: Tensor, precision: Precision) -> Tensor:
        with self.compute.autocast(precision):
            loss = self.detector.loss(network, self.detector.prepare(pixels), labels)
            if self.settings.consistency is not None:
                source = torch.Generator().manual_seed(self._noise_seed("consistency"))
                consistency = self.settings.consistency
                loss = loss + consistency.weight * inconsistency(self._logits, pixels, consistency, source)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _validate(self) -> None:
        state, first = self.progress, self.processes.first
        train_loss = self._mean_loss()
        if not math.isfinite(train_loss):
            raise self._diverged("the loss")
        # the others wait for the numbers, which decide alike in all of them
        measured: dict[str, float] | None = None
        if first:
            measured = validate(
                self.detector, self.network, self.data, self.compute, self.precision, logits=self._logits
            )
        values: dict[str, float] = self.processes.broadcast(measured)
        if not math.isfinite(values["val_loss"]):
            raise self._diverged("a validation score")
        seen = state.step * self.settings.batch
        state.history.append({"images": seen, "train_loss": train_loss, **values})
        # what an adversarial fit is for decides which weights are kept
        auc = values["val_auc" if self.settings.adversarial is None else "val_auc_pgd"]
        if state.take(auc, values["val_loss"], self.settings):
            # on the CPU and cloned: training goes on in the same tensors
            self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        self.loss_sum.zero_()

    def _mean_loss(self) -> float:
        return float(self.loss_sum.item() / max(1, self.progress.loss_steps))

    def _diverged(self, what: str) -> DivergedError:
        seen, rate = self.progress.step * self.settings.batch, self.settings.learning_rate
        return DivergedError(
            f"training of {self.detector.family} diverged: {what} is not a finite number after {seen} images; "
            f"lower learning_rate (now {rate:g}), or compute with precision fp32 (now {self.precision})"
        )

    def _finite(self) -> bool:
        """Return whether the loss is a finite number.

        Raises:
            DivergedError: it is not, and this process trains alone; several find out together, at the next validation.
        """
        finite = math.isfinite(self._mean_loss())
        if not finite and self.processes.size == 1:
            raise self._diverged("the loss")
        return finite

    def _tick(self) -> None:
        if not self.processes.first:
            return
        self._finite()
        state, size = self.progress, self.settings.batch
        values = {"loss": self._mean_loss() if state.loss_steps else state.history[-1]["train_loss"]}
        if state.history:
            values["val_auc"] = state.history[-1]["val_auc"]
        self.context.on_progress(ProgressEvent(state.step * size, self.total * size, "images", values))
        self.next_tick = time.monotonic() + TICK_SECONDS

    def _save(self) -> None:
        # a diverged fit must not replace the last good checkpoint
        if self.processes.first and self._finite():
            self.progress.loss_sum = self.loss_sum.item()
            self.checkpoint.save(self.network, self.optimizer, self.best, self.progress, self.precision)

    def resume(self) -> None:
        """Continue from the checkpoint in the working directory, if there is one; choose the precision if not.

        Raises:
            InputError, CorruptError: the checkpoint is of another fit, or damaged.
        """
        stored = self.checkpoint.load(self.network, self.optimizer, type(self.detector).__qualname__)
        if stored is not None:
            self.progress, self.precision, self.best = stored
            self.loss_sum.fill_(self.progress.loss_sum)
        else:
            self.precision = self.compute.decide(execution_of("detectors", self.detector.family))
        # all have read the file before the first process writes another; "auto" may decide otherwise on another GPU
        self.precision = self.processes.broadcast(self.precision)


def _share_of(processes: ProcessGroup, batch: int, family: str) -> slice:
    """Return the part of each half of a batch that a process computes."""
    if batch % (2 * processes.size):
        raise InputError(
            f"batch {batch} of {family}, half of it real faces, cannot be divided among {processes.size} processes; "
            f"choose a multiple of {2 * processes.size}"
        )
    return processes.share(batch // 2)


def _seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
