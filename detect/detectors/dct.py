"""Logistic regression on the logarithm of the discrete cosine transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from detect.detectors.feature_based import RegressionDetector, RegressionSettings
from detect.features.dct import log_dct


class LogDctSettings(RegressionSettings):
    """Settings of the log-DCT detector."""

    l2: float = Field(0.01, ge=0, description="weight of the squared norm of the coefficients beside the mean log loss")


class LogDct(RegressionDetector[LogDctSettings]):
    """Log-DCT coefficients, z-scored by the training images, into logistic regression with an L2 penalty."""

    family = "dct"
    citation = "Frank et al., Leveraging Frequency Analysis for Deep Fake Image Recognition, ICML 2020"
    variant = "at the set's own resolution (the paper: 128 px); both classes weigh the same whatever their sizes"

    def features(self, pixels: Tensor) -> Tensor:
        """Return log-DCT coefficients, [N, 3 H W]."""
        return log_dct(pixels)

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """Weights of the z-scored features, float64 [3 H W], channel by channel: a map of what points to forgery."""
        return self._fitted().tensors()["coefficients"]

    def frequency_weights(self) -> NDArray[np.float32]:
        """Return the weights of the z-scored coefficients, mean over the channels, float32 [H, W]."""
        # [3 H W] to [3, H, W]; z-scored features, so that weights of all coefficients compare
        return np.asarray(self.coefficients.reshape(3, self.resolution, -1).mean(axis=0), dtype=np.float32)

    @property
    def intercept(self) -> float:
        """Log odds of an image whose features are all average."""
        # z-scores of an average image are 0, so only the intercept is left of its log odds
        return float(self._fitted().tensors()["intercept"][0])
