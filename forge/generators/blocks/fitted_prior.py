"""A Gaussian fitted to the codes of real images while they are learned, from which a trained decoder is sampled.

A VAE's loss asks that its codes be N(0, I) on the whole, and gets something else, the more so the smaller beta is:
codes drawn from N(0, I) then fall where the decoder was never trained, and become fog. So codes are drawn from a
density that is fitted to what the encoder really gives (ex-post density estimation, Ghosh et al. 2020, "From
Variational to Deterministic Autoencoders", section 4).

Mean and covariance are those of the codes of the last few thousand images, buffers that are published with the weights.
Labels are fitted with them, as one vector v = (code, one-hot labels): the Gaussian of codes given labels then follows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

# weight of a step in the moments: 1/200, so that they span the last 200 steps; of early steps 4 / (t + 4), so that the
# moments span the last quarter of the training and the first, random codes fade
_WEIGHT, _EARLY = 0.005, 4
_MIN_VARIANCE = 1e-6  # variance along an axis; rounding may leave less, or less than none


class FittedPrior(nn.Module):
    """A Gaussian of codes [N, L] that follows the codes of a training.

    Args:
        length: L, of a code.
        classes: of a conditional generator: the number of values of each label column.
    """

    mean: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, length: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.length, self.classes = length, classes
        size = length + sum(classes)
        # Moments about zero: they are means over images, so that several processes may average them. Before the first
        # step they are those of N(0, I).
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("second", torch.eye(size))
        self.register_buffer("steps", torch.zeros(()))

    @torch.no_grad()
    def follow(self, means: Tensor, variances: Tensor, labels: Tensor | None = None) -> None:
        """Move towards the moments of a batch.

        Args:
            means: of the posterior of each image, [N, L].
            variances: of it, along the axes, [N, L].
            labels: int64 [N, C] of a conditional generator.
        """
        means, variances = means.float(), variances.float()
        joined = torch.cat([means, self._one_hot(labels, means)], 1)  # [N, L + values]
        second = joined.T @ joined / len(joined)
        # the aggregate posterior is the mixture of all posteriors: E[z z^T] = E[m m^T] + E[diag(variances)]
        spread = torch.cat([variances.mean(0), variances.new_zeros(len(self.mean) - self.length)])
        weight = (_EARLY / (self.steps + _EARLY)).clamp(min=_WEIGHT)
        self.mean.lerp_(joined.mean(0), weight)
        self.second.lerp_(second + spread.diag(), weight)
        self.steps.add_(1)

    def colour(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Turn standard normal latents [N, L] into codes [N, L] of the fitted Gaussian (given labels)."""
        means, root, _ = self._moments(labels)
        return (means + latents.double() @ root).to(latents.dtype)

    def whiten(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Turn codes [N, L] into the latents [N, L] that `colour` makes them of."""
        means, _, inverse = self._moments(labels)
        return ((codes.double() - means) @ inverse).to(codes.dtype)

    def _moments(self, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return means [N or 1, L], and the symmetric root of the covariance [L, L] with its inverse, in float64."""
        mean, length = self.mean.double(), self.length
        covariance = self.second.double() - torch.outer(mean, mean)
        means, spread = mean[None, :length], covariance[:length, :length]
        if labels is not None:
            # z given y: E[z] + A (y - E[y]) with A = cov(z, y) cov(y)^+, of covariance cov(z) - A cov(y, z). The
            # pseudo-inverse, since the values of a column add up to 1
            across = covariance[:length, length:]
            matrix = across @ torch.linalg.pinv(covariance[length:, length:], rtol=1e-4, hermitian=True)
            given = self._one_hot(labels, mean)
            means, spread = means + (given - mean[length:]) @ matrix.T, spread - matrix @ across.T
        values, axes = torch.linalg.eigh(spread)
        # the symmetric root V diag(sqrt(values)) V^T is unique, where the signs of single axes are not
        scales = values.clamp(min=_MIN_VARIANCE).sqrt()
        return means, (axes * scales) @ axes.T, (axes / scales) @ axes.T

    def _one_hot(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """Labels [N, C] as numbers 0 and 1 [N, values of all columns]."""
        if labels is None:
            return like.new_zeros(len(like), 0)
        return torch.cat([one_hot(labels[:, i], count) for i, count in enumerate(self.classes)], 1).to(like.dtype)
