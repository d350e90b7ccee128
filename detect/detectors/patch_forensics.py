"""PatchForensics: a verdict a patch, averaged over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from detect.detectors.defaults import with_defaults
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detect.networks.patches import PatchXception


class PatchSettings(NetworkSettings):
    """Settings of PatchForensics."""

    blocks: int = Field(
        2, ge=1, le=5, description="blocks of Xception kept; a patch is 19, 43, 91, 187 or 283 pixels wide"
    )


class PatchForensics(NetworkDetector[PatchSettings]):
    """Xception cut after a few blocks: each patch is judged alone, and the image by the mean of its patches."""

    family = "patch-forensics"
    citation = "Chai et al., What makes fake images detectable? Understanding properties that generalize, ECCV 2020"
    variant = (
        "at the set's own resolution, convolutions initialised as in Xception; the paper: input_size 299, no shifts, "
        "and all blocks from 1 to 5 compared (the authors' example: 2)"
    )
    Settings = with_defaults(
        PatchSettings,
        epochs=1000,
        learning_rate=1e-3,
        warmup=0,
        clip=None,
        schedule="constant",
        patience=20,
        shift=0,
    )

    def build(self, *, blank: bool = False) -> PatchXception:
        """Make the cut network."""
        from detect.networks.patches import PatchXception

        return PatchXception(self.settings.blocks)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Log odds of the mean over patches of the probability of forged, float32 [N].

        In the domain of logarithms, so that an image whose patches are all certain still has a finite logit.
        """
        from torch.nn.functional import logsigmoid

        patches = network(inputs).flatten(1)
        forged, real = (logsigmoid(sign * patches).logsumexp(1) for sign in (1, -1))
        return forged - real

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of all patches, each labelled as its image."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        patches = network(inputs)
        return binary_cross_entropy_with_logits(patches, labels[:, None, None].expand_as(patches))
