"""The interface of detectors that say where an image was altered, and the score that follows from their map."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detect.detectors.base import Detector, DetectorSettings, Scores
from forge.core.compute import Compute
from forge.faces.faceset import Images

Maps = NDArray[np.float32]

SHARE = 0.01  # of the pixels, those with the highest values, whose mean is the score of an image
BLOCK = 64  # images at a time; nothing depends on it


def strongest(maps: Tensor) -> Tensor:
    """Return the mean of the highest values of each map, [N, h, w] to [N]: one pixel alone decides nothing."""
    flat = maps.flatten(1)
    return flat.topk(max(1, round(SHARE * flat.shape[1])), dim=1).values.mean(1)


L = TypeVar("L", bound=DetectorSettings)


class Localiser(Detector[L]):
    """A detector that says where; whether an image is forged follows from the strongest part of its map.

    Localisers that are networks are a `NetworkDetector` with `pixel_logits` and `learns_masks`, as
    `detect.detectors.unet`.

    Attributes:
        middle: value of the strongest part at which an image is as likely forged as real.
    """

    middle: ClassVar[float] = 0.0

    @abstractmethod
    def maps(self, images: Images, compute: Compute) -> Maps:
        """Say where images were altered: float32 [n, H, W], finite, higher for altered."""

    def score(self, images: Images, compute: Compute) -> Scores:
        """Return the mean of the highest values of each map, less `middle`, float64 [n]."""
        if not len(images):
            return np.empty(0)
        maps = torch.from_numpy(self.maps(images, compute).astype(np.float64))
        return np.asarray(strongest(maps).numpy() - self.middle)
