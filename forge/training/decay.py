"""Decay of learning rates: factors as functions of the share of the training that is done."""

from __future__ import annotations


def linear_decay(progress: float, share: float) -> float:
    """Return 1, and in the last share of the training a line from 1 to 0.

    Args:
        progress: share of the steps that is done, 0..1.
        share: of the training in which the line falls, 0..1; 0: never.

    >>> [linear_decay(progress, 0.5) for progress in (0.0, 0.5, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return min(1.0, (1 - progress) / share) if share else 1.0
