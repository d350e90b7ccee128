"""FreqNet: a small network that is shown high frequencies only."""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from detect.detectors.network import NetworkDetector
from detect.layers.headed import HeadedNetwork
from detect.training.settings import NetworkSettings


def high_pass(maps: Tensor) -> Tensor:
    """Remove the centred half of the frequencies along height and width (HFRI and HFRFS of the paper).

    The removed block, -n/4 to n/4 - 1, is not symmetric; the real part that the paper takes of the result is that of
    the block averaged with its mirror image, so that transforms of real maps suffice.

    Args:
        maps: float [N, C, H, W].

    Returns:
        float32 [N, C, H, W]; 0 for constant maps.
    """
    size = tuple(maps.shape[-2:])
    with torch.autocast(maps.device.type, enabled=False):
        # a real map's spectrum is Hermitian: half of its columns hold all of it; [N, C, H, W // 2 + 1]
        spectrum = torch.fft.rfft2(maps.float())
        kept = _kept(size, maps.device)[:, : spectrum.shape[-1]]
        # s: an odd width cannot be told from the spectrum's width
        filtered: Tensor = torch.fft.irfft2(spectrum * kept, s=size)
    return filtered


def high_pass_channels(maps: Tensor) -> Tensor:
    """Return the same along the channels (HFRFC of the paper): float [N, C, H, W] to float32 of the same shape."""
    with torch.autocast(maps.device.type, enabled=False):
        return conv2d(maps.float(), _channel_filter(maps.shape[1], maps.device))


class SpectralConv(nn.Module):
    """FCL of the paper: 1 x 1 convolutions of the real and of the imaginary part of the maps' spectrum.

    The real part is the transform of a map's even half, (x + Rx) / 2 with R the mirroring of both axes at pixel 0, the
    imaginary part that of its odd half, (x - Rx) / 2. A convolution that only mixes channels may change places with
    the transform and with R, so the layer is Ax + RBx with A half the sum and B half the difference of the two, and
    needs no spectrum.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.real = nn.Conv2d(channels, channels, 1, bias=False)
        self.imaginary = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Float [N, C, H, W] to the same."""
        real, imaginary = self.real.weight, self.imaginary.weight  # [C, C, 1, 1] each
        # both products in one convolution: A x and B x, [N, C, H, W] each
        plain, mirrored = conv2d(maps, torch.cat([real + imaginary, real - imaginary]) / 2).chunk(2, dim=1)
        # R maps pixel i to -i mod n: flipping gives n - 1 - i, and rolling by one n - i
        return plain + mirrored.flip(-2, -1).roll((1, 1), (-2, -1))


class FreqNetwork(HeadedNetwork):
    """The paper's network with one logit; 1,850,433 parameters."""

    def __init__(self) -> None:
        from timm.models.resnet import Bottleneck, ResNet  # takes seconds, which listing detectors does not need

        super().__init__()
        block: Any = Bottleneck  # timm's annotation asks for a block and means its class
        # stages 1 and 2 of ResNet50: 3 and 4 bottlenecks, 64 to 256 and 256 to 512 channels
        residual = ResNet(block, (3, 4), channels=(64, 128), num_classes=1, zero_init_last=False)
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1, stride)
            for inputs, outputs, stride in ((3, 64, 1), (64, 64, 2), (256, 256, 1), (256, 256, 2))
        )
        self.spectral = nn.ModuleList(SpectralConv(channels) for channels in (64, 64, 256, 256))
        self.layer1: nn.Module = residual.layer1  # type: ignore[assignment]
        self.layer2: nn.Module = residual.layer2  # type: ignore[assignment]
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fc = nn.Linear(512, 1)
        self._initialise()

    def _initialise(self) -> None:
        for layer in [*self.convs.modules(), *self.spectral.modules()]:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """Float [N, 3, H, W] to pooled features [N, 512]."""
        maps = self._stage(0, images, channels=True)
        # channels are filtered in the first two stages only, before ResNet's layers
        maps = self._stage(1, maps, channels=True)
        maps = self.layer1(self.pool(maps))
        maps = self._stage(2, maps, channels=False)
        maps = self._stage(3, maps, channels=False)
        pooled: Tensor = self.layer2(maps).mean((2, 3))
        return pooled

    def forward_head(self, features: Tensor) -> Tensor:
        """Pooled features to logits [N, 1]."""
        logits: Tensor = self.fc(features)
        return logits

    def _stage(self, number: int, maps: Tensor, *, channels: bool) -> Tensor:
        # ReLU after the filter: its output has both signs
        maps = relu(self.convs[number](relu(high_pass(maps))))
        if channels:
            maps = relu(high_pass_channels(maps))
        return relu(self.spectral[number](maps))


@functools.cache
@torch.inference_mode(mode=False)
def _channel_filter(channels: int, device: torch.device) -> Tensor:
    """The filter along the channels as the kernels of a 1 x 1 convolution, several times as fast as transforms."""
    kept = _kept((channels,), device)[: channels // 2 + 1, None]
    # the columns of the identity are the unit vectors; their filtered versions are the columns of the matrix
    spectrum = torch.fft.rfft(torch.eye(channels, device=device), dim=0)
    rows: Tensor = torch.fft.irfft(spectrum * kept, n=channels, dim=0)
    return rows[:, :, None, None]


@functools.cache
@torch.inference_mode(mode=False)  # what is kept here must also serve a training that follows a scoring
def _kept(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Return the weight of each frequency of a transform over axes of these sizes, in its own order: 0, 1/2 or 1."""
    kept = torch.ones(sizes)
    # the centred half of each axis: from -n/4 to n/4 - 1 around frequency zero at n // 2
    kept[tuple(slice(n // 2 - n // 4, n // 2 + n // 4) for n in sizes)] = 0
    kept = torch.fft.ifftshift(kept)
    axes = tuple(range(len(sizes)))
    # mean of the block and its mirror image about frequency zero: weights of 1/2 at its edge
    symmetric: Tensor = (kept + kept.flip(axes).roll((1,) * len(sizes), axes)) / 2
    return symmetric.to(device)


class FreqNetSettings(NetworkSettings):
    """Settings of FreqNet; the defaults are the authors'."""

    epochs: int = Field(100, ge=1, description="most passes over the training images")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="after the warm-up")
    schedule: Literal["constant", "cosine", "step", "plateau"] = Field(
        "step", description="of the learning rate, after the warm-up"
    )
    step_epochs: int = Field(10, ge=1, description="passes between the steps of schedule step")
    decay: float = Field(0.8, gt=0, lt=1, description="what step and plateau multiply the learning rate with")


class FreqNet(NetworkDetector[FreqNetSettings]):
    """High-pass filters of image and features, convolutions of real and imaginary spectra, two stages of ResNet50."""

    family = "freqnet"
    citation = (
        "Tan et al., Frequency-Aware Deepfake Detection: Improving Generalizability through Frequency Space Learning, "
        "AAAI 2024"
    )
    variant = (
        "at the set's own resolution (the paper: 224 px crops); the 1 x 1 convolutions start as small as the others "
        "(the authors': standard deviation 1)"
    )
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network."""
        return FreqNetwork()

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Logits, float32 [N]; the head is computed in fp32."""
        features: Tensor = network.forward_features(inputs)  # type: ignore[operator]
        with torch.autocast(inputs.device.type, enabled=False):
            outputs: Tensor = network.forward_head(features.float())  # type: ignore[operator]
        return outputs.flatten()
