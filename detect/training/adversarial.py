"""Adversarial training: each training image is first changed so that the network errs more on it.

N-FGSM (de Jorge et al. 2022) takes one step from a wide random start, whose end is not projected back: one gradient
more per step of the training. PGD (Madry et al. 2018) takes several projected steps. A network that learns to resist
single steps alone has a low loss under them and none under several (catastrophic overfitting, Wong et al. 2020):
validations measure both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from detect.attacks.budget import descent, projected, random_start
from detect.data.views import View, select
from detect.training.calibration import validation_auc

OVERFITTED = 0.2  # AUC under one step less AUC under several, from which on single steps alone are resisted
_CHECKED = 64  # validation images per class that are attacked at each validation
_CHECK_STEPS = 10  # of the descent in validations
_STEP = 2.5  # length of all steps of a descent together, in budgets


class AdversarialSettings(BaseModel):
    """Settings of adversarial training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: Literal["n-fgsm", "pgd"] = Field("n-fgsm", description="one step from a wide start, or several steps")
    epsilon: float = Field(2.0, ge=1, le=255, description="budget in grey levels, of 255")
    steps: int = Field(7, ge=1, le=100, description="of pgd")
    spread: float = Field(2.0, gt=0, description="half width of the start of n-fgsm, in budgets")
    share: float = Field(1.0, gt=0, le=1, description="share of each batch that is changed")


def harder(
    loss: Callable[[Tensor], Tensor], pixels: Tensor, settings: AdversarialSettings, source: torch.Generator
) -> Tensor:
    """Return training images that a network errs more on.

    Args:
        loss: float32 pixels [n, H, W, C] to the training loss, a scalar; the label of each image stays.
        pixels: uint8 [n, H, W, C]; channels beyond three, masks, stay as they are.
        settings: of the attack.
        source: of random numbers, on the CPU.

    Returns:
        float32 [n, H, W, C] in 0..255.
    """
    whole = pixels.float()
    count = max(1, round(settings.share * len(whole)))
    # both classes are in random order in each half of a batch: every n-th image, so that both are changed alike
    chosen = torch.linspace(0, len(whole) - 1, count, device=whole.device).round().long()
    originals = whole[chosen, ..., :3]

    def gradient(changed: Tensor) -> Tensor:
        leaf = changed.detach().requires_grad_()
        with torch.enable_grad():
            inputs = whole.clone()
            inputs[chosen, ..., :3] = leaf
            (slope,) = torch.autograd.grad(loss(inputs), leaf)
        return slope

    if settings.attack == "n-fgsm":
        width = settings.spread * settings.epsilon
        start = originals + width * (2 * torch.rand(originals.shape, generator=source) - 1).to(originals.device)
        changed = (start - settings.epsilon * descent(gradient(start), "linf")).clamp(0, 255)
    else:
        changed = ascended(gradient, originals, settings.epsilon, settings.steps, source)
    whole[chosen, ..., :3] = changed
    return whole


def ascended(
    gradient: Callable[[Tensor], Tensor], originals: Tensor, epsilon: float, steps: int, source: torch.Generator | None
) -> Tensor:
    """Return images after projected steps along the sign of the gradient, float32 [n, H, W, 3].

    Args:
        gradient: of the loss, which rises, at images [n, H, W, 3].
        originals: float32 [n, H, W, 3].
        epsilon: the budget in grey levels.
        steps: number of steps, together 2.5 budgets long; one step is as long as the budget.
        source: of the random start; None: from the images themselves.
    """
    changed = originals if source is None else random_start(originals, epsilon, "linf", source)
    length = epsilon * (_STEP / steps if steps > 1 else 1)
    for _ in range(steps):
        # `descent` points downhill
        changed = projected(changed - length * descent(gradient(changed), "linf"), originals, epsilon, "linf")
    return changed


def robust_scores(
    logits: Callable[[Tensor], Tensor], pixels: Tensor, sign: float, epsilon: float, *, single: bool
) -> Tensor:
    """Return logits of validation images under an attack, float64 [n].

    Args:
        logits: float32 pixels [n, H, W, 3] to logits [n].
        pixels: uint8 [n, H, W, 3] of one class.
        sign: 1 raises logits, as an attacker of real images wants; -1 lowers them.
        epsilon: the budget in grey levels.
        single: one step (FGSM), or ten projected ones.
    """
    originals = pixels[..., :3].float()

    def gradient(changed: Tensor) -> Tensor:
        leaf = changed.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(sign * logits(leaf).sum(), leaf)
        return slope

    changed = ascended(gradient, originals, epsilon, 1 if single else _CHECK_STEPS, None)
    with torch.no_grad():
        return logits(changed.round()).double()


def robust_aucs(
    logits: Callable[[Tensor], Tensor],
    views: tuple[View, View],
    settings: AdversarialSettings,
    *,
    batch: int,
    device: torch.device,
) -> dict[str, float]:
    """Return the AUC of validation images under one step and under several: `val_auc_fgsm` and `val_auc_pgd`.

    Args:
        logits: float32 pixels [n, H, W, 3] to logits [n] of a network in evaluation mode.
        views: real and forged images; of each the first 64 are attacked.
        settings: with the budget.
        batch: images at a time.
        device: where to compute.
    """
    aucs = {}
    for name, single in (("val_auc_fgsm", True), ("val_auc_pgd", False)):
        scores = []
        for view, sign in zip(views, (1.0, -1.0), strict=True):
            images = select(view, np.arange(min(len(view), _CHECKED))).batches(batch)
            pixels = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in images)
            parts = [robust_scores(logits, part, sign, settings.epsilon, single=single) for part in pixels]
            scores.append(torch.cat(parts).cpu().numpy())
        aucs[name] = validation_auc(*scores)
    return aucs
