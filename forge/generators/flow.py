"""Flow matching on straight paths (Lipman et al. 2023), also called rectified flow (Liu et al. 2023).

An image x and noise z are joined by the path x_t = (1 - t) z + t x, whose velocity is x - z at every time t. A network
learns the mean velocity at each state and time; who follows it from noise at t = 0 arrives among images at t = 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.generators.blocks.unet import UNetSettings
from forge.generators.denoiser import Denoiser, Diffusion, Predictor

Solver = Literal["euler", "heun"]


class FlowSettings(UNetSettings):
    """Settings of flow matching: those of the U-Net, the times of its loss, and the solver."""

    steps: int = Field(20, ge=1, description="steps from noise to image")
    solver: Solver = Field("euler", description="euler asks the network once a step, heun twice")
    time_mean: float = Field(0.0, description="times of the loss are the sigmoid of a normal of this mean ...")
    time_deviation: float = Field(1.0, gt=0, description="... and this deviation (Esser et al. 2024, section 3.1)")


def between(noise: Tensor, images: Tensor, times: Tensor) -> Tensor:
    """Return x_t = (1 - t) z + t x.

    Args:
        noise: z, [N, ...].
        images: x, of the same shape.
        times: t, [N], 0..1.
    """
    return torch.lerp(noise, images, times.reshape(-1, *[1] * (images.dim() - 1)).to(images.dtype))


def integrate(velocity: Predictor, start: Tensor, *, steps: int, solver: Solver) -> Tensor:
    """Follow a velocity field from t = 0 to t = 1 in equal steps.

    Args:
        velocity: of states [N, ...] at a time.
        start: states at t = 0.
        steps: their number.
        solver: euler is of first order, heun (the mean of the velocities at both ends of an Euler step) of second.

    Returns:
        States at t = 1.
    """
    state, length = start, 1 / steps
    for step in range(steps):
        first = velocity(state, step / steps)
        if solver == "euler":
            state = state + length * first
        else:
            second = velocity(state + length * first, (step + 1) / steps)
            state = state + length * (first + second) / 2
    return state


class FlowGenerator(Denoiser):
    """Latents [N, 3 * H * W] to images [N, 3, H, W] along the learned velocity."""

    def __init__(self, network: nn.Module, resolution: int, settings: FlowSettings) -> None:
        super().__init__(network, resolution)
        self.settings = settings

    def times(self, count: int, device: torch.device) -> Tensor:
        """Draw times [count] of a logit-normal distribution: the middle of a path is the hardest to predict."""
        normal = torch.randn(count, device=device)
        return torch.sigmoid(self.settings.time_mean + self.settings.time_deviation * normal)

    def loss(self, images: Tensor, times: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the mean squared error of the velocity x - z of each image, [N]; see `Denoiser.loss`."""
        velocity = self.network(between(noise, images, times), times, labels)
        error: Tensor = (velocity - (images - noise)).square().mean(dim=(1, 2, 3))
        return error

    def sample(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Follow the velocity from noise [N, 3, H, W] to images [N, 3, H, W]."""
        return integrate(self.predictor(labels), noise, steps=self.settings.steps, solver=self.settings.solver)


class Flow(Diffusion):
    """Flow matching with a small U-Net."""

    citation = (
        "Lipman, Chen, Ben-Hamu, Nickel, Le: Flow Matching for Generative Modeling, ICLR 2023, arXiv 2210.02747; "
        "Liu, Gong, Liu: Flow Straight and Fast, ICLR 2023, arXiv 2209.03003"
    )
    Settings = FlowSettings
    settings: FlowSettings

    def generator(self) -> FlowGenerator:
        """Return a fresh generator."""
        return FlowGenerator(self.network(), self.resolution, self.settings)
