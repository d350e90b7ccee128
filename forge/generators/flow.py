"""Flow matching on straight paths (Lipman et al. 2023), also called rectified flow (Liu et al. 2023).

An image x and noise z are joined by the path x_t = (1 - t) z + t x, whose velocity is x - z at every time t. A network
learns the mean velocity at each state and time; who follows it from noise at t = 0 arrives among images at t = 1.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.generators.base import is_off
from forge.generators.blocks.unet import UNetSettings
from forge.generators.denoiser import Denoiser, Diffusion, Predictor

Solver = Literal["euler", "heun"]


class FlowSettings(UNetSettings):
    """Settings of flow matching: those of the U-Net, the times of its loss, and the solver."""

    steps: int = Field(20, ge=1, description="steps from noise to image")
    solver: Solver = Field("euler", description="euler asks the network once a step, heun twice")
    shift: float | None = Field(
        None,
        gt=0,
        exclude_if=is_off,
        description="divides the first steps, next to noise, and multiplies the last ones; none: all are equal",
    )
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


def step_times(steps: int, shift: float = 1.0) -> list[float]:
    """Return the times between steps, 0 to 1: t = u / (u + s (1 - u)), u equally spaced (Esser et al. 2024, eq. 23).

    The first of many steps is s times as short as equal steps are, the last s times as long; s = 1: all are equal.

    Args:
        steps: their number.
        shift: s.

    >>> [round(time, 3) for time in step_times(4, 3.0)]
    [0.0, 0.1, 0.25, 0.5, 1.0]
    """
    return [step / (step + shift * (steps - step)) for step in range(steps + 1)]


def integrate(velocity: Predictor, start: Tensor, *, steps: int, solver: Solver, shift: float = 1.0) -> Tensor:
    """Follow a velocity field from t = 0 to t = 1.

    Args:
        velocity: of states [N, ...] at a time.
        start: states at t = 0.
        steps: their number.
        solver: euler is of first order, heun (the mean of the velocities at both ends of an Euler step) of second.
        shift: of the times, see `step_times`.

    Returns:
        States at t = 1.
    """
    state = start
    for time, after in itertools.pairwise(step_times(steps, shift)):
        length, first = after - time, velocity(state, time)
        if solver == "euler":
            state = state + length * first
        else:
            second = velocity(state + length * first, after)
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

    @property
    def evaluations(self) -> int:
        """One a step, or two."""
        return self.settings.steps * (1 if self.settings.solver == "euler" else 2)

    def sample(self, predict: Predictor, noise: Tensor) -> Tensor:
        """Follow the velocity from noise [N, 3, H, W] to images [N, 3, H, W]."""
        chosen = self.settings
        return integrate(predict, noise, steps=chosen.steps, solver=chosen.solver, shift=chosen.shift or 1.0)


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
