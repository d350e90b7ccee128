"""The optimal linear VAE, in closed form, as a shortcut around the convolutions of a VAE.

The best linear encoder and decoder under a VAE's loss are probabilistic PCA (Tipping and Bishop 1999; Lucas et al.
2019, "Don't Blame the ELBO!", theorem 1). With principal axes v_i of variance lambda_i, and a decoder of variance beta:

    z_i = sqrt(lambda_i - beta) / lambda_i * v_i . (x - mean), of variance beta / lambda_i
    x = mean + sum_i sqrt(lambda_i - beta) z_i v_i

and z_i says nothing where lambda_i <= beta. A VAE whose convolutions add to these begins where it would else arrive
after many minutes of a CPU; what is left to learn is what a plane cannot hold.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

SIDE = 32  # pixels at most of the copies whose axes are found: the first few hundred axes are smooth
_MORE, _ROUNDS = 16, 3  # further axes and rounds of the randomised decomposition (Halko et al. 2011, section 4.5)


class LinearShortcut(nn.Module):
    """Codes of images, and images of codes, by principal axes that are fitted once and then fixed.

    Args:
        latent: L, length of a code.
        resolution: height and width of the images.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor
    noise: Tensor

    def __init__(self, latent: int, resolution: int) -> None:
        super().__init__()
        self.side = min(SIDE, resolution)
        self.factor = resolution // self.side
        values = 3 * self.side**2
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("axes", torch.zeros(latent, values))
        self.register_buffer("variances", torch.zeros(latent))  # lambda_i, of sums over all values of an image
        self.register_buffer("noise", torch.ones(()))  # beta

    @torch.no_grad()
    def fit(self, images: Tensor, beta: float) -> None:
        """Find the axes; torch's random state is used.

        Args:
            images: [N, 3, H, W] in -1..1.
            beta: variance of the decoder.
        """
        points = self._points(images)
        mean = points.mean(0)
        count = min(len(self.axes), *points.shape)  # of few images there are fewer axes than codes are long
        _, sizes, axes = torch.svd_lowrank(points - mean, min(count + _MORE, *points.shape), niter=_ROUNDS)
        self.mean.copy_(mean)
        self.axes[:count].copy_(axes.T[:count])
        self.variances[:count].copy_(sizes[:count].square() / len(points))
        self.noise.fill_(beta)

    def encode(self, images: Tensor) -> Tensor:
        """Return codes [N, L] of images [N, 3, H, W]."""
        shares = self._slopes() / self.variances.clamp(min=torch.finfo(torch.float32).tiny)
        return (self._points(images) - self.mean) @ self.axes.T * shares

    def decode(self, codes: Tensor) -> Tensor:
        """Return small images [N, 3, h, w], h at most 32, of codes [N, L]."""
        points = self.mean + (codes * self._slopes()) @ self.axes
        return points.reshape(-1, 3, self.side, self.side) / self.factor

    def log_variances(self) -> Tensor:
        """Return the log-variance of each value of a code: of beta / lambda, and 0 where that is above 1."""
        return (self.noise / self.variances).clamp(max=1).log()

    def _slopes(self) -> Tensor:
        return (self.variances - self.noise).clamp(min=0).sqrt()

    def _points(self, images: Tensor) -> Tensor:
        """Return small copies [N, 3 h w], multiplied so that their distances are about those of the images."""
        # a pixel of the copy stands for factor^2 pixels, whose squared differences add up
        return avg_pool2d(images.float(), self.factor).flatten(1) * self.factor
