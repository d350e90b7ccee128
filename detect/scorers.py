"""Protocols of what functions score images with: less than a detector, so that one that is shown crops fits too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from forge.core.compute import Compute, Precision
from forge.faces.faceset import Images

if TYPE_CHECKING:
    from detect.training.calibration import Calibration


class Scorer(Protocol):
    """What gives images their scores: a detector, or one that is shown crops of them."""

    @property
    def family(self) -> str:
        """Name for messages."""

    @property
    def resolution(self) -> int:
        """Height and width of the images in pixels."""

    def score(self, images: Images, compute: Compute) -> NDArray[np.float64]:
        """Return one finite score an image, float64 [n]; images are uint8 [n, H, W, 3] of its resolution."""

    def scoring_precision(self, compute: Compute) -> Precision:
        """Return the arithmetic that `score` uses."""


class Scored(Protocol):
    """A scorer with the calibration and the names of score rows."""

    @property
    def detector(self) -> Scorer:
        """What scores images."""

    @property
    def calibration(self) -> Calibration:
        """Map from scores to probabilities."""

    @property
    def name(self) -> str:
        """Name in tables."""

    @property
    def trained_on(self) -> str:
        """Generators seen in training, joined by "+"."""

    @property
    def seed(self) -> int:
        """Seed of the fit."""
