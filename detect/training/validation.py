"""Validation of a network in training: AUC and loss of its logits, of a defence also under attack."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from detect.data.views import View
from detect.detectors.base import FitData, Scores
from detect.training.adversarial import robust_aucs
from detect.training.calibration import validation_auc
from detect.training.state import TrainableNetwork
from forge.core.compute import Compute, Precision


def validate(
    detector: TrainableNetwork,
    network: nn.Module,
    data: FitData,
    compute: Compute,
    precision: Precision,
    logits: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """Measure a network on the val views; leaves it in evaluation mode.

    Args:
        detector: gives scores and settings.
        network: what is trained, on the device.
        data: with the val views.
        compute: the device.
        precision: of the network's arithmetic.
        logits: pixels [n, H, W, 3] to logits [n], for attacks.

    Returns:
        `val_loss` and `val_auc`, of adversarial training `val_auc_fgsm` and `val_auc_pgd` too; `val_loss` alone, and
        not a finite number, where a score is none.
    """
    network.eval()
    settings, device = detector.settings, compute.torch_device
    # a GPU waits for each batch, so it gets large ones
    size = settings.batch if device.type == "cpu" else detector.part(device)

    def scored(view: View) -> Scores:
        parts = [detector.predict(network, images, compute, precision, size) for images in view.batches(size)]
        return np.concatenate(parts)

    real, forged = scored(data.val_real), scored(data.val_forged)
    if not (np.isfinite(real).all() and np.isfinite(forged).all()):
        return {"val_loss": math.nan}
    # the mean of the classes' losses: a validation set of unequal classes must not favour one of them
    loss = float(np.logaddexp(0, real).mean() + np.logaddexp(0, -forged).mean()) / 2
    values = {"val_loss": loss, "val_auc": validation_auc(real, forged)}
    if settings.adversarial is not None:
        views = data.val_real, data.val_forged
        values |= robust_aucs(logits, views, settings.adversarial, batch=settings.batch, device=device)
    return values
