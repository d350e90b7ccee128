"""F3-Net: frequency bands and local frequency statistics of an image in two mixed streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d

from detect.detectors.timm_network import TimmDetector, TimmSettings
from detect.features.dct import cosine_basis
from detect.layers.headed import HeadedNetwork
from detect.layers.xception import xception
from forge.faces.imaging.luma import LUMA

WINDOW, STRIDE, BANDS = 10, 2, 6  # of the local statistics
FLOOR = 0.01  # grey levels; a window's band holds 4 from rounding to 8 bits alone
EARLY = ("conv1", "bn1", "act1", "conv2", "bn2", "act2", *(f"block{number}" for number in range(1, 8)))
LATE = tuple(f"block{number}" for number in range(8, 13))
LAST = ("conv3", "bn3", "act3", "conv4", "bn4", "act4", "global_pool")


def triangular_bands(size: int, edges: Sequence[float]) -> Tensor:
    """Divide DCT coefficients (i, j) by the sum i + j.

    Args:
        size: coefficients along one side.
        edges: ascending; band k holds edges[k] <= i + j < edges[k + 1].

    Returns:
        float32 [len(edges) - 1, size, size] of 0 and 1.
    """
    index = torch.arange(size)
    # sum of indices of each coefficient, [1, size, size]; it grows with the frequency
    diagonal = (index[:, None] + index)[None]
    low, high = torch.tensor(edges[:-1]).view(-1, 1, 1), torch.tensor(edges[1:]).view(-1, 1, 1)
    # half-open bands: each coefficient belongs to exactly one of them
    return ((diagonal >= low) & (diagonal < high)).float()


def mask(weights: Tensor) -> Tensor:
    """Map weights to -1..1 by 2 sigmoid(w) - 1: the learned part of a band's filter; 0 leaves the band as it is."""
    return 2 * torch.sigmoid(weights) - 1


class Decomposition(nn.Module):
    """FAD, section 3.1: the image in four versions, each with only some of its DCT coefficients.

    Low holds a sixteenth of them, middle up to an eighth, high the rest, and the fourth all.

    Args:
        size: height and width of the images.
    """

    basis: Tensor
    bands: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        # i + j < s / 2.82 holds s^2 / 16 coefficients, i + j < s / 2 holds s^2 / 8 (areas of triangles)
        bands = triangular_bands(size, (0, size / 2.82, size / 2, 2 * size))
        self.register_buffer("basis", cosine_basis(size), persistent=False)
        # [4, 1, s, s], broadcast over channels; a fourth band lets everything pass
        self.register_buffer("bands", torch.cat([bands, torch.ones(1, size, size)])[:, None], persistent=False)
        # small but not 0: each mask starts near its fixed band and can move in both directions
        self.weights = nn.Parameter(0.1 * torch.randn(4, 1, size, size))

    def forward(self, images: Tensor) -> Tensor:
        """Float [N, 3, H, H] to float32 [N, 12, H, H], band by band."""
        with torch.autocast(images.device.type, enabled=False):
            # D X D^T for each channel: [N, 3, s, s]
            spectrum = self.basis @ images.float() @ self.basis.T
            # [N, 4, 3, s, s]: fixed part plus learned part of each filter
            parts = spectrum[:, None] * (self.bands + mask(self.weights))
            # inverse D^T Y D; bands and channels become 12 channels
            return (self.basis.T @ parts @ self.basis).flatten(1, 2)


class LocalStatistics(nn.Module):
    """LFS, section 3.2: log10 of what each of six bands holds in the DCT of every second 10 x 10 window.

    The windows' DCT is one convolution whose kernels are the products of two cosines.
    """

    kernels: Tensor
    bands: Tensor
    luma: Tensor

    def __init__(self) -> None:
        super().__init__()
        basis = cosine_basis(WINDOW)
        # [100, 1, 10, 10]: kernel (i, j) is the outer product of the cosines i and j
        kernels = torch.einsum("iy,jx->ijyx", basis, basis).reshape(-1, 1, WINDOW, WINDOW)
        # seven edges from 0 to 20 of the diagonal index, which ends at 18
        bands = triangular_bands(WINDOW, [2 * WINDOW * band / BANDS for band in range(BANDS + 1)])
        self.register_buffer("kernels", kernels, persistent=False)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)
        self.weights = nn.Parameter(0.1 * torch.randn(BANDS, WINDOW, WINDOW))

    def forward(self, images: Tensor) -> Tensor:
        """Float [N, 3, H, H] in -1..1 to float32 [N, 6, h, h], h what Xception's first layer makes of H."""
        with torch.autocast(images.device.type, enabled=False):
            # grey levels 0..255: FLOOR and rounding are in these units
            grey = ((images.float() * self.luma).sum(1, keepdim=True) + 1) * 127.5
            # padding that gives exactly the size of Xception's first layer (3 x 3, stride 2, no padding), even or odd
            spectrum = conv2d(grey, self.kernels, stride=STRIDE, padding=3 + images.shape[-1] % 2).abs()
            # |c m| summed over a band, for all bands at once
            filters = (self.bands + mask(self.weights)).abs().reshape(BANDS, -1, 1, 1)
            # log10 of each band's sum, [N, 6, h, h]
            return (conv2d(spectrum, filters) + FLOOR).log10()


class MixBlock(nn.Module):
    """Cross-attention between the streams, section 3.3: each gets the other's features where both agree.

    For each channel, queries times keys, rows of the maps against rows, summed over both streams; the softmax weighs
    the features that pass to the other side.

    Args:
        channels: of both streams.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # 1 x 1 convolutions: the projections of attention
        self.queries = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.keys = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.passed = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 1, groups=channels), nn.BatchNorm2d(channels)) for _ in range(2)
        )
        # behind the normalisation, which would undo a factor before it
        # 0: mixing starts as the identity, and each gate learns how much to let in, in -1..1
        self.gates = nn.Parameter(torch.zeros(2))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Two maps [N, C, h, h] to two of the same shape."""
        both = (first, second)
        # side by side along the width, so that one product sums over both streams; [N, C, h, 2 h]
        q = torch.cat([layer(maps) for layer, maps in zip(self.queries, both, strict=True)], dim=3)
        k = torch.cat([layer(maps) for layer, maps in zip(self.keys, both, strict=True)], dim=3)
        # [N, C, h, h]: rows of the map against rows, each normalised to sum 1
        attention = torch.softmax(q @ k.transpose(2, 3), dim=-1)
        gates = mask(self.gates)
        to_first, to_second = self.passed
        # elementwise: the attention weighs the other stream's features, which needs square maps
        return first + gates[0] * to_first(second * attention), second + gates[1] * to_second(first * attention)


class F3Network(HeadedNetwork):
    """Both streams, mixed after Xception's blocks 7 and 12, and one logit from their pooled features.

    Args:
        size: height and width of the images.
        middle: how many of Xception's blocks 4 to 11 each stream keeps.
        weights: what both Xceptions start from.
    """

    def __init__(self, size: int, *, middle: int, weights: str = "scratch") -> None:
        super().__init__()
        self.decomposition, self.statistics = Decomposition(size), LocalStatistics()
        # 12 channels of bands, 6 of statistics
        self.streams = nn.ModuleList(xception(channels, middle=middle, weights=weights) for channels in (12, BANDS))
        # the statistics already have half the size
        first_layer: nn.Conv2d = self.streams[1].conv1  # type: ignore[assignment]
        first_layer.stride, first_layer.padding = (1, 1), (1, 1)
        for stream in self.streams:
            stream.fc = nn.Identity()
        self.mid, self.high = MixBlock(728), MixBlock(1024)
        self.fc = nn.Linear(2 * 2048, 1)  # 2,048 pooled features of each stream

    def forward_features(self, images: Tensor) -> Tensor:
        """Float [N, 3, H, H] in -1..1 to pooled features [N, 4096]."""
        first, second = self.streams
        a, b = _through(first, EARLY, self.decomposition(images)), _through(second, EARLY, self.statistics(images))
        a, b = self.mid(a, b)
        a, b = self.high(_through(first, LATE, a), _through(second, LATE, b))
        return torch.cat([_through(first, LAST, a), _through(second, LAST, b)], dim=1)

    def forward_head(self, features: Tensor) -> Tensor:
        """Pooled features to logits [N, 1]."""
        logits: Tensor = self.fc(features)
        return logits


def _through(stream: nn.Module, layers: Sequence[str], maps: Tensor) -> Tensor:
    for layer in layers:
        maps = getattr(stream, layer)(maps)
    return maps


class F3NetSettings(TimmSettings):
    """Settings of F3-Net; the defaults are the paper's."""

    batch: int = Field(128, ge=2, multiple_of=2, description="images per step, half of them real")
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
        size = self.side
        return F3Network(size, middle=self.settings.middle, weights="scratch" if blank else self.settings.weights)
