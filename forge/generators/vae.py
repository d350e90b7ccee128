"""A variational autoencoder (Kingma and Welling 2014) with a weight beta of its rate (Higgins et al. 2017).

An encoder gives a Gaussian of codes for each image, a decoder the image of a code. The loss of a training is the
distance of the decoded image from the image, plus beta times the nats by which the Gaussian of an image differs from
N(0, I). With `codes` above 0 the latent space is a grid of tokens instead (`forge.generators.blocks.quantised`).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from forge.core.errors import InputError
from forge.generators.autoencoder import Autoencoder, Autoencoding, Coding
from forge.generators.blocks.coder import Decoder, Encoder
from forge.generators.blocks.fitted_prior import FittedPrior
from forge.generators.blocks.linear_shortcut import LinearShortcut
from forge.generators.blocks.quantised import QuantisedAutoencoder, TokenSettings

_LOG_VARIANCES = (-12.0, 6.0)  # of a posterior; the first steps of a training may leave them, and exp would overflow


class VAESettings(TokenSettings):
    """Settings of the VAE, and of the VQ-VAE that it becomes where `codes` is above 0."""

    shortcut: bool = Field(True, description="begin as the best linear VAE, to which the convolutions add (not tokens)")
    prior: Literal["fitted", "standard"] = Field(
        "fitted", description="codes are drawn from a Gaussian fitted to those of training images, or from N(0, I)"
    )


class GaussianAutoencoder(Autoencoder):
    """The VAE: a code is one vector for the whole image, drawn from a Gaussian.

    Labels steer the prior alone: images are encoded and decoded without them, and codes are drawn from the Gaussian of
    the codes of images with these labels.

    Args:
        settings: of the networks.
        resolution: height and width of the images.
        classes: number of values of each label column.
    """

    def __init__(self, settings: VAESettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__(resolution)
        self.side, self.width = settings.side(resolution), settings.widths[-1]
        activations = self.width * self.side**2
        self.encoder, self.decoder = Encoder(settings), Decoder(settings, guessing=settings.shortcut)
        self.shortcut = LinearShortcut(settings.latent, resolution) if settings.shortcut else None
        self.posterior = nn.Linear(activations, 2 * settings.latent)
        self.entry = nn.Linear(settings.latent, activations)
        if settings.shortcut:
            nn.init.zeros_(self.posterior.weight)
            nn.init.zeros_(self.posterior.bias)
        self.prior = FittedPrior(settings.latent, classes) if settings.prior == "fitted" else None

    def prepare(self, images: Tensor, beta: float) -> None:
        """Fit the shortcut, beside which the convolutions begin at nothing."""
        if self.shortcut is not None:
            self.shortcut.fit(images, beta)

    def posteriors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances [N, L] of the codes of images, float32."""
        means, log_variances = self.posterior(self.encoder(images).flatten(1)).float().chunk(2, dim=1)
        if self.shortcut is not None:
            with torch.autocast(images.device.type, enabled=False):
                means, log_variances = (
                    means + self.shortcut.encode(images),
                    log_variances + self.shortcut.log_variances(),
                )
        return means, log_variances.clamp(*_LOG_VARIANCES)

    def code(self, images: Tensor, labels: Tensor | None = None) -> Coding:
        """Draw a code for each image and decode it; the prior follows the codes."""
        means, log_variances = self.posteriors(images)
        variances = log_variances.exp()
        if self.prior is not None and self.training:
            self.prior.follow(means, variances, labels)
        decoded = self.decode(means + variances.sqrt() * torch.randn_like(means))
        divergence = divergences(means, log_variances)
        return Coding(decoded, divergence, {}, divergence.sum(1).mean())

    def encode(self, images: Tensor) -> Tensor:
        """Return the mean code of each image, [N, L]."""
        return self.posteriors(images)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Decode [N, L]."""
        features = self.entry(codes).reshape(-1, self.width, self.side, self.side)
        if self.shortcut is None:
            return cast(Tensor, self.decoder(features))
        with torch.autocast(codes.device.type, enabled=False):
            guess = self.shortcut.decode(codes)
        return cast(Tensor, self.decoder(features, guess))

    def codes(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the codes [N, L] of latents [N, L]."""
        return latents if self.prior is None else self.prior.colour(latents, labels)

    def latents(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the latents [N, L] of codes [N, L]."""
        return codes if self.prior is None else self.prior.whiten(codes, labels)


def divergences(means: Tensor, log_variances: Tensor) -> Tensor:
    """Return KL(N(m, v) || N(0, 1)) = (m^2 + v - log v - 1) / 2 of each value, in nats (Kingma and Welling 2014, B)."""
    return (means.square() + log_variances.exp() - log_variances - 1) / 2


class VAE(Autoencoding):
    """A beta-VAE, or with `codes` above 0 a VQ-VAE with a prior of tokens."""

    citation = (
        "Kingma, Welling: Auto-Encoding Variational Bayes, ICLR 2014, arXiv 1312.6114; Higgins et al.: beta-VAE, "
        "ICLR 2017; Ghosh et al.: From Variational to Deterministic Autoencoders, ICLR 2020, arXiv 1903.12436; "
        "van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, NeurIPS 2017, arXiv 1711.00937"
    )
    resolutions = (16, 32, 64, 128, 256)
    Settings = VAESettings
    settings: VAESettings

    def __init__(self, settings: VAESettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__(settings, resolution, classes)
        self.tokens = settings.side(resolution) ** 2
        if classes and settings.prior == "standard" and not settings.codes:
            raise InputError("prior=standard draws the same codes for all labels; use prior=fitted, or no condition")

    def generator(self) -> Autoencoder:
        """Return a fresh generator."""
        autoencoder = QuantisedAutoencoder if self.settings.codes else GaussianAutoencoder
        return autoencoder(self.settings, self.resolution, self.classes)

    def latents(self, count: int, device: torch.device) -> Tensor:
        """Return standard normal latents: [count, latent], or one for each token."""
        return torch.randn(count, self.tokens if self.settings.codes else self.settings.latent, device=device)
