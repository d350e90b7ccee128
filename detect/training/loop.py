"""The one training loop of all detectors that are networks."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from detect.data.augment import augment
from detect.data.batches import BalancedBatches
from detect.data.views import View
from detect.detectors.base import FitContext, FitData, FitSummary, Scores
from detect.training.adversarial import OVERFITTED, AdversarialSettings, harder, robust_aucs
from detect.training.calibration import validation_auc
from detect.training.consistency import inconsistency
from detect.training.optim import exhausted, learning_rate_at, make_optimizer, set_learning_rate
from detect.training.settings import NetworkSettings
from forge.core.checkpoint import (
    load_checkpoint,
    pack_module,
    pack_optimizer,
    refuse_other_settings,
    save_checkpoint,
    unpack_module,
    unpack_optimizer,
)
from forge.core.compute import Compute, Precision, derive_seed
from forge.core.errors import BenchError
from forge.core.execution import execution_of
from forge.core.graphs import StepGraphs
from forge.core.interrupt import deferred_interrupt
from forge.core.progress import ProgressEvent
from forge.faces.faceset import Images

CHECKPOINT_SECONDS = 10.0
CHECKPOINT_SHARE = 0.05  # of the time may go into writing checkpoints; a slow disk makes them rarer
TICK_SECONDS = 0.5


class TrainableNetwork(Protocol):
    """Interface between the training loop and a detector; `NetworkDetector` implements it."""

    @property
    def family(self) -> str:
        """Name in messages and in the table of precisions."""

    @property
    def settings(self) -> NetworkSettings:
        """Settings of the fit."""

    def build(self) -> nn.Module:
        """Make the network from torch's global generator, which the caller has seeded."""

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into the network's input."""

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Logits of a prepared batch, float32 [N]."""

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Training loss of a prepared batch, a scalar; labels float32 [N], 1 = forged."""

    def part(self, device: torch.device) -> int:
        """Return images to put through the network at a time in scoring on a device."""

    def predict(self, network: nn.Module, images: Images, compute: Compute, precision: Precision, part: int) -> Scores:
        """Logits of uint8 images [n, H, W, 3] without gradients, float64 [n]."""


@dataclass
class Progress:
    """State of a fit; with the tensors this is all that a resumed fit needs.

    Attributes:
        step: training steps done.
        best_step: the step of the best validation.
        best_auc: its AUC.
        best_loss: its loss, which decides between equal AUCs.
        stale: validations in a row without a higher AUC, since the last drop.
        drops: how often the learning rate fell, for schedule plateau.
        loss_sum: summed loss since the last validation.
        loss_steps: steps in that sum.
        history: one mapping a validation.
    """

    step: int = 0
    best_step: int = 0
    best_auc: float = -1.0  # below every AUC, so that the first validation is the best so far
    best_loss: float = 0.0
    stale: int = 0
    drops: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def fit_network(
    detector: TrainableNetwork, data: FitData, context: FitContext
) -> tuple[nn.Module, Precision, FitSummary]:
    """Train a detector's network; the same seed gives the same weights, also across a kill and a resume (on a CPU).

    All randomness of a step follows from the seed and the step's number, so nothing random needs to be stored.

    Args:
        detector: gives the network, its inputs and its loss.
        data: checked views.
        context: seed, device, checkpoint directory, progress.

    Returns:
        The network with the weights of the best validation in evaluation mode, the precision used, and the summary.

    Raises:
        BenchError: the loss is no longer finite.
        InputError, CorruptError: the checkpoint in `context.work` is of another fit, or damaged.
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
        context: seed, device, checkpoint directory, progress.
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
        self.batches = BalancedBatches(
            data.train_real,
            data.train_forged,
            size=self.settings.batch,
            seed=derive_seed(context.seed, "batches"),
            device=self.device,
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
        # torch's SGD cannot be captured, nor noise that is drawn on the CPU at each step
        enabled = graph and self.settings.optimizer != "sgd" and self.settings.consistency is None
        self._graphs = StepGraphs(self._learn, self.device, enabled=enabled)
        self.progress = Progress()
        # on the device: reading a loss back at each step would make a GPU wait for it
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.best: dict[str, Tensor] = {}
        self.precision: Precision = "fp32"
        self.file = context.work / "checkpoint.safetensors"
        # a checkpoint is continued only by a fit that asked for exactly this
        self.made_with = {
            "settings": detector.settings.model_dump(mode="json"),
            "data": data.describe(),
            "seed": context.seed,
            "detector": detector.family,
        }
        self.next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS
        self.next_tick = 0.0

    def run(self) -> None:
        """Train until the last step, or until nothing is gained any more.

        Raises:
            BenchError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C came; a checkpoint was saved first.
        """
        state, settings = self.progress, self.settings
        with deferred_interrupt() as interrupted:
            while state.step < self.total and not exhausted(settings, stale=state.stale, drops=state.drops):
                self.advance()
                validate = state.step % self.between == 0 or state.step == self.total
                if validate:
                    self._validate()
                # the last step needs no checkpoint: its result follows at once
                if interrupted() or (time.monotonic() >= self.next_checkpoint and state.step < self.total):
                    self._checkpoint()
                if interrupted():
                    raise KeyboardInterrupt
                if validate or time.monotonic() >= self.next_tick:
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
        if self.settings.adversarial is not None:
            last = state.history[-1]
            lost = last["val_auc_fgsm"] - last["val_auc_pgd"]
            facts |= {"best_val_auc_pgd": state.best_auc, "catastrophic_overfitting": lost > OVERFITTED}
            facts["best_val_auc"] = max(entry["val_auc"] for entry in state.history)
        return self.network, self.precision, FitSummary(state.history, facts)

    def advance(self) -> None:
        """Train on one batch."""
        state, seed = self.progress, self.context.seed
        # dropout and other noise of the network: a function of seed and step, hence the same after a resume
        _seed(self.device, derive_seed(seed, "network noise", state.step))
        pixels, labels = self.batches.batch(state.step)
        pixels = augment(pixels, torch.Generator().manual_seed(derive_seed(seed, "augment", state.step)), self.settings)
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

    def _harder(self, pixels: Tensor, labels: Tensor, settings: AdversarialSettings) -> Tensor:
        """Return a batch that the network as it would score now errs more on, float32 [N, H, W, C]."""
        source = torch.Generator().manual_seed(derive_seed(self.context.seed, "adversarial", self.progress.step))
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
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.settings.clip)
        self.optimizer.step()
        # summed without leaving the device; read at validations and ticks
        self.loss_sum += loss

    def _backward(self, network: nn.Module, pixels: Tensor, labels: Tensor, precision: Precision) -> Tensor:
        with self.compute.autocast(precision):
            loss = self.detector.loss(network, self.detector.prepare(pixels), labels)
            if self.settings.consistency is not None:
                seed = derive_seed(self.context.seed, "consistency", self.progress.step)
                source = torch.Generator().manual_seed(seed)
                consistency = self.settings.consistency
                loss = loss + consistency.weight * inconsistency(self._logits, pixels, consistency, source)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _validate(self) -> None:
        state = self.progress
        train_loss = self._mean_loss()
        real, forged = self._scores(self.data.val_real), self._scores(self.data.val_forged)
        auc = validation_auc(real, forged)
        # the mean of the classes' losses: a validation set of unequal classes must not favour one of them
        loss = float(np.logaddexp(0, real).mean() + np.logaddexp(0, -forged).mean()) / 2
        seen = state.step * self.settings.batch
        state.history.append({"images": seen, "train_loss": train_loss, "val_loss": loss, "val_auc": auc})
        if self.settings.adversarial is not None:
            self.network.eval()
            robust = robust_aucs(
                self._logits,
                (self.data.val_real, self.data.val_forged),
                self.settings.adversarial,
                batch=self.settings.batch,
                device=self.device,
            )
            state.history[-1] |= robust
            auc = robust["val_auc_pgd"]  # what such a fit is for decides which weights are kept
        # counted by AUC alone: a lower loss at the same AUC is no gain for patience
        state.stale = 0 if auc > state.best_auc else state.stale + 1
        if self.settings.schedule == "plateau" and state.stale == self.settings.patience:
            state.stale, state.drops = 0, state.drops + 1
        # of equal AUCs, common at 1.000, the lower loss is the better separated fit
        if (auc, -loss) > (state.best_auc, -state.best_loss):
            state.best_auc, state.best_loss, state.best_step = auc, loss, state.step
            # on the CPU and cloned: training goes on in the same tensors
            self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        state.loss_steps = 0
        self.loss_sum.zero_()

    def _scores(self, view: View) -> Scores:
        self.network.eval()
        # a GPU waits for each batch, so it gets large ones
        size = self.settings.batch if self.device.type == "cpu" else self.detector.part(self.device)
        scores = np.concatenate(
            [
                self.detector.predict(self.network, images, self.compute, self.precision, size)
                for images in view.batches(size)
            ]
        )
        if not np.isfinite(scores).all():
            raise self._diverged("a validation score")
        return scores

    def _mean_loss(self) -> float:
        mean = self.loss_sum.item() / max(1, self.progress.loss_steps)
        if not math.isfinite(mean):
            raise self._diverged("the loss")
        return mean

    def _diverged(self, what: str) -> BenchError:
        seen, rate = self.progress.step * self.settings.batch, self.settings.learning_rate
        return BenchError(
            f"training of {self.detector.family} diverged: {what} is not a finite number after {seen} images; "
            f"lower learning_rate (now {rate:g}), or compute with precision fp32 (now {self.precision})"
        )

    def _tick(self) -> None:
        state, size = self.progress, self.settings.batch
        values = {"loss": self._mean_loss() if state.loss_steps else state.history[-1]["train_loss"]}
        if state.history:
            values["val_auc"] = state.history[-1]["val_auc"]
        self.context.on_progress(ProgressEvent(state.step * size, self.total * size, "images", values))
        self.next_tick = time.monotonic() + TICK_SECONDS

    def _checkpoint(self) -> None:
        self._mean_loss()  # a diverged fit must not replace the last good checkpoint
        self.progress.loss_sum = self.loss_sum.item()
        tensors = pack_module("network", self.network) | pack_optimizer("optimizer", self.optimizer)
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        state = {"made_with": self.made_with, "progress": asdict(self.progress), "precision": self.precision}
        start = time.monotonic()
        save_checkpoint(self.file, tensors, state)
        end = time.monotonic()
        self.next_checkpoint = end + max(CHECKPOINT_SECONDS, (end - start) / CHECKPOINT_SHARE)

    def resume(self) -> None:
        """Continue from the checkpoint in the working directory, if there is one; choose the precision if not.

        Raises:
            InputError, CorruptError: the checkpoint is of another fit, or damaged.
        """
        if not self.file.is_file():
            self.precision = self.compute.decide(execution_of("detectors", self.detector.family))
            return
        tensors, state = load_checkpoint(self.file)
        made_with, class_name = state["made_with"], type(self.detector).__qualname__
        if made_with["detector"].endswith(f".{class_name}"):  # checkpoints once held the path of the class
            made_with["detector"] = self.detector.family
        refuse_other_settings(made_with, self.made_with, self.context.work)
        self.precision = state["precision"]
        self.progress = Progress(**state["progress"])
        self.loss_sum.fill_(self.progress.loss_sum)
        self.best = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}
        unpack_module("network", self.network, tensors)
        unpack_optimizer("optimizer", self.optimizer, tensors)


def _seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
