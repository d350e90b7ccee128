"""The backbones of DeepfakeBench as its checkpoints need them: EfficientNet-B4 with its padding, and its resizing."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from detect.detectors.network import channel_values
from detect.detectors.timm_network import TimmDetector, TimmSettings
from forge.core.errors import InputError

MADE_FOR = 380  # pixels for which efficientnet_pytorch pads EfficientNet-B4, whatever it is fed


class StaticConv2d(nn.Conv2d):
    """A convolution with the margins that TensorFlow's SAME adds to maps of one size, whatever the size of the input.

    Args:
        like: convolution whose weights, stride and groups it has.
        size: of the maps that the margins are for; None: no margins.
    """

    def __init__(self, like: nn.Conv2d, size: int | None) -> None:
        (kernel, _), (stride, _) = like.kernel_size, like.stride
        super().__init__(
            like.in_channels, like.out_channels, kernel, stride=stride, groups=like.groups, bias=like.bias is not None
        )
        self.load_state_dict(like.state_dict())
        missing = 0 if size is None else max((-(-size // stride) - 1) * stride + kernel - size, 0)
        self.margins = missing // 2, missing - missing // 2

    def forward(self, inputs: Tensor) -> Tensor:
        """Convolve [N, C, H, W]."""
        return super().forward(pad(inputs, self.margins * 2))


class _Resized(TimmDetector[TimmSettings]):
    """A network that sees images through OpenCV's bicubic filter, which does not smooth before it leaves pixels out."""

    def prepare(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] into whole grey levels of the input size, normalised."""
        inputs = pixels.permute(0, 3, 1, 2).float()
        size = self.settings.input_size
        if size is not None and size != inputs.shape[-1]:
            resized = interpolate(inputs, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 255)
            # rounded as OpenCV does; the gradient is that of the values before
            inputs = resized + (resized.round() - resized).detach()
        mean, std = channel_values(self.mean, inputs.device), channel_values(self.std, inputs.device)
        return (inputs - mean) / std


class BenchXception(_Resized):
    """Xception of DeepfakeBench: the network of detector xception behind OpenCV's resizing."""

    family = "deepfakebench-xception"
    citation = (
        "Yan et al., DeepfakeBench: A Comprehensive Benchmark of Deepfake Detection, NeurIPS 2023; Roessler et al., "
        "FaceForensics++: Learning to Detect Manipulated Facial Images, ICCV 2019"
    )
    variant = "one logit, the difference of the two classes; from random weights where it is fitted here"
    timm_name = "legacy_xception"

    def adapt(self, network: nn.Module) -> None:
        """Leave the network as it is."""


class BenchEfficientNetB4(_Resized):
    """EfficientNet-B4 of DeepfakeBench, padded for 380 px as efficientnet_pytorch does, with a stem without margins."""

    family = "deepfakebench-efficientnet-b4"
    citation = (
        "Yan et al., DeepfakeBench: A Comprehensive Benchmark of Deepfake Detection, NeurIPS 2023; Tan and Le, "
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019"
    )
    variant = "one logit, the difference of the two classes; from random weights where it is fitted here"
    timm_name = "tf_efficientnet_b4"

    def adapt(self, network: nn.Module) -> None:
        """Give each halving convolution the margins of the authors' network."""
        super().adapt(network)
        network.conv_stem = StaticConv2d(network.conv_stem, None)  # type: ignore[arg-type]
        size = -(-MADE_FOR // 2)
        for block in _blocks(network):
            convolution = block.conv_dw
            if isinstance(convolution, nn.Conv2d) and convolution.stride[0] > 1:
                block.conv_dw = StaticConv2d(convolution, size)
                size = -(-size // convolution.stride[0])


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    stages = network.blocks
    if not isinstance(stages, nn.Sequential):
        raise InputError("this version of timm builds EfficientNet without stages; install timm 1.0.20 or newer")
    for stage in stages:
        yield from stage.children()
