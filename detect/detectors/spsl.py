"""SPSL: an image and its phase spectrum into a shallow Xception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from detect.detectors.cnn import TimmDetector, TimmSettings

if TYPE_CHECKING:
    from torch import nn


class SpslSettings(TimmSettings):
    """Settings of SPSL."""

    middle: int = Field(
        0, ge=0, le=8, description="blocks 4 to 11 of Xception that are kept; 8: DeepfakeBench's, which is not shallow"
    )


class Spsl(TimmDetector[SpslSettings]):
    """RGB and the inverse Fourier transform of the phase spectrum into Xception without its middle blocks."""

    family = "spsl"
    citation = (
        "Liu et al., Spatial-Phase Shallow Learning: Rethinking Face Forgery Detection in Frequency Domain, CVPR 2021"
    )
    variant = (
        "no code was published: blocks 4 to 11 are what is left out, as in re-implementations; from random weights at "
        "the set's own resolution (the paper: weights imagenet, input_size 299); the phase image has mean square 1"
    )
    timm_name = "legacy_xception"

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network and give it the weights that `weights` asks for."""
        from detect.networks.spsl import Spsl as Network

        return Network(middle=self.settings.middle, weights="scratch" if blank else self.settings.weights)
