"""PatchForensics: one probability per patch, averaged over the image."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from detect.detectors.network import NetworkDetector
from detect.layers.exact import ExactConv2d
from detect.training.settings import NetworkSettings, with_defaults

STEM = ("conv1", "bn1", "act1", "conv2", "bn2", "act2")
CHANNELS = (128, 256, 728, 728, 728)  # after blocks 1 to 5


class PatchXception(nn.Module):
    """The stem and first blocks of Xception, and a 1x1 convolution to two channels: real and forged.

    Args:
        blocks: 1 to 5; an output sees 19, 43, 91, 187 or 283 pixels a side.
    """

    def __init__(self, blocks: int) -> None:
        import timm  # takes seconds to import, which listing detectors does not need

        super().__init__()
        # whole network made, its first blocks kept: names and initialisation are Xception's
        whole = timm.create_model("legacy_xception", pretrained=False, num_classes=0)
        names = [*STEM, *(f"block{number}" for number in range(1, blocks + 1))]
        self.features = nn.Sequential()
        for name in names:
            self.features.add_module(name, getattr(whole, name))
        # 1 x 1: each output is of one patch alone, as wide as the blocks look
        self.head = ExactConv2d(CHANNELS[blocks - 1], 2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the log odds of forged, patch by patch: [N, 3, H, W] to float32 [N, h, w]."""
        outputs: Tensor = self.head(self.features(inputs))
        # two logits per patch; their difference is the log odds of a softmax; [N, h, w]
        return outputs[:, 1] - outputs[:, 0]


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
        return PatchXception(self.settings.blocks)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return the log odds of the mean over patches of the probability of forged, float32 [N].

        In the domain of logarithms, so that an image whose patches are all certain still has a finite logit.
        """
        patches = network(inputs).flatten(1)  # [N, patches]
        # log of the sum over patches of p and of 1 - p; their difference is the log odds of the mean p
        forged, real = (logsigmoid(sign * patches).logsumexp(1) for sign in (1, -1))
        return forged - real

    def pixel_logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return the log odds of the patches, [N, h, w]."""
        patches: Tensor = network(inputs)
        return patches

    def loss(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy of all patches, each labelled as its image."""
        # no pooling before the loss: each patch learns from its image's label, as in the paper
        patches = network(inputs)
        return binary_cross_entropy_with_logits(patches, labels[:, None, None].expand_as(patches))
