"""State of a fit: how far it is, its checkpoint, and the interface to the detector that is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from detect.detectors.base import Scores
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
from forge.core.compute import Compute, Precision
from forge.faces.faceset import Images

CHECKPOINT_SECONDS = 10.0
CHECKPOINT_SHARE = 0.05  # of the time may go into writing checkpoints; a slow disk makes them rarer


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

    def take(self, auc: float, loss: float, settings: NetworkSettings) -> bool:
        """Count a validation; return whether it is the best so far.

        Args:
            auc: that decides which weights are kept.
            loss: decides between equal AUCs.
            settings: with the schedule and the patience.
        """
        # counted by AUC alone: a lower loss at the same AUC is no gain for patience
        self.stale = 0 if auc > self.best_auc else self.stale + 1
        if settings.schedule == "plateau" and self.stale == settings.patience:
            self.stale, self.drops = 0, self.drops + 1
        self.loss_steps = 0
        # of equal AUCs, common at 1.000, the lower loss is the better separated fit
        if (auc, -loss) <= (self.best_auc, -self.best_loss):
            return False
        self.best_auc, self.best_loss, self.best_step = auc, loss, self.step
        return True


class FitCheckpoint:
    """The checkpoint of a fit, written as often as its cost allows.

    Args:
        folder: of the file.
        made_with: what was asked for, JSON values; a checkpoint is continued only by a fit that asked for exactly this.
    """

    def __init__(self, folder: Path, made_with: dict[str, Any]) -> None:
        self.file, self._folder, self._made_with = folder / "checkpoint.safetensors", folder, made_with
        self._next = time.monotonic() + CHECKPOINT_SECONDS

    @property
    def due(self) -> bool:
        """Return whether it is time to write one."""
        return time.monotonic() >= self._next

    def save(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        best: Mapping[str, Tensor],
        progress: Progress,
        precision: Precision,
    ) -> None:
        """Write weights, moments, the best weights so far and the progress, atomically."""
        tensors = pack_module("network", network) | pack_optimizer("optimizer", optimizer)
        tensors |= {f"best.{name}": value for name, value in best.items()}
        state = {"made_with": self._made_with, "progress": asdict(progress), "precision": precision}
        start = time.monotonic()
        save_checkpoint(self.file, tensors, state)
        end = time.monotonic()
        self._next = end + max(CHECKPOINT_SECONDS, (end - start) / CHECKPOINT_SHARE)

    def load(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, class_name: str
    ) -> tuple[Progress, Precision, dict[str, Tensor]] | None:
        """Restore network and optimizer; return progress, precision and best weights, None where there is no file.

        Args:
            network: of the same fit.
            optimizer: of that network.
            class_name: of the detector.

        Raises:
            InputError, CorruptError: the checkpoint is of another fit, or damaged.
        """
        if not self.file.is_file():
            return None
        tensors, state = load_checkpoint(self.file)
        made_with = state["made_with"]
        if made_with["detector"].endswith(f".{class_name}"):  # checkpoints once held the path of the class
            made_with["detector"] = self._made_with["detector"]
        refuse_other_settings(made_with, self._made_with, self._folder)
        best = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}
        unpack_module("network", network, tensors)
        unpack_optimizer("optimizer", optimizer, tensors)
        return Progress(**state["progress"]), state["precision"], best
