"""F3-Net: frequency bands and local frequency statistics of an image in two mixed streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from detect.detectors.cnn import TimmDetector, TimmSettings

if TYPE_CHECKING:
    from torch import nn


class F3NetSettings(TimmSettings):
    """Settings of F3-Net; the defaults are the paper's."""

    batch: int = Field(128, ge=2, multiple_of=2, description="images a step, half of them real")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("sgd", description="gradient descent with momentum, or Adam")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="after the warm-up")
    middle: int = Field(
        8, ge=0, le=8, description="blocks 4 to 11 that each of the two Xceptions keeps; the paper keeps all 8"
    )


class F3Net(TimmDetector[F3NetSettings]):
    """DCT bands with learned masks and statistics of small windows, each into an Xception; attention mixes the two."""

    family = "f3net"
    citation = "Qian et al., Thinking in Frequency: Face Forgery Detection by Mining Frequency-aware Clues, ECCV 2020"
    variant = (
        "from random weights at the set's own resolution, where quick and smoke keep 2 of 8 middle blocks (the paper: "
        "weights imagenet, input_size 299, middle 8); bands do not overlap; the gates of the mixing lie behind its "
        "normalisation"
    )
    any_size: ClassVar[bool] = False
    timm_name = "legacy_xception"

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network and give both Xceptions the weights that `weights` asks for."""
        from detect.networks.f3net import F3Net as Network

        size = self.settings.input_size or self.resolution
        return Network(size, middle=self.settings.middle, weights="scratch" if blank else self.settings.weights)
