"""The base class of the diffusion family: a network that turns noise into images, its loss and its sampler.

A process (`forge.generators.flow`, `forge.generators.ddpm`, or a plug-in's) is a subclass of `Denoiser` with its loss
and its sampler, and a subclass of `Diffusion` that makes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from forge.generators.base import Architecture
from forge.generators.blocks.unet import UNet, UNetSettings

Predictor = Callable[[Tensor, float], Tensor]  # images [N, 3, H, W] and the time of all of them to a prediction


class Denoiser(nn.Module, ABC):
    """A network with a loss, whose forward makes images of latents; the latents are the noise it starts from.

    Args:
        network: predicts from images [N, 3, H, W], times [N] and labels int64 [N, C].
        resolution: height and width of the images.
    """

    def __init__(self, network: nn.Module, resolution: int) -> None:
        super().__init__()
        self.network, self.resolution = network, resolution

    @abstractmethod
    def times(self, count: int, device: torch.device) -> Tensor:
        """Draw the times [count], 0..1, at which a training asks, from torch's random state."""

    @abstractmethod
    def loss(self, images: Tensor, times: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss of each image, [N]; random numbers come as arguments alone.

        Args:
            images: real ones, [N, 3, H, W] in -1..1.
            times: [N], of `times`.
            noise: standard normal, [N, 3, H, W].
            labels: int64 [N, C] of a conditional generator.
        """

    @abstractmethod
    def sample(self, predict: Predictor, noise: Tensor) -> Tensor:
        """Turn standard normal noise [N, 3, H, W] into images [N, 3, H, W], always alike for the same noise.

        Args:
            predict: the network; it is evaluated `evaluations` times.
            noise: where the images begin.
        """

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Network evaluations of one call of `sample`."""

    def predictor(self, labels: Tensor | None) -> Predictor:
        """Return the network as samplers call it: of images [N, 3, H, W], and one time for all of them."""

        def predict(images: Tensor, time: float) -> Tensor:
            times = torch.full((len(images),), time, device=images.device)
            predicted: Tensor = self.network(images, times, labels)
            return predicted

        return predict

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images.

        Args:
            latents: standard normal, [N, 3 * H * W].
            labels: int64 [N, C], where the generator is conditional.

        Returns:
            [N, 3, H, W] in -1..1.
        """
        return self._images(self.predictor(labels), latents)

    def differentiable(self, latents: Tensor, labels: Tensor | None = None, *, steps: int = 1) -> Tensor:
        """Make the images of `forward`, with the gradient of the last predictions alone.

        What comes before them is taken as given: so a loss of images trains the network at the cost and in the memory
        of few predictions (DRaFT-K of Clark et al., ICLR 2024, arXiv 2309.17400, section 4.2).

        Args:
            latents: see `forward`.
            labels: see `forward`.
            steps: K, the last predictions.
        """
        predict, left = self.predictor(labels), self.evaluations

        def guarded(images: Tensor, time: float) -> Tensor:
            nonlocal left
            left -= 1
            with torch.set_grad_enabled(left < steps):
                return predict(images, time)

        return self._images(guarded, latents)

    def _images(self, predict: Predictor, latents: Tensor) -> Tensor:
        noise = latents.reshape(-1, 3, self.resolution, self.resolution)
        return self.sample(predict, noise).clamp(-1, 1)


class Diffusion(Architecture):
    """An architecture whose generator is a `Denoiser`; subclasses make it."""

    family = "diffusion"
    resolutions = (16, 28, 32, 64, 128, 256)
    conditional = "optional"
    trained_by = "denoising"
    Settings = UNetSettings
    settings: UNetSettings

    def __init__(self, settings: UNetSettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__(settings, resolution, classes)
        settings.fits(resolution)

    @abstractmethod
    def generator(self) -> Denoiser:
        """Return a fresh generator."""

    def network(self) -> UNet:
        """Return a fresh U-Net."""
        return UNet(self.settings, self.classes)

    def latents(self, count: int, device: torch.device) -> Tensor:
        """Return standard normal latents [count, 3 * H * W]."""
        return torch.randn(count, 3 * self.resolution**2, device=device)
