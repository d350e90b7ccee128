"""Denoising diffusion (Ho et al. 2020) in continuous time, sampled without randomness (DDIM, Song et al. 2021).

An image x and noise e are mixed to x_t = alpha x + sigma e with alpha^2 + sigma^2 = 1; alpha falls from 1 at t = 0 to 0
at t = 1 (the cosine schedule of Nichol and Dhariwal 2021). A network predicts e, or v = alpha e - sigma x (Salimans and
Ho 2022), from either of which the image follows. The schedule is a function, and nothing of it is stored.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.generators.blocks.unet import UNetSettings
from forge.generators.denoiser import Denoiser, Diffusion, Predictor

Prediction = Literal["epsilon", "v"]
OFFSET = 0.008  # keeps the first steps from being too small (Nichol and Dhariwal 2021, section 3.2)
# At t = 1 alpha is 0, and noise alone says nothing of the image: (x_t - sigma e) / alpha is 0 / 0, while v is -x there
# and stays of use (Lin et al. 2024). So a sampler on e starts a little earlier, where alpha is .03.
LATEST = {"epsilon": 0.98, "v": 1.0}


class DDPMSettings(UNetSettings):
    """Settings of denoising diffusion: those of the U-Net, what it predicts, and the sampler's steps."""

    prediction: Prediction = Field("v", description="what the network predicts: the noise (epsilon, Ho et al.), or v")
    steps: int = Field(20, ge=1, description="steps from noise to image; the network is asked once a step")


def schedule(times: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma at times, in float64.

    The cosine schedule: alpha^2 = f(t) / f(0), f(t) = cos^2((t + s) / (1 + s) * pi / 2).

    Args:
        times: 0..1 of any shape; 0: the image, 1: noise.

    Returns:
        alpha, exactly 1 at 0 and 0 at 1, and sigma, the root of 1 - alpha^2.
    """
    angles = (times.double() + OFFSET) / (1 + OFFSET) * (math.pi / 2)
    alpha = (angles.cos() / math.cos(OFFSET / (1 + OFFSET) * (math.pi / 2))).clamp(0, 1)
    alpha = torch.where(times >= 1, 0.0, alpha)  # the cosine of a rounded pi / 2 is 6e-17
    return alpha, (1 - alpha.square()).clamp(min=0).sqrt()


def split(
    noisy: Tensor, predicted: Tensor, alpha: float, sigma: float, prediction: Prediction
) -> tuple[Tensor, Tensor]:
    """Split noisy images into what they are made of, as the network predicts it.

    Args:
        noisy: x_t, [N, 3, H, W].
        predicted: e or v, of the same shape.
        alpha: share of the image; above 0 for e.
        sigma: share of the noise.
        prediction: which of the two.

    Returns:
        The image and the noise.
    """
    if prediction == "epsilon":
        return (noisy - sigma * predicted) / alpha, predicted
    # v = alpha e - sigma x is x_t turned by a right angle in the plane of x and e, so that turning back gives both
    return alpha * noisy - sigma * predicted, sigma * noisy + alpha * predicted


def ddim(predict: Predictor, noise: Tensor, *, steps: int, prediction: Prediction) -> Tensor:
    """Sample with DDIM, eta = 0 (Song et al. 2021, equation 12), in equal steps of t down to 0.

    Args:
        predict: e or v of noisy images [N, 3, H, W] at a time.
        noise: standard normal, [N, 3, H, W].
        steps: times that the network is asked.
        prediction: what it predicts.

    Returns:
        Images [N, 3, H, W].
    """
    times = torch.linspace(LATEST[prediction], 0, steps + 1, dtype=torch.float64)
    shares = list(zip(*(values.tolist() for values in schedule(times)), strict=True))
    noisy = noise
    for step in range(steps):
        (alpha, sigma), (next_alpha, next_sigma) = shares[step], shares[step + 1]
        image, _ = split(noisy, predict(noisy, float(times[step])), alpha, sigma, prediction)
        # images are within -1..1: an error is not carried on, which for e would be multiplied by 1 / alpha at first
        image = image.clamp(-1, 1)
        noisy = next_alpha * image + next_sigma * (noisy - alpha * image) / sigma
    return noisy


class DDPMGenerator(Denoiser):
    """Latents [N, 3 * H * W] to images [N, 3, H, W] by DDIM."""

    def __init__(self, network: nn.Module, resolution: int, settings: DDPMSettings) -> None:
        super().__init__(network, resolution)
        self.settings = settings

    def times(self, count: int, device: torch.device) -> Tensor:
        """Draw times [count], uniform in 0..1."""
        return torch.rand(count, device=device)

    def loss(self, images: Tensor, times: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the mean squared error of e or v of each image, [N]; see `Denoiser.loss`."""
        alpha, sigma = (values.to(images.dtype)[:, None, None, None] for values in schedule(times))
        predicted = self.network(alpha * images + sigma * noise, times, labels)
        target = noise if self.settings.prediction == "epsilon" else alpha * noise - sigma * images
        error: Tensor = (predicted - target).square().mean(dim=(1, 2, 3))
        return error

    @property
    def evaluations(self) -> int:
        """One a step."""
        return self.settings.steps

    def sample(self, predict: Predictor, noise: Tensor) -> Tensor:
        """Remove the noise [N, 3, H, W] step by step."""
        return ddim(predict, noise, steps=self.settings.steps, prediction=self.settings.prediction)


class DDPM(Diffusion):
    """Denoising diffusion with a small U-Net, sampled by DDIM."""

    citation = (
        "Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models, NeurIPS 2020, arXiv 2006.11239; "
        "Nichol, Dhariwal: Improved Denoising Diffusion Probabilistic Models, ICML 2021, arXiv 2102.09672; "
        "Song, Meng, Ermon: Denoising Diffusion Implicit Models, ICLR 2021, arXiv 2010.02502"
    )
    Settings = DDPMSettings
    settings: DDPMSettings

    def generator(self) -> DDPMGenerator:
        """Return a fresh generator."""
        return DDPMGenerator(self.network(), self.resolution, self.settings)
