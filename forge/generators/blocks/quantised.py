"""A vector-quantised autoencoder (van den Oord et al. 2017) whose tokens a small transformer draws.

The encoder gives a grid of vectors, each of which is replaced by the nearest of a codebook: its number is a token. A
codebook whose entries learn one by one leaves most of them unused; here all entries are one linear map of fixed random
vectors, so that each step moves all of them (SimVQ, Zhu et al. 2024, arXiv 2411.02038).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from forge.generators.autoencoder import Autoencoder, Coding
from forge.generators.blocks.coder import CoderSettings, Decoder, Encoder
from forge.generators.blocks.token_prior import TokenPrior


class TokenSettings(CoderSettings):
    """Settings of encoder and decoder, and of codes that are tokens."""

    codes: int = Field(0, ge=0, description="size of the codebook: 0 none, a VAE; 2 or more: tokens (VQ-VAE)")
    commitment: float = Field(0.25, ge=0, description="tokens: weight of the encoder's distance from the codebook")
    prior_width: int = Field(128, ge=8, description="tokens: channels of the transformer that draws them")
    prior_blocks: int = Field(4, ge=1, description="tokens: blocks of the transformer")
    temperature: float = Field(1.0, gt=0, description="tokens: below 1, likely ones are drawn more often")

    @field_validator("codes")
    @classmethod
    def _enough(cls, codes: int) -> int:
        if codes == 1:
            raise ValueError("a codebook of 1 code tells no two images apart; use 0 for none, or 2 and more")
        return codes


class Codebook(nn.Module):
    """K vectors of length D: one linear map of fixed random vectors.

    Args:
        count: K.
        length: D.
    """

    fixed: Tensor

    def __init__(self, count: int, length: int) -> None:
        super().__init__()
        self.register_buffer("fixed", torch.randn(count, length) / math.sqrt(length))
        self.map = nn.Linear(length, length, bias=False)
        nn.init.orthogonal_(self.map.weight)

    def vectors(self) -> Tensor:
        """Return all vectors, float32 [K, D]."""
        with torch.autocast(self.fixed.device.type, enabled=False):
            return cast(Tensor, self.map(self.fixed))

    def nearest(self, features: Tensor) -> Tensor:
        """Return the number of the nearest vector, int64 [N, T], of features [N, T, D]."""
        vectors = self.vectors()
        # |f - v|^2 = |f|^2 - 2 f.v + |v|^2, of which |f|^2 is the same for all v
        return (vectors.square().sum(1) - 2 * features.float() @ vectors.T).argmin(dim=2)


class QuantisedAutoencoder(Autoencoder):
    """The VQ-VAE: a code is a grid of tokens. Labels steer the prior of tokens alone.

    Args:
        settings: of the networks; `codes` is the size of the codebook, `latent` the length of its vectors.
        resolution: height and width of the images.
        classes: number of values of each label column.
    """

    def __init__(self, settings: TokenSettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__(resolution)
        self.settings, self.side, width = settings, settings.side(resolution), settings.widths[-1]
        self.encoder, self.decoder = Encoder(settings), Decoder(settings)
        self.exit, self.entry = nn.Conv2d(width, settings.latent, 1), nn.Conv2d(settings.latent, width, 1)
        self.codebook = Codebook(settings.codes, settings.latent)
        self.prior = TokenPrior(
            settings.codes, self.side**2, width=settings.prior_width, blocks=settings.prior_blocks, classes=classes
        )

    def features(self, images: Tensor) -> Tensor:
        """Return what is to be quantised, float32 [N, T, D]."""
        return cast(Tensor, self.exit(self.encoder(images))).flatten(2).transpose(1, 2).float()

    def code(self, images: Tensor, labels: Tensor | None = None) -> Coding:
        """Quantise and decode; the prior learns the tokens, of which it sends nothing back to the encoder."""
        features = self.features(images)
        tokens = self.codebook.nearest(features.detach())
        vectors = self.codebook.vectors()[tokens]
        # "straight through": the decoder's gradient passes from the vector to the features it replaced
        decoded = self._decode(features + (vectors - features).detach())
        penalties = {
            "codebook_loss": mse_loss(vectors, features.detach()),
            "commitment_loss": self.settings.commitment * mse_loss(features, vectors.detach()),
            "prior_loss": self.prior.nats(tokens, labels).mean(),
        }
        shares = torch.bincount(tokens.flatten(), minlength=self.settings.codes).double() / tokens.numel()
        entropy = -torch.special.xlogy(shares, shares).sum()  # of a token, in nats
        return Coding(decoded, images.new_zeros(len(images), 0), penalties, (entropy * tokens.shape[1]).float())

    def encode(self, images: Tensor) -> Tensor:
        """Return the tokens of images, int64 [N, T]."""
        return self.codebook.nearest(self.features(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Decode tokens, int64 [N, T]."""
        return self._decode(self.codebook.vectors()[codes])

    def _decode(self, vectors: Tensor) -> Tensor:
        grid = vectors.transpose(1, 2).reshape(len(vectors), -1, self.side, self.side)
        return cast(Tensor, self.decoder(self.entry(grid)))

    def codes(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Draw tokens, int64 [N, T], by latents [N, T]."""
        return self.prior.draw(latents, labels, temperature=self.settings.temperature)

    def latents(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the latents [N, T] of tokens int64 [N, T]."""
        return self.prior.latents(codes, labels, temperature=self.settings.temperature)
