"""Effort's split of attention weights: principal directions stay, the residual ones learn (Yan et al. 2024).

Orthogonal Subspace Decomposition for Generalizable AI-Generated Image Detection, arXiv 2411.15633.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from detect.tuning.base import Tuning, replace_module

_JOINT = 3  # queries, keys and values in one layer


class SplitLinear(nn.Module):
    """A linear layer whose weight is a frozen principal part and a trained residual U diag(s) V.

    A layer that joins queries, keys and values is split as three weights.

    Args:
        layer: whose weight and bias it takes over; the bias stays frozen.
        rank: smallest singular values of each weight that learn.
    """

    main: Tensor
    first_u: Tensor
    first_v: Tensor
    squared_norm: Tensor

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape
        parts = _JOINT if outputs == _JOINT * inputs else 1
        weight = layer.weight.detach().reshape(parts, outputs // parts, inputs)
        # [parts, out, n], [parts, n], [parts, n, in], singular values falling
        u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
        u, s, v = (values.to(weight.dtype) for values in (u[..., -rank:], s[..., -rank:], v[:, -rank:]))
        self.u, self.s, self.v = (nn.Parameter(values.clone()) for values in (u, s, v))
        self.register_buffer("main", weight - (u * s[:, None]) @ v)
        self.register_buffer("first_u", u.clone())
        self.register_buffer("first_v", v.clone())
        self.register_buffer("squared_norm", weight.square().sum(dim=(1, 2)))
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The weight as it is now, [out, in]."""
        return self.split_weight().flatten(0, 1)

    def split_weight(self) -> Tensor:
        """Return the weight of each part, [parts, out / parts, in]."""
        return self.main + (self.u * self.s[:, None]) @ self.v

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return linear(inputs, self.weight, self.bias)

    def penalty(self) -> Tensor:
        """Return the mean over parts of both losses of the paper, a scalar that is 0 before the first step.

        Orthogonality: half of |Q^T Q - I| of all left singular vectors Q, and half of that of all right ones, where the
        principal ones are orthonormal already; |principal^T u| is the length of u outside the residual's first span.
        Singular values: | |W|^2 - |first W|^2 |, Frobenius norms.
        """
        left, right = _unorthogonality(self.u, self.first_u), _unorthogonality(self.v.mT, self.first_v.mT)
        change = (self.split_weight().square().sum(dim=(1, 2)) - self.squared_norm).abs()
        return ((left + right) / 2 + change).mean()

    def merged(self) -> nn.Linear:
        """Return an ordinary layer with the weight as it is now."""
        weight = self.weight.detach()
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=self.bias is not None, device=weight.device)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if self.bias is not None:
                layer.bias.copy_(self.bias)
        return layer


def _unorthogonality(vectors: Tensor, first: Tensor) -> Tensor:
    """Return |Q^T Q - I| in the Frobenius norm of [principal, vectors], [parts, n, rank] each, to [parts]."""
    identity = torch.eye(vectors.shape[2], device=vectors.device)
    among = vectors.mT @ vectors - identity
    outside = vectors - first @ (first.mT @ vectors)
    # the products with principal vectors stand in both off-diagonal blocks; one norm, whose gradient at 0 is 0
    whole = torch.cat([among.flatten(1), 2**0.5 * outside.flatten(1)], dim=1)
    norms: Tensor = torch.linalg.vector_norm(whole, dim=1)
    return norms


class PrincipalSplit(Tuning):
    """Only the directions of the smallest singular values learn, and stay orthogonal to all others."""

    def adapt(self, network: nn.Module, names: list[str]) -> None:
        """Split each layer."""
        for name in names:
            layer = network.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            replace_module(network, name, SplitLinear(layer, self.rank))

    def merge(self, network: nn.Module) -> None:
        """Put the sum of both parts back."""
        split = [(name, module) for name, module in network.named_modules() if isinstance(module, SplitLinear)]
        for name, module in split:
            replace_module(network, name, module.merged())

    def penalty(self, network: nn.Module) -> Tensor | None:
        """Return the mean penalty of all split layers times the scale."""
        losses = [module.penalty() for module in network.modules() if isinstance(module, SplitLinear)]
        mean: Tensor = torch.stack(losses).mean()
        return self.scale * mean
