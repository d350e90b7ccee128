"""SPSL: an image and its phase spectrum into a shallow Xception."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from detect.detectors.timm_network import TimmDetector, TimmSettings
from detect.layers.headed import HeadedNetwork
from detect.layers.xception import xception

MIN_MAGNITUDE = 1e-6  # of a coefficient's magnitude at which it still has a phase; below, rounding would choose one


def phase_image(images: Tensor) -> Tensor:
    """Inverse Fourier transform of the phase spectrum: every frequency with magnitude 1 (Liu 2021, section 3.2).

    Each image on its own; DeepfakeBench's `fftn` also transforms along the batch, so that scores depend on company.

    Args:
        images: float [N, 3, H, W] in -1..1; the mean of the channels is taken in 0..1, so that frequency zero has
            phase zero whatever the brightness.

    Returns:
        float32 [N, 1, H, W] with mean square 1 (the transforms are orthonormal); 0 for a black image.
    """
    # float64: phases of small coefficients would be those of rounding; [N, 1, H, W], mean of the channels in 0..1
    grey = (images.double().mean(1, keepdim=True) + 1) / 2
    spectrum = torch.fft.rfft2(grey, norm="ortho")
    # magnitude 1 with the phase kept; a coefficient of exactly 0 has no phase and stays 0
    phase = spectrum / spectrum.abs().clamp_min(MIN_MAGNITUDE)
    image: Tensor = torch.fft.irfft2(phase, s=grey.shape[-2:], norm="ortho")
    return image.float()


class SpslNetwork(HeadedNetwork):
    """Four channels into an Xception.

    Args:
        middle: how many of Xception's blocks 4 to 11 are kept.
        weights: what the Xception starts from.
    """

    def __init__(self, *, middle: int, weights: str = "scratch") -> None:
        super().__init__()
        self.xception = xception(4, middle=middle, weights=weights)

    def forward_features(self, images: Tensor) -> Tensor:
        """Float [N, 3, H, W] in -1..1 to feature maps [N, 2048, h, w]."""
        # [N, 4, H, W]: the phase image is the fourth channel
        four = torch.cat([images, phase_image(images)], dim=1)
        maps: Tensor = self.xception.forward_features(four)  # type: ignore[operator]
        return maps

    def forward_head(self, features: Tensor) -> Tensor:
        """Map feature maps [N, 2048, h, w] to logits [N, 1]."""
        logits: Tensor = self.xception.forward_head(features)  # type: ignore[operator]
        return logits


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
        return SpslNetwork(middle=self.settings.middle, weights="scratch" if blank else self.settings.weights)
