"""A map of how unusual the noise of each place is within its own image; nothing is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from detect.detectors.base import DetectorSettings, FitContext, FitData, FitSummary
from detect.detectors.localiser import BLOCK, Localiser, Maps
from detect.features.srm import srm_residuals
from forge.core.compute import Compute
from forge.faces.faceset import Images

_LUMA = (0.299, 0.587, 0.114)
_RIDGE = 0.05  # added to the variances of features, in squared natural logarithms: flat images have none
_NOISE = 0.5  # grey levels, added to energies: below it is rounding


class NoiseMapSettings(DetectorSettings):
    """Settings of the noise map."""

    window: float = Field(0.11, gt=0, le=0.5, description="side of the windows, share of the image's")


class NoiseMap(Localiser[NoiseMapSettings]):
    """Energies of noise residuals in windows, and their distance from what is usual in the image.

    The features of a pixel are the logarithms of the mean squared residuals around it. What is usual is their median
    over the image and a covariance of the half of all places that lies nearest to it; the map is the Mahalanobis
    distance.
    """

    family = "noise-map"
    citation = "Cozzolino et al., Splicebuster: a New Blind Image Splicing Detector, WIFS 2015"
    variant = "energies of three residuals, not co-occurrences; one robust Gaussian, not a mixture"
    needs = "nothing"
    middle = (
        6.0  # distances of the strongest places of untouched photos are about this, see docs/results/localisation.md
    )

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Learn nothing."""
        return FitSummary()

    def maps(self, images: Images, compute: Compute) -> Maps:
        """Return the distances, float32 [n, H, W]."""
        made = [self._maps(torch.from_numpy(images[start : start + BLOCK])) for start in range(0, len(images), BLOCK)]
        return np.concatenate(made) if made else np.empty(images.shape[:3], np.float32)

    def _maps(self, images: Tensor) -> Maps:
        luma = (images.double() @ torch.tensor(_LUMA, dtype=torch.float64))[:, None]
        residuals = srm_residuals(luma)
        # second differences along columns too, so that both directions count
        residuals = torch.cat([residuals, srm_residuals(luma.transpose(2, 3))[:, 2:].transpose(2, 3)], dim=1)
        half = max(1, round(self.settings.window * images.shape[1] / 2))
        framed = pad(residuals.square(), (half, half, half, half), mode="reflect")
        energies = avg_pool2d(framed, 2 * half + 1, stride=1)
        features = (energies + _NOISE**2).log().permute(0, 2, 3, 1)  # [N, H, W, F]
        flat = features.flatten(1, 2)
        centred = flat - flat.median(dim=1, keepdim=True).values
        size = centred.square().sum(2)
        # the half of the places that lies nearest to the median
        usual = (size <= size.median(dim=1, keepdim=True).values).to(centred.dtype)[..., None]
        covariance = (centred * usual).mT @ centred / usual.sum(1, keepdim=True)
        covariance += _RIDGE * torch.eye(flat.shape[2], dtype=flat.dtype)
        solved = torch.linalg.solve(covariance, centred.mT).mT
        distances = (centred * solved).sum(2).clamp(min=0).sqrt()
        return np.asarray(distances.reshape(features.shape[:3]).float().numpy())

    def save(self, directory: Path) -> None:
        """Write nothing: settings say all."""

    @classmethod
    def load(cls, directory: Path, settings: NoiseMapSettings, resolution: int) -> Self:
        """Make it from its settings."""
        return cls(settings, resolution)
