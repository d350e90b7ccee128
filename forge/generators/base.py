"""The Architecture interface: what one file must offer to be trained, sampled and listed."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from forge.core.errors import InputError, quoted

ADVERSARIAL = "adversarial"
FAMILY_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"


def check_family(family: str) -> str:
    """Return the name of a family if it is well formed.

    Raises:
        InputError: anything but words of lower-case letters and digits joined by hyphens.
    """
    if not isinstance(family, str) or not re.fullmatch(FAMILY_PATTERN, family):
        raise InputError(
            f"family {quoted(family)} must be lower-case letters, digits and hyphens between them, e.g. conv-gan"
        )
    return family


def is_off(setting: object) -> bool:
    """Return whether an option is off (None): it is then left out of stored settings, as before there was the option.

    So a training without it keeps its key and its checkpoint; for `pydantic.Field(None, exclude_if=is_off)`.
    """
    return setting is None


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
        family: what shares an architecture or a mechanism of making images; the protocol leaves out a whole family at
            a time. A class that declares none inherits that of its base class, else its family is its own name.
        conditional: whether it can ("optional"), must ("required") or cannot ("never") be given labels. Networks with
            labels take them as second argument: int64 [N, C], one column a label; a discriminator that is called
            without them its logit is of the image alone (the health monitor calls it so).
        trained_by: the training method: a name of `forge.training.steps.METHODS`, or a subclass of `TrainingMethod` in
            the architecture's own file. Only adversarial training needs a discriminator.
        takes_faces: whether images are made from real faces rather than from latents (translators).
        domains: of a translator without pairs: whether it learns one direction between two domains of faces, or both.
        truncates: whether the generator takes `truncation=` and `fixed_noise=` (see stylegan_lite).

    Raises:
        InputError: the architecture cannot make images of this resolution, or labels where it takes none; a class
            whose family is not well formed.
    """

    citation: ClassVar[str]
    resolutions: ClassVar[tuple[int, ...]]
    family: ClassVar[str]
    conditional: ClassVar[Literal["never", "optional", "required"]] = "never"
    trained_by: ClassVar[str | type[Any]] = ADVERSARIAL
    takes_faces: ClassVar[bool] = False
    domains: ClassVar[Literal["none", "one-way", "two-way"]] = "none"
    truncates: ClassVar[bool] = False
    Settings: ClassVar[type[NetworkSettings]] = NetworkSettings

    _declares_family: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Check the family that a class declares, or give it one."""
        super().__init_subclass__()
        if "family" in vars(cls):
            check_family(cls.family)
            cls._declares_family = True
        elif not cls._declares_family:
            # the name that the bench gives a generator from a file
            cls.family = check_family(re.sub(r"[^a-z0-9]+", "-", cls.__name__.lower()).strip("-") or "generator")

        if cls.trained_by != ADVERSARIAL and getattr(cls.discriminator, "__isabstractmethod__", False):
            cls.discriminator = _no_discriminator  # type: ignore[method-assign]

    def __init__(self, settings: NetworkSettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        name = type(self).__name__
        if resolution not in self.resolutions:
            can = ", ".join(map(str, self.resolutions))
            raise InputError(f"resolution {resolution} is not possible with {name}; it makes {can} px")
        if classes and self.conditional == "never":
            raise InputError(
                f"{name} takes no labels; leave the condition out, or use another generator, e.g. cgan or flow"
            )
        if not classes and self.conditional == "required":
            raise InputError(f"{name} needs labels; name label columns, e.g. --condition gender")
        self.settings, self.resolution, self.classes = settings, resolution, classes

    @classmethod
    def has_discriminator(cls) -> bool:
        """Return whether there is a network that judges images, for detectors to start from."""
        return cls.discriminator is not _no_discriminator

    def backward(self) -> Architecture:
        """Return the same architecture, whose generators translate the other way: of `domains` "two-way" alone.

        Raises:
            InputError: it has one direction.
        """
        raise InputError(f"{type(self).__name__} has one direction only")

    @abstractmethod
    def generator(self) -> nn.Module:
        """Return a fresh generator: latents [N, L] (and labels) to images [N, 3, H, W], about -1..1."""

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """Return a fresh discriminator: images [N, 3, H, W] in -1..1 (and labels) to logits [N], high for real."""

    @abstractmethod
    def latents(self, count: int, device: torch.device) -> Tensor:
        """Return random latents [count, L] from torch's current random state."""


class NormalSettings(NetworkSettings):
    """Settings of an architecture with standard normal latents."""

    latent: int = Field(100, ge=1, description="length of the latent vector")


class NormalArchitecture(Architecture):
    """An architecture with standard normal latents, `settings.latent` of them."""

    Settings = NormalSettings
    settings: NormalSettings

    def latents(self, count: int, device: torch.device) -> Tensor:
        """Return standard normal latents [count, latent]."""
        return torch.randn(count, self.settings.latent, device=device)


def _no_discriminator(self: Architecture) -> nn.Module:
    raise InputError(
        f"{type(self).__name__} has no discriminator, since its training is not adversarial; choose another generator"
    )
