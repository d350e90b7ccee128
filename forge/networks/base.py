"""The Architecture interface: what one file must offer to be trained, sampled and listed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from forge.errors import InputError


class NetworkSettings(BaseModel):
    """Settings of a network; architectures add their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Architecture(ABC):
    """A pair of networks that play against each other at one resolution.

    Args:
        settings: typed settings, an instance of `Settings`.
        resolution: height and width of the images in pixels.
        classes: of a conditional generator: the number of values of each label column.

    Attributes:
        conditional: whether it can ("optional"), must ("required") or cannot ("never") be given labels. Networks with
            labels take them as second argument: int64 [N, C], one column a label; a discriminator that is called
            without them judges the image alone (the health monitor does).
        family: what generators share an architecture or a mechanism with; "": it is a family of its own. Detectors are
            ranked on families that were left out of their training.
        truncates: whether the generator takes `truncation=` and `fixed_noise=` (see stylegan_lite).

    Raises:
        InputError: the architecture cannot make images of this resolution, or labels where it takes none.
    """

    citation: ClassVar[str]
    resolutions: ClassVar[tuple[int, ...]]
    conditional: ClassVar[Literal["never", "optional", "required"]] = "never"
    truncates: ClassVar[bool] = False
    family: ClassVar[str] = ""
    Settings: ClassVar[type[NetworkSettings]]

    def __init__(self, settings: NetworkSettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        kind = type(self).__name__
        if resolution not in self.resolutions:
            can = ", ".join(map(str, self.resolutions))
            raise InputError(f"resolution {resolution} is not possible with {kind}; it makes {can} px")
        if classes and self.conditional == "never":
            raise InputError(f"{kind} takes no labels; leave the condition out, or use cgan or stylegan-lite")
        if not classes and self.conditional == "required":
            raise InputError(f"{kind} needs labels; name label columns, e.g. --condition gender")
        self.settings, self.resolution, self.classes = settings, resolution, classes

    @abstractmethod
    def generator(self) -> nn.Module:
        """A fresh generator: latents [N, L] (and labels) to images [N, 3, H, W], about -1..1."""

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """A fresh discriminator: images [N, 3, H, W] in -1..1 (and labels) to logits [N], high for real."""

    @abstractmethod
    def latents(self, count: int, device: torch.device) -> Tensor:
        """Random latents [count, L] from torch's current random state."""
