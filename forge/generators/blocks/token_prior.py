"""A small transformer that draws grids of tokens one after the other: the prior of a vector-quantised autoencoder.

It knows p(token | tokens before it), row by row from the upper left. Each token is drawn by the inverse of its
cumulative distribution at one number of the latents, so that the same latents always give the same tokens.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

_HEAD = 32  # channels of an attention head, as near as the width allows
# latents are float32, in which the normal distribution's tails end near 13; further out tokens would not change
_CLOSEST = 1e-12

Cache = list[tuple[Tensor, Tensor]]


class Block(nn.Module):
    """Causal self-attention and a perceptron, each beside a shortcut and behind a layer norm (Radford et al. 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD)
        while width % self.heads:
            self.heads -= 1
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.entry, self.exit = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, features: Tensor, before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map [N, t, W] to [N, t, W].

        Args:
            features: of tokens that follow those in `before`.
            before: keys and values [N, heads, s, W / heads] of earlier tokens; then t must be 1.

        Returns:
            Features, and the keys and values of all tokens so far.
        """
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.entry(self.norms[0](features)).chunk(3, dim=2)
        )
        if before is not None:
            key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
        # a single new token sees all others; several at once see those before them
        mixed = scaled_dot_product_attention(query, key, value, is_causal=before is None)
        features = features + self.exit(mixed.transpose(1, 2).flatten(2))
        return features + self.narrow(gelu(self.widen(self.norms[1](features)))), (key, value)


class TokenPrior(nn.Module):
    """p(tokens | labels).

    Args:
        codes: K, number of different tokens.
        count: T, tokens of an image.
        width: channels.
        blocks: of the transformer.
        classes: of a conditional generator: the number of values of each label column.
    """

    def __init__(self, codes: int, count: int, *, width: int, blocks: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.count = count
        self.tokens, self.positions = nn.Embedding(codes, width), nn.Parameter(0.02 * torch.randn(count, width))
        self.start = nn.Parameter(torch.zeros(width))  # stands before the first token
        self.labels = nn.ModuleList(nn.Embedding(values, width) for values in classes)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.norm, self.exit = nn.LayerNorm(width), nn.Linear(width, codes)

    def nats(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of each token given those before it, in nats: [N, T].

        Args:
            tokens: int64 [N, T].
            labels: int64 [N, C] of a conditional generator.
        """
        return cross_entropy(self._all_logits(tokens, labels).transpose(1, 2), tokens, reduction="none")

    def draw(self, latents: Tensor, labels: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """Return the tokens of latents.

        Args:
            latents: standard normal, [N, T], one for each token.
            labels: int64 [N, C] of a conditional generator.
            temperature: divides the logits.

        Returns:
            int64 [N, T].
        """
        shares = _normal_shares(latents)  # uniform in 0..1
        features, cache = self._start(len(latents), labels), Cache()
        tokens: list[Tensor] = []
        for position in range(self.count):
            if position:
                features = self.tokens(tokens[-1])[:, None]
            logits, cache = self._advance(features, position, cache)
            edges = _cumulative(logits[:, 0], temperature)
            # the token in whose part of 0..1 the share lies
            tokens.append(
                torch.searchsorted(edges, shares[:, position, None].contiguous(), right=True)[:, 0].clamp(
                    max=edges.shape[1] - 1
                )
            )
        return torch.stack(tokens, 1)

    def latents(self, tokens: Tensor, labels: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """Return latents [N, T] of which `draw` makes these tokens, float32: the middle of each token's part of 0..1.

        A token that the prior holds for less likely than about 1e-7 may come back as its neighbour.
        """
        edges = _cumulative(self._all_logits(tokens, labels), temperature)
        upper = edges.gather(2, tokens[..., None])[..., 0]
        lower = torch.where(tokens > 0, edges.gather(2, (tokens - 1).clamp(min=0)[..., None])[..., 0], 0.0)
        middle = ((lower + upper) / 2).clamp(_CLOSEST, 1 - _CLOSEST)
        latents: Tensor = torch.special.ndtri(middle)
        return latents.float()

    def _start(self, count: int, labels: Tensor | None) -> Tensor:
        vector = self.start.expand(count, -1)
        if labels is not None:
            for i, embed in enumerate(self.labels):
                vector = vector + embed(labels[:, i])
        return vector[:, None]

    def _all_logits(self, tokens: Tensor, labels: Tensor | None) -> Tensor:
        """Return the logits of every token given those before it, float32 [N, T, K]."""
        features = torch.cat([self._start(len(tokens), labels), self.tokens(tokens[:, :-1])], 1)
        return self._advance(features, 0, [])[0]

    def _advance(self, features: Tensor, position: int, cache: Cache) -> tuple[Tensor, Cache]:
        features = features + self.positions[position : position + features.shape[1]]
        kept: Cache = []
        for number, block in enumerate(self.blocks):
            features, pair = cast(Block, block)(features, cache[number] if cache else None)
            kept.append(pair)
        return self.exit(self.norm(features)).float(), kept


def _normal_shares(latents: Tensor) -> Tensor:
    """Return the standard normal distribution's share below each latent, float64."""
    shares: Tensor = torch.special.ndtr(latents.double())
    return shares


def _cumulative(logits: Tensor, temperature: float) -> Tensor:
    """Return the upper ends of the parts of 0..1 that belong to tokens, float64, of logits [..., K]."""
    return torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
