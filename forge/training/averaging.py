"""The exponential moving average of a network's weights: what a training publishes."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class AveragedWeights:
    """A copy of a network whose weights follow those of the network with a half-life.

    Args:
        network: that is trained.
        half_life: in images; 0 copies the weights at each step.
        ramp: early on, the half-life is at most this share of the images shown, so that the random first weights fade.
    """

    def __init__(self, network: nn.Module, *, half_life: float, ramp: float) -> None:
        self._trained, self._half_life, self._ramp = network, half_life, ramp
        # in evaluation mode for good: batch norm then uses the statistics that settle_batch_norm measures
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._buffers = _buffers_by_type(self.network, network)

    @torch.no_grad()
    def update(self, shown: int, images: int, factor: float = 1.0) -> None:
        """Move towards the present weights after a step (half-life and ramp as in StyleGAN2-ADA).

        After h images the old weights count half, so that a step of n images keeps 0.5^(n / h) of them.

        Args:
            shown: images shown since the beginning of the training.
            images: of these in this step.
            factor: on the half-life, of a schedule.
        """
        # a ramp in proportion to the images seen: after n images the average spans about the last ramp * n of them, so
        # the random initial weights do not last for a whole half-life
        half_life = min(self._half_life * factor, shown * self._ramp)
        weight = 1 - 0.5 ** (images / half_life) if half_life > 0 else 1.0  # 1 copies the present weights
        # foreach: one launch for all parameters; a loop over hundreds of small tensors would keep a GPU waiting
        torch._foreach_lerp_(list(self.network.parameters()), list(self._trained.parameters()), weight)
        # buffers are copied, not averaged: the mean of batch-norm statistics is not the statistic of the mean weights
        for averaged, current in self._buffers:
            torch._foreach_copy_(averaged, current)


def _buffers_by_type(first: nn.Module, second: nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """The buffers of two equal networks, sorted by data type, since one call copies tensors of one type alone."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for averaged, current in zip(first.buffers(), second.buffers(), strict=True):
        targets, sources = pairs.setdefault(averaged.dtype, ([], []))
        targets.append(averaged)
        sources.append(current)
    return list(pairs.values())
