"""Speed of the training of `vae`, against a loop as tutorials write it: full resolution, fp32, contiguous memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from benchmarks.speed.beside import beside_plain, first_batch, training_at_quick
from benchmarks.speed.figure import Figure
from forge.faces.tensors import to_float
from forge.generators.vae import VAESettings, divergences
from forge.training.steps.autoencoding import AutoencodingSettings


def autoencoder_training(photos: str | None) -> list[Figure]:
    """VAE training steps."""
    training = training_at_quick("vae")
    settings, loop = training.architecture.settings, training.settings
    assert isinstance(settings, VAESettings) and isinstance(loop, AutoencodingSettings)
    plain = plain_step(settings, to_float(torch.from_numpy(first_batch(training))), loop.beta)
    return beside_plain(training, plain, "VAE", "full resolution, contiguous memory")


def plain_step(settings: VAESettings, images: Tensor, beta: float) -> Callable[[], None]:
    """Return a VAE's step as tutorials write it, with the levels of ours and above them one at the full resolution.

    Args:
        settings: of our network.
        images: float [N, 3, H, W] in -1..1, on the device that trains.
        beta: weight of the divergence.
    """
    network = PlainVAE(settings, images.shape[-1]).to(images.device)
    move = torch.optim.Adam(network.parameters(), 1e-3, foreach=False)

    def step() -> None:
        means, log_variances = network.encode(images)
        decoded = network.decode(means + (log_variances / 2).exp() * torch.randn_like(means))
        error = (decoded - images).square().sum() / 2
        loss = (error + beta * divergences(means, log_variances).sum()) / images.numel()
        move.zero_grad()
        torch.autograd.backward(loss)
        move.step()

    return step


class PlainVAE(nn.Module):
    """The layers of our VAE without its shortcut; doubled before the convolution that narrows, not after it.

    Args:
        settings: of our network.
        resolution: height and width of the images.
    """

    def __init__(self, settings: VAESettings, resolution: int) -> None:
        super().__init__()
        # the level that our network does not have, since it sees 2x2 pixels as one
        widths = (settings.widths[0] // 2, *settings.widths) if settings.unshuffle else settings.widths
        self.shape = (widths[-1], resolution // 2 ** (len(widths) - 1), resolution // 2 ** (len(widths) - 1))
        activations = self.shape[0] * self.shape[1] * self.shape[2]
        down: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        up: list[nn.Module] = [_Block(widths[-1])]
        for fine, coarse in itertools.pairwise(widths):
            down += [nn.SiLU(), nn.Conv2d(fine, coarse, 3, stride=2, padding=1), _Block(coarse)]
        for coarse, fine in itertools.pairwise(reversed(widths)):
            up += [nn.Upsample(scale_factor=2), nn.Conv2d(coarse, fine, 1), _Block(fine)]
        self.down, self.up = nn.Sequential(*down, *_ending(widths[-1])), nn.Sequential(*up, *_ending(widths[0]))
        self.posterior, self.entry = (
            nn.Linear(activations, 2 * settings.latent),
            nn.Linear(settings.latent, activations),
        )
        self.exit = nn.Conv2d(widths[0], 3, 3, padding=1)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances [N, L]."""
        means, log_variances = self.posterior(self.down(images).flatten(1)).chunk(2, dim=1)
        return means, log_variances

    def decode(self, codes: Tensor) -> Tensor:
        """Return images [N, 3, H, W] of codes [N, L]."""
        return cast(Tensor, self.exit(self.up(self.entry(codes).reshape(-1, *self.shape))))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
        self.layers = nn.Sequential(*_ending(channels), convolutions[0], nn.SiLU(), convolutions[1])

    def forward(self, features: Tensor) -> Tensor:
        return features + cast(Tensor, self.layers(features))


def _ending(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(8, channels), nn.SiLU()
