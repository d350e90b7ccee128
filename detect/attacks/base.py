"""The Attack interface: images in, changed images out, within a budget of grey levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from detect.attacks.budget import Norm
from detect.attacks.target import Target
from forge.core.compute import derive_seed
from forge.core.errors import InputError, quoted
from forge.faces.faceset import Images

if TYPE_CHECKING:
    from detect.data.views import View
    from detect.detectors.base import FittedDetector
    from forge.generators.artifact import TrainedGenerator

Access = Literal["gradients", "scores", "nothing"]
Budget = Literal["levels", "none"]
Needs = Literal["", "reals", "views", "surrogate", "autoencoder", "generator"]
OPTIONAL_NEEDS = ("", "reals")  # of attacks that also run without

LARGEST = 255  # grey levels of a budget


class AttackSettings(BaseModel):
    """Settings that every attack has: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepSettings(AttackSettings):
    """Settings of attacks that descend the gradient step by step."""

    norm: Norm = Field("linf", description="of the budget: linf, each value; l2, the root mean square of all")
    steps: int = Field(10, ge=1, le=10_000, description="steps from each start")
    restarts: int = Field(1, ge=1, le=100, description="random starts, of which the best result is kept")


S = TypeVar("S", bound=AttackSettings)


@dataclass(frozen=True)
class Knowledge:
    """What an attacker has beside the attacked detector; never an image that this detector was fitted on.

    Attributes:
        real: real images of split `forge`.
        forged: forgeries of the attacker's generator, drawn for the attack.
        surrogate: a detector that was fitted on them.
        autoencoder: an autoencoder that was trained on real images of split `forge`.
        generator: of the attacked forgeries.
        latents: from forgeries of it, uint8 [n, H, W, 3], to the latents [n, L] that they were made of.
    """

    real: View | None = None
    forged: View | None = None
    surrogate: FittedDetector | None = None
    autoencoder: TrainedGenerator | None = None
    generator: TrainedGenerator | None = None
    latents: Callable[[Images], Tensor] | None = None


class Attack(ABC, Generic[S]):
    """A way to change images so that a detector takes them for the other class.

    An attack is one file with one subclass, registered in `detect.attacks.registry`. The type argument is the class of
    its settings. The result of an image follows from the image, the detector, the budget, the seed and its position,
    which random numbers depend on; never from other images.

    Attributes:
        citation: what to cite.
        access: what it asks of the attacked detector: gradients, scores, or nothing.
        budget: "levels": it is run at each budget in grey levels; "none": it changes what it has to change.
        needs: what of `Knowledge` must be there: "views" are `real` and `forged`, "reals" are `real` where there are
            any; "": nothing.
    """

    citation: ClassVar[str]
    access: ClassVar[Access]
    budget: ClassVar[Budget] = "levels"
    needs: ClassVar[Needs] = ""
    Settings: ClassVar[type[AttackSettings]] = AttackSettings

    def __init_subclass__(cls) -> None:
        """Take `Settings` from the type argument of the base class."""
        super().__init_subclass__()
        if "Settings" in cls.__dict__:
            return
        for base in cls.__dict__.get("__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, AttackSettings):
                    cls.Settings = argument

    def __init__(self, settings: S) -> None:
        """Take the settings."""
        self.settings = settings

    def learn(self, knowledge: Knowledge) -> None:
        """Take what the attacker has beside the detector; called once, before `changed`."""

    @abstractmethod
    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return changed images, uint8 [n, H, W, 3].

        Args:
            images: uint8 [n, H, W, 3].
            target: the attacked detector, whose losses are to fall.
            epsilon: the budget in grey levels; without meaning for an attack without a budget.
            seed: of all randomness.
        """


def check_epsilon(epsilon: float) -> float:
    """Return a budget in grey levels.

    Raises:
        InputError: it is not within 1..255: less than one grey level changes no byte.
    """
    if not 1 <= epsilon <= LARGEST:
        raise InputError(
            f"a budget of {epsilon:g} grey levels is not possible; give one from 1 to {LARGEST}, of the 255 levels of "
            "the stored image"
        )
    return float(epsilon)


def check_target(attack: Attack[Any], target: Target, name: str) -> None:
    """Refuse an attack by gradients on a detector whose score has none.

    Raises:
        InputError: names the attacks that need no gradient.
    """
    if attack.access == "gradients" and not target.differentiable:
        raise InputError(
            f"attack {quoted(name)} needs the gradient of the score, and {target.detector.family} has none; use square "
            "or transfer"
        )


def as_pixels(images: Images, target: Target) -> Tensor:
    """Return images uint8 [n, H, W, 3] as float32 pixels on the target's device."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(target.device).float()


def source_of(seed: int, *labels: str | int) -> torch.Generator:
    """Return a source of random numbers on the CPU, alike on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, *labels))


def best_of(images: Images, candidates: list[Images], target: Target) -> Images:
    """Return for each image the candidate with the lowest loss; the image itself where none has a lower one."""
    best, lowest = images.copy(), target.losses(images)
    for candidate in candidates:
        losses = target.losses(candidate)
        better = losses < lowest
        best[better], lowest[better] = candidate[better], losses[better]
    return best
