"""Adversarial objectives: pure functions of discriminator logits, and gradient penalties.

Every function takes logits of real and forged images, shape [N] (no sigmoid applied), and returns a mean loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

LossFunction = Callable[[Tensor, Tensor], Tensor]


class Objective(NamedTuple):
    """The two losses of a game; each is minimised by its player."""

    discriminator: LossFunction
    generator: LossFunction


def cross_entropy_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """Goodfellow et al. 2014, eq. 1: minimise -log D(x) - log(1 - D(G(z))), with D = sigmoid(logit)."""
    return softplus(-real).mean() + softplus(forged).mean()


def minimax_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Goodfellow et al. 2014, eq. 1: minimise log(1 - D(G(z))); its gradient fades while D wins."""
    return -softplus(forged).mean()


def non_saturating_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Goodfellow et al. 2014, section 3: minimise -log D(G(z))."""
    return softplus(-forged).mean()


def least_squares_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """LSGAN (Mao et al. 2017), eq. 9: (D(x) - 1)^2 / 2 + D(G(z))^2 / 2."""
    return ((real - 1).square().mean() + forged.square().mean()) / 2


def least_squares_generator(real: Tensor, forged: Tensor) -> Tensor:
    """LSGAN (Mao et al. 2017), eq. 9: (D(G(z)) - 1)^2 / 2."""
    return (forged - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """Hinge loss (Lim and Ye 2017; Miyato et al. 2018): max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
    return relu(1 - real).mean() + relu(1 + forged).mean()


def hinge_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Hinge loss: -D(G(z))."""
    return -forged.mean()


OBJECTIVES = {
    "minimax": Objective(cross_entropy_discriminator, minimax_generator),
    "non-saturating": Objective(cross_entropy_discriminator, non_saturating_generator),
    "least-squares": Objective(least_squares_discriminator, least_squares_generator),
    "hinge": Objective(hinge_discriminator, hinge_generator),
}


def r1_penalty(discriminator: nn.Module, images: Tensor) -> Tensor:
    """R1 (Mescheder, Geiger, Nowozin 2018): half the mean squared norm of dD/dx, taken at real images.

    Args:
        discriminator: images [N, 3, H, W] to logits [N].
        images: real images; need not require gradients.

    Returns:
        A scalar that can be differentiated with respect to the discriminator; multiply by gamma.
    """
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2
