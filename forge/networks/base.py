"""The Architecture interface: what one file must offer to be trained, sampled and listed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from forge.errors import InputError


class NetworkSettings(BaseModel):
    """Settings of a network; architectures add their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(ABC):
    """A pair of networks that play against each other at one resolution.

    Args:
        settings: typed settings, an instance of `Settings`.
        resolution: height and width of the images in pixels.

    Raises:
        InputError: the architecture cannot make images of this resolution.
    """

    citation: ClassVar[str]
    resolutions: ClassVar[tuple[int, ...]]
    Settings: ClassVar[type[NetworkSettings]]

    def __init__(self, settings: NetworkSettings, resolution: int) -> None:
        if resolution not in self.resolutions:
            can = ", ".join(map(str, self.resolutions))
            raise InputError(f"resolution {resolution} is not possible with {type(self).__name__}; it makes {can} px")
        self.settings, self.resolution = settings, resolution

    @abstractmethod
    def generator(self) -> nn.Module:
        """A fresh generator: latents [N, L] to images [N, 3, H, W], about -1..1."""

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """A fresh discriminator: images [N, 3, H, W] in -1..1 to logits [N], high for real."""

    @abstractmethod
    def latents(self, count: int, device: torch.device) -> Tensor:
        """Random latents [count, L] from torch's current random state."""
