"""Optimizers, and the learning rate of each step."""

from __future__ import annotations

import math

import torch
from torch import nn

from detect.training.settings import NetworkSettings


def make_optimizer(parameters: list[nn.Parameter], settings: NetworkSettings) -> torch.optim.Optimizer:
    """Make the optimizer that the settings name; on a GPU its learning rate is a tensor, which a CUDA graph reads."""
    # fused: one pass over the weights instead of ten, a fifth of the whole step for xception at 64 px on a CPU
    decay, device = settings.weight_decay, parameters[0].device
    rate = torch.tensor(settings.learning_rate, device=device) if device.type == "cuda" else settings.learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, rate, settings.momentum, weight_decay=decay, fused=True)
    # L2 of adam is added to the gradient, that of adamw is subtracted from the weights (Loshchilov and Hutter 2019)
    optimizer_class: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return optimizer_class(parameters, lr=rate, weight_decay=decay, fused=True, capturable=device.type == "cuda")


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate of all parameters, in place where it is a tensor."""
    for group in optimizer.param_groups:
        # in place: a captured graph reads this very tensor
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def learning_rate_at(
    step: int, total: int, settings: NetworkSettings, *, steps_per_pass: int = 1, drops: int = 0
) -> float:
    """Return learning rate of a step: a linear warm-up, then as the schedule says.

    constant: unchanged. cosine: half a cosine down to `min_learning_rate`. step: times `decay` after every
    `step_epochs` passes, never under `min_learning_rate`. plateau: times `decay` for each drop so far.

    Args:
        step: 0 .. total - 1.
        total: steps in all.
        settings: `learning_rate`, `warmup` (a share of the steps), `schedule` and what belongs to it.
        steps_per_pass: steps in which every image of the larger class is seen once.
        drops: how often the validations stalled, for plateau.
    """
    warm = round(total * settings.warmup)
    peak, low = settings.learning_rate, settings.min_learning_rate
    # step + 1 of warm + 1: the first step has a rate above zero, and the first step after the warm-up has the peak
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    if settings.schedule == "cosine":
        # half a cosine from the peak after the warm-up towards `low` (Loshchilov and Hutter 2017, without restarts)
        return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
    if settings.schedule == "step":
        return max(low, peak * settings.decay ** (step // (settings.step_epochs * steps_per_pass)))
    if settings.schedule == "plateau":
        return peak * settings.decay**drops
    return peak


def exhausted(settings: NetworkSettings, *, stale: int, drops: int) -> bool:
    """Return whether training shall stop early.

    That is: no higher AUC for `patience` validations; or for plateau, where stalling only lowers the learning rate, a
    rate under `min_learning_rate` (as Wang et al. 2020 stop).

    Args:
        settings: `schedule`, `patience`, `learning_rate`, `decay`, `min_learning_rate`.
        stale: validations in a row without a higher AUC, since the last drop.
        drops: how often the learning rate fell.
    """
    if settings.schedule == "plateau":
        # 1e-4 * 0.1 * 0.1 must not fall under 1e-6 by a rounding error
        return settings.learning_rate * settings.decay**drops < settings.min_learning_rate * (1 - 1e-9)
    return settings.patience is not None and stale >= settings.patience
