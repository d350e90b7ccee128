"""FerretNet: what the neighbours of a pixel do not explain, into a small separable network."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from detect.detectors.network import NetworkDetector
from detect.features.residuals import median_residual
from detect.layers.crops import framed
from detect.layers.exact import ExactLinear
from detect.training.settings import WindowSettings, with_defaults


class TwoScales(nn.Module):
    """Depthwise 3x3 convolutions with dilations 1 and 2, summed, then a 1x1 convolution across channels."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, groups=before, bias=False)
        # dilation 2 with padding 2 has the same output size as dilation 1 with padding 1, so that both can be added
        self.conv2 = nn.Conv2d(before, after, 3, stride, padding=2, dilation=2, groups=before, bias=False)
        self.conv3 = nn.Conv2d(after, after, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, before, H, W] to [N, after, ceil(H / stride), ceil(W / stride)]."""
        # [N, after, H', W'] at two scales, added before channels mix
        outputs: Tensor = self.conv3(self.conv1(inputs) + self.conv2(inputs))
        return outputs


class Separable(nn.Module):
    """Depthwise 3x3, then 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth_wise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.point_wise = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, channels, H, W] to the same shape."""
        outputs: Tensor = self.point_wise(self.depth_wise(inputs))
        return outputs


class Block(nn.Module):
    """A residual block of two scales and a separable convolution."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            TwoScales(before, after, stride),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            Separable(after),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            # the identity fits only where neither size nor channels change
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride), nn.BatchNorm2d(after))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, before, H, W] to [N, after, ceil(H / stride), ceil(W / stride)]."""
        outputs: Tensor = (self.layers(inputs) + self.shortcut(inputs)).relu()
        return outputs


class FerretNetwork(nn.Module):
    """Median residual, two convolutions, two stages of two blocks, one logit.

    Modules are named as in the published weights, so that these load as they are.

    Args:
        width: channels after the stem: 32 is FerretNet-S (126,289 parameters), 96 FerretNet-B (1,062,961).
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.cbr1 = _stem(3, width // 2, stride=1)
        self.cbr2 = _stem(width // 2, width, stride=2)  # half the resolution
        self.feature = nn.Sequential(
            _stage(width, 2 * width),
            _stage(2 * width, 4 * width),
            nn.Conv2d(4 * width, 4 * width, 1, bias=False),
        )
        # the last layer in fp32; dropout 0.2 acts in training alone
        self.logit = nn.Sequential(nn.Dropout(0.2), ExactLinear(4 * width, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map normalised images [N, 3, H, W] to logits float32 [N, 1]."""
        # the residual of the normalised image: the mask is 0 there, the mean colour, see below
        x = self.cbr2(self.cbr1(median_residual(inputs, masked=True)))
        # mean over pixels: [N, 4 width], for images of every size
        logits: Tensor = self.logit(self.feature(x).mean(dim=(2, 3)))
        return logits


def _stem(before: int, after: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def _stage(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(Block(before, after, 2), Block(after, after, 1))


class FerretSettings(WindowSettings):
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
        return FerretNetwork(self.settings.width)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into the network's input, of the middle window where one was set."""
        return super().prepare(framed(pixels, self.settings.window))
