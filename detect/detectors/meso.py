"""Meso-4 and MesoInception-4: small networks on the mesoscopic properties of faces."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from detect.detectors.defaults import with_defaults
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import Tensor

    from detect.networks.meso import MesoNetwork


class MesoSettings(NetworkSettings):
    """Settings of Meso-4 and MesoInception-4."""

    loss_of: Literal["squares", "entropy"] = Field(
        "squares", description="loss: mean squared error of the probability (the authors' code), or cross entropy"
    )


# the paper, section 3: a tenth of the learning rate every 1000 batches of 75, which are 6 passes over its 12,361 images
AfcharSettings = with_defaults(
    MesoSettings,
    epochs=30,
    batch=76,
    learning_rate=1e-3,
    warmup=0,
    clip=None,
    schedule="step",
    step_epochs=6,
    decay=0.1,
    min_learning_rate=1e-6,
)


class Meso(NetworkDetector[MesoSettings]):
    """What both networks share: images in 0..1 and the loss."""

    citation = "Afchar et al., MesoNet: a Compact Facial Video Forgery Detection Network, WIFS 2018"
    variant = (
        "at the set's own resolution, which decides the size of the first dense layer, batches of 76, flips and small "
        "shifts; the paper: input_size 256, batches of 75, and also small changes of zoom, angle, brightness and hue"
    )
    Settings = AfcharSettings
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    any_size = False  # the first dense layer is made for one

    @property
    def side(self) -> int:
        """Height and width of the network's input in pixels."""
        return self.settings.input_size or self.resolution

    @abstractmethod
    def build(self, *, blank: bool = False) -> MesoNetwork:
        """Make the network."""

    def loss(self, network: MesoNetwork, inputs: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """Mean squared error of the probability of forged, or cross entropy."""
        if self.settings.loss_of == "entropy":
            return super().loss(network, inputs, labels)
        return (self.logits(network, inputs).sigmoid() - labels).square().mean()


class Meso4(Meso):
    """Four convolutions and 16 hidden units: 27,977 parameters at 256 px."""

    family = "meso4"

    def build(self, *, blank: bool = False) -> MesoNetwork:
        """Make the network for the size of its input."""
        from detect.networks.meso import meso4

        return meso4(self.side)


class MesoInception4(Meso):
    """Meso-4 with inception blocks of dilated convolutions for its first two: 28,615 parameters at 256 px."""

    family = "mesoinception4"

    def build(self, *, blank: bool = False) -> MesoNetwork:
        """Make the network for the size of its input."""
        from detect.networks.meso import mesoinception4

        return mesoinception4(self.side)
