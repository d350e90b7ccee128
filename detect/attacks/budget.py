"""Budgets of changes: balls around images in grey levels, projections into them, and bytes that stay inside.

A budget is a number of grey levels of the stored image, of 255. In the norm "linf" no value of a pixel changes by more;
in "l2" the root of the mean square of all changes of an image is at most so many, so that images of every size have
comparable budgets: at 64 px, 1 is an L2 distance of 0.43 of images in 0..1. Either way the changed image has a
peak signal-to-noise ratio of at least 20 log10(255 / budget) decibels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Norm = Literal["linf", "l2"]

_HALVINGS = 20  # of the search for the longest change whose bytes stay within the budget


def rms(changes: Tensor) -> Tensor:
    """Return the root mean square of changes [n, H, W, 3], [n, 1, 1, 1]."""
    return changes.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


def projected(pixels: Tensor, originals: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Return the nearest pixels within the budget, and then within 0..255.

    Args:
        pixels: float32 [n, H, W, 3].
        originals: of the same shape, within 0..255.
        epsilon: the budget in grey levels.
        norm: of the budget.
    """
    changes = pixels - originals
    if norm == "linf":
        changes = changes.clamp(-epsilon, epsilon)
    else:
        changes = changes * (epsilon / rms(changes).clamp(min=1e-12)).clamp(max=1)
    # clipping to 0..255 moves a value towards the original: the budget still holds
    return (originals + changes).clamp(0, 255)


def rounded(pixels: Tensor, originals: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Return whole numbers within the budget, as near as can be, uint8 [n, H, W, 3].

    Args:
        pixels: float32 [n, H, W, 3], within the budget.
        originals: whole numbers in 0..255, float32 of the same shape.
        epsilon: the budget in grey levels.
        norm: of the budget.
    """
    changes = pixels - originals
    if norm == "linf":
        limit = float(int(epsilon))  # a change of 1.5 grey levels is no change of bytes
        return (originals + changes.round().clamp(-limit, limit)).clamp(0, 255).byte()
    # rounding may lengthen a change: bisect its scale, with which the rounded length only grows
    low = torch.zeros(len(changes), 1, 1, 1, device=changes.device)
    high = torch.ones_like(low)
    low = torch.where(rms(changes.round()) <= epsilon, high, low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = rms((middle * changes).round()) <= epsilon
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return (originals + (low * changes).round()).clamp(0, 255).byte()


def random_start(originals: Tensor, epsilon: float, norm: Norm, source: torch.Generator) -> Tensor:
    """Return random pixels within the budget: uniform in the box of "linf", of the full length in "l2".

    Args:
        originals: float32 [n, H, W, 3], within 0..255.
        epsilon: the budget in grey levels.
        norm: of the budget.
        source: of the random numbers, on the CPU.
    """
    if norm == "linf":
        changes = (2 * torch.rand(originals.shape, generator=source) - 1) * epsilon
    else:
        changes = torch.randn(originals.shape, generator=source)
        changes = changes * (epsilon / rms(changes))
    return projected(originals + changes.to(originals.device), originals, epsilon, norm)


def descent(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the direction of steepest descent of length 1: minus the sign, or minus the gradient over its length."""
    if norm == "linf":
        return -gradient.sign()
    return -gradient / rms(gradient).clamp(min=1e-30)
