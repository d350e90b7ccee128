"""Base of networks that are a body, which makes features, and a head, which makes logits of them."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class HeadedNetwork(nn.Module):
    """A network of a body and a head, named as timm names them, so that saliency and probes find the features."""

    @abstractmethod
    def forward_features(self, images: Tensor) -> Tensor:
        """Compute features of images, float [N, 3, H, W]."""

    @abstractmethod
    def forward_head(self, features: Tensor) -> Tensor:
        """Compute logits [N, 1] of what `forward_features` returned."""

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [N, 1]."""
        return self.forward_head(self.forward_features(images))
