"""Mean and standard deviation of features that do not fit into memory at once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

FLAT = 1e-6  # a feature whose standard deviation is below this says nothing and is only centred


def moments(blocks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature in one pass.

    Args:
        blocks: float [N, D] each, at least one row in all.

    Returns:
        Both float64 [D] on the device of the blocks; the deviation of a flat feature is given as 1.

    Raises:
        ValueError: no rows.
    """
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for features in blocks:
        exact = features.double()  # a constant feature of -27 would show a spread of 0.01 in float32
        total, squares = exact.sum(0) + total.to(exact.device), exact.square().sum(0) + squares.to(exact.device)
        count += len(features)
    if not count:
        raise ValueError("the mean of no features is not defined")
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    return mean, torch.where(std < FLAT, 1.0, std)
