"""Adversarial objectives: pure functions of discriminator logits, and gradient penalties.

Every function takes logits of real and forged images, shape [N] (no sigmoid applied), and returns a mean loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

LossFunction = Callable[[Tensor, Tensor], Tensor]
ObjectiveName = Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"]
PatchObjective = Literal["non-saturating", "least-squares", "hinge"]  # those of translators, whose D judges patches


class Objective(NamedTuple):
    """The two losses of an adversarial training; each network minimises its loss.

    Attributes:
        discriminator: loss of D.
        generator: loss of G.
        relative: whether the generator's loss depends on the logits of real images.
        boundary: logits above it say real; None where only differences between logits mean something.
    """

    discriminator: LossFunction
    generator: LossFunction
    relative: bool = False
    boundary: float | None = 0.0


def cross_entropy_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """Goodfellow et al. 2014, eq. 1: minimise -log D(x) - log(1 - D(G(z))), with D = sigmoid(logit)."""
    # -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(x): finite for any logit, where the logarithm
    # of a sigmoid that rounds to 0 is not
    return softplus(-real).mean() + softplus(forged).mean()


def minimax_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Goodfellow et al. 2014, eq. 1: minimise log(1 - D(G(z))); its gradient fades while D wins."""
    # the negative of D's second term; for confident D (forged far below 0) the slope sigmoid(forged) is near 0
    return -softplus(forged).mean()


def non_saturating_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Goodfellow et al. 2014, section 3: minimise -log D(G(z))."""
    # slope -sigmoid(-forged): near -1 just where D is confident
    return softplus(-forged).mean()


def least_squares_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """LSGAN (Mao et al. 2017), eq. 9: (D(x) - 1)^2 / 2 + D(G(z))^2 / 2."""
    # targets 1 for real and 0 for forged; halved as in the paper
    return ((real - 1).square().mean() + forged.square().mean()) / 2


def least_squares_generator(real: Tensor, forged: Tensor) -> Tensor:
    """LSGAN (Mao et al. 2017), eq. 9: (D(G(z)) - 1)^2 / 2."""
    return (forged - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """Hinge loss (Lim and Ye 2017; Miyato et al. 2018): max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
    # no gradient beyond the margins: D stops where real logits exceed 1 and forged ones -1
    return relu(1 - real).mean() + relu(1 + forged).mean()


def hinge_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Hinge loss: -D(G(z))."""
    return -forged.mean()


def wasserstein_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """Wasserstein critic (Arjovsky et al. 2017): D(G(z)) - D(x); wants a gradient penalty or spectral norm."""
    return forged.mean() - real.mean()


def wasserstein_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Wasserstein: -D(G(z))."""
    return -forged.mean()


def relativistic_discriminator(real: Tensor, forged: Tensor) -> Tensor:
    """Relativistic pairing (Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024): softplus(-(D(x) - D(G(z))))."""
    # pairs of one real and one forged image: only the difference of their logits is trained
    return softplus(forged - real).mean()


def relativistic_generator(real: Tensor, forged: Tensor) -> Tensor:
    """Relativistic pairing: softplus(-(D(G(z)) - D(x)))."""
    return softplus(real - forged).mean()


OBJECTIVES: dict[ObjectiveName, Objective] = {
    "minimax": Objective(cross_entropy_discriminator, minimax_generator),
    "non-saturating": Objective(cross_entropy_discriminator, non_saturating_generator),
    # least squares aims at 0 and 1, so that 0.5 divides the two
    "least-squares": Objective(least_squares_discriminator, least_squares_generator, boundary=0.5),
    "hinge": Objective(hinge_discriminator, hinge_generator),
    "wasserstein": Objective(wasserstein_discriminator, wasserstein_generator, boundary=None),
    "relativistic": Objective(relativistic_discriminator, relativistic_generator, relative=True, boundary=None),
}


Discriminator = Callable[[Tensor], Tensor]


def zero_centred_penalty(discriminator: Discriminator, images: Tensor) -> Tensor:
    """Half the mean squared norm of dD/dx: R1 at real images, R2 at forged ones (Mescheder, Geiger, Nowozin 2018).

    Args:
        discriminator: images [N, 3, H, W] to logits [N].
        images: need not require gradients.

    Returns:
        A scalar that can be differentiated with respect to the discriminator; multiply by gamma.
    """
    # a leaf of its own: the gradient ends at the pixels instead of running on into the generator
    images = images.detach().requires_grad_(True)
    # each logit depends on its own image, so the gradient of the sum [N, 3, H, W] holds all gradients dD(x_i)/dx_i
    # (batch norm in D would mix them). create_graph, since the penalty is differentiated once more
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    # |gradient|^2 over the pixels of an image, [N], then the mean
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


def gradient_penalty(discriminator: Discriminator, real: Tensor, forged: Tensor) -> Tensor:
    """WGAN-GP (Gulrajani et al. 2017), eq. 3: mean of (|dD/dx| - 1)^2 at points drawn between real and forged images.

    Args:
        discriminator: images [N, 3, H, W] to logits [N].
        real: [N, 3, H, W].
        forged: [N, 3, H, W].

    Returns:
        A scalar that can be differentiated with respect to the discriminator; multiply by lambda.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)  # one share an image
    between = torch.lerp(real, forged, share).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    # the root has no gradient at 0, hence the 1e-12
    return (gradient.square().sum(dim=(1, 2, 3)).add(1e-12).sqrt() - 1).square().mean()


def path_lengths(images: Tensor, styles: Tensor) -> Tensor:
    """Return the path length |J^T y| of each image, y random noise (Karras et al. 2020, eq. 4).

    Args:
        images: [N, 3, H, W] made from the styles.
        styles: [N, layers, style], requiring gradients.

    Returns:
        [N], differentiable with respect to the generator.
    """
    # noise of variance 1 / (H W), as published: the expected length does not depend on the resolution
    noise = torch.randn_like(images) / (images.shape[2] * images.shape[3]) ** 0.5
    # J^T y by one backward pass, without the Jacobian J itself
    (gradient,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
    # over each layer's style, mean over layers, as in StyleGAN2's code, where w is repeated for every layer
    return gradient.square().sum(2).mean(1).sqrt()
