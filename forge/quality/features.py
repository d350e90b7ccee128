"""A named feature space that needs no download: a small convolutional network with random weights.

Random networks are a usable space for precision, recall, density and coverage (Naeem et al.: Reliable Fidelity and
Diversity Metrics for Generative Models. ICML 2020, section 4). Distances here say nothing of meaning, and values are
comparable only between results that carry the same extractor hash.

`random-conv-v1`: four 3 x 3 convolutions (mirrored edges), each divided by its root mean square over channels and made
absolute, with 2 x 2 mean pooling between them. The features are the means over the whole image (two fine stages), over
2 x 2 (third) and 4 x 4 fields (fourth), so that a misplaced eye is seen, and the deviations of the first three stages.
Three quarters of the first filters ignore constant colour.
"""

from __future__ import annotations

import functools
import hashlib
import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from forge.faces.faceset import Images
from forge.quality.checks import check_images
from forge.quality.result import Result

NAME = "random-conv-v1"
SIDE = 64
RESIZE = f"to {SIDE} px, bilinear with antialiasing (Pillow)"
_CHANNELS = (3, 16, 32, 32, 16)  # RGB, then the width of each stage
_FIELDS = (1, 1, 2, 4)  # cells a side over which each stage is averaged
_SEED = 20_180_227
_IMAGES_AT_ONCE = 32  # activations stay in the cache: with 128 it takes 1.4 times as long


class Extractor(Result):
    """Feature space of a metric."""

    name: str
    sha256: str = Field(description="of the integer weights, from which the network follows")
    resize: str = Field(description="what is done to images of another size")
    dimensions: int


@functools.cache
def _integers() -> tuple[NDArray[np.int16], ...]:
    # integers, as their stream and hash are the same on every platform; they become unit filters afterwards
    rng = np.random.Generator(np.random.PCG64(_SEED))
    return tuple(
        rng.integers(-(2**15), 2**15, (wide, narrow, 3, 3), dtype=np.int16)
        for narrow, wide in itertools.pairwise(_CHANNELS)
    )


def _filters() -> list[NDArray[np.float32]]:
    out = []
    for stage, integers in enumerate(_integers()):
        weights = integers.astype(np.float64)
        if stage == 0:
            # three quarters of the first filters lose their mean, channel by channel, so that constant colour gives 0
            weights[len(weights) // 4 :] -= weights[len(weights) // 4 :].mean(axis=(2, 3), keepdims=True)
        # squared norm 2, what He's initialisation has on average
        weights *= np.sqrt(2 / (weights**2).sum(axis=(1, 2, 3), keepdims=True))
        out.append(weights.astype(np.float32))
    return out


@functools.cache
def extractor() -> Extractor:
    """Name, hash, resize rule and dimensions of the feature space."""
    digest = hashlib.sha256()
    for weights in _integers():
        digest.update(weights.astype("<i2").tobytes())  # little-endian, so that the hash does not depend on the machine
    pooled = sum(wide * cells**2 for wide, cells in zip(_CHANNELS[1:], _FIELDS, strict=True))
    return Extractor(name=NAME, sha256=digest.hexdigest(), resize=RESIZE, dimensions=pooled + sum(_CHANNELS[1:4]))


@torch.no_grad()
def extract(images: Images, *, device: str = "cpu") -> NDArray[np.float32]:
    """Return features of images, always computed in fp32.

    Args:
        images: uint8 [n, H, H, 3].
        device: where to compute.

    Returns:
        [n, D], see `extractor`.

    Raises:
        InputError: unusable images.
    """
    check_images({"images": images}, min_images=1)
    filters = [torch.from_numpy(weights).to(device) for weights in _filters()]
    out = np.empty((len(images), extractor().dimensions), np.float32)
    # TF32 keeps 10 bits of the factors, about three digits: features would differ between GPUs and CPUs
    with torch.backends.cudnn.flags(allow_tf32=False):
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            some = slice(start, start + _IMAGES_AT_ONCE)
            batch = torch.from_numpy(_resized(images[some])).to(device)
            out[some] = _network(batch, filters).cpu().numpy()
    return out


def _network(images: Tensor, filters: list[Tensor]) -> Tensor:
    x = images.permute(0, 3, 1, 2).float().div(127.5).sub(1)  # [n, 3, 64, 64] in -1..1
    features = []
    for stage, weights in enumerate(filters):
        if stage:
            x = F.avg_pool2d(x, 2)  # halves the side: 64, 32, 16, 8
        # mirrored, as zeros would draw a frame around every image
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weights)
        # divided by the root mean square over channels, place by place: local contrast drops out. 0.1 bounds the factor
        # in flat places, where only noise would be amplified
        x = (x / (x.square().mean(dim=1, keepdim=True).sqrt() + 0.1)).abs()
        features.append(F.adaptive_avg_pool2d(x, _FIELDS[stage]).flatten(1))  # [n, C * cells^2]
        if stage < len(filters) - 1:  # the last stage has too few places for a deviation
            features.append(x.std(dim=(2, 3)))
    return torch.cat(features, dim=1)  # [n, 512]


def _resized(images: Images) -> Images:
    if images.shape[1] == SIDE:
        return np.array(images)  # a copy: torch takes no read-only memory maps
    size = (SIDE, SIDE)
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images])
