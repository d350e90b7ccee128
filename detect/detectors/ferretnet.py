"""FerretNet: what the neighbours of a pixel do not explain, into a small separable network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from detect.detectors.defaults import with_defaults
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import nn


class FerretSettings(NetworkSettings):
    """Settings of FerretNet."""

    width: int = Field(
        32, ge=8, le=256, multiple_of=2, description="channels after the stem; 32: FerretNet-S, 96: FerretNet-B"
    )


class FerretNet(NetworkDetector[FerretSettings]):
    """FerretNet-S: x minus its local median with the centre masked, two convolutions, four separable blocks."""

    family = "ferretnet"
    citation = "Liang et al., FerretNet: Efficient Synthetic Image Detection via Local Pixel Dependencies, NeurIPS 2025"
    variant = (
        "at the set's own resolution, Adam with beta1 .9, the small network of the authors' code; the paper: crops of "
        "224 px, beta1 .937, and the larger FerretNet-B (width 96)"
    )
    Settings = with_defaults(
        FerretSettings,
        epochs=100,
        learning_rate=2e-4,
        weight_decay=5e-4,
        warmup=0,
        clip=None,
        schedule="constant",
        patience=None,
        shift=0,
        crop=0.875,
    )
    # the statistics that CLIP expects; the masked centre counts as their mean colour
    mean = (0.48145466, 0.4578275, 0.40821073)
    std = (0.26862954, 0.26130258, 0.27577711)

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        from detect.networks.ferretnet import FerretNetwork

        return FerretNetwork(self.settings.width)
