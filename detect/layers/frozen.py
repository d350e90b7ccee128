"""Pretrained networks that are part of another one and never learn."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator
from torch import nn


def _known(value: str) -> str:
    if value not in ("hub", "random") and not value.endswith(".safetensors"):
        raise ValueError("must be hub, random, or a path that ends in .safetensors (pickles are never opened)")
    return value


BackboneWeights = Annotated[str, AfterValidator(_known)]  # hub, random, or a .safetensors file


class FrozenNetwork(nn.Module):
    """A network whose body, `backbone`, keeps its weights and its evaluation mode; everything else learns.

    Args:
        backbone: gradients pass through it to the image, none reaches its weights.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all parts but the backbone: its dropout stays off and its statistics stay as they are."""
        super().train(mode)
        self.backbone.eval()
        return self
