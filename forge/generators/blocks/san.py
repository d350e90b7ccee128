"""The last layer of a SAN's discriminator: a direction of length 1, which is trained by a loss of its own.

Takida et al.: SAN: Inducing Metrizability of GAN with Discriminative Normalized Linear Layer. ICLR 2024, arXiv
2301.12811. A discriminator is D(x) = s <w, h(x)> with features h, a direction w of length 1 and a factor s. A GAN's
losses train all of them together, and w is then in general not the direction in which the features of real and forged
images differ most, which the generator needs. SAN trains h and s by the GAN's loss with w held fixed, and w by the
Wasserstein loss with h and s held fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class DirectionHead(nn.Module):
    """Features to logits, along a direction of length 1.

    Args:
        features: length of the feature vector.
        deviation: of the first weights, whose direction is taken; what an optimiser's step is small against.
        scale: factor on the logits at the start.
    """

    def __init__(self, features: int, *, deviation: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features) * deviation)
        # added to the features, where it counts for both losses, as the authors' code does
        self.bias = nn.Parameter(torch.zeros(features))
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, F] to logits [N], fp32; their gradient does not reach the direction."""
        return self._product(features.float() + self.bias, self._direction().detach()) * self.scale

    def along(self, features: Tensor) -> Tensor:
        """Map features [N, F] to the same logits [N]; their gradient reaches the direction alone."""
        moved = (features.float() + self.bias).detach()
        return self._product(moved, self._direction()) * self.scale.detach()

    def _direction(self) -> Tensor:
        return normalize(self.weight, dim=0)  # w / |w|: the gradient to the weights is orthogonal to them

    @staticmethod
    def _product(features: Tensor, direction: Tensor) -> Tensor:
        # a product and a sum, which autocast leaves in fp32: a matrix product would be rounded to bf16
        return (features * direction).sum(1)


@contextmanager
def logits_along_directions(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what `DirectionHead.along` gives for each call of such a head inside the block, in order.

    Args:
        network: a discriminator; the list stays empty if it has no such head.
    """
    logits: list[Tensor] = []

    def collect(head: nn.Module, inputs: tuple[Any, ...], _: Tensor) -> None:
        assert isinstance(head, DirectionHead)
        logits.append(head.along(inputs[0]))

    heads = [module for module in network.modules() if isinstance(module, DirectionHead)]
    handles = [head.register_forward_hook(collect) for head in heads]
    try:
        yield logits
    finally:
        for handle in handles:
            handle.remove()
