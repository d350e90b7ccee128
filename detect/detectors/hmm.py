"""Two hidden Markov models that read an image from top to bottom."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from detect.classifiers.base import Classifier
from detect.classifiers.hmm import HmmClassifier
from detect.detectors.feature_based import FeatureDetector, FeatureSettings
from detect.features.matrix import Scaling
from detect.features.strips import strip_bands
from forge.core.errors import InputError


class HmmSettings(FeatureSettings):
    """Settings of the hidden Markov models."""

    states: int = Field(5, ge=1, le=32, description="of each model: hair, forehead, eyes, nose, mouth in the paper")
    strip: int = Field(8, ge=2, le=64, description="height of a strip in pixels")
    overlap: int = Field(4, ge=0, description="pixels that neighbouring strips share")
    bands: tuple[int, int] = Field(
        (4, 8),
        description="vertical and horizontal frequency bands of a strip; each gives one log power",
    )
    sequences: int = Field(2000, ge=1, description="most training images per class, a random choice by the seed")
    iterations: int = Field(10, ge=1, description="most iterations of Baum-Welch")
    tolerance: float = Field(1e-3, ge=0, description="least gain in log likelihood a strip for which it goes on")

    @model_validator(mode="after")
    def _sensible(self) -> HmmSettings:
        # otherwise the step is zero or negative and strips never reach the bottom
        if self.overlap >= self.strip:
            raise ValueError(f"overlap must be smaller than strip ({self.strip})")
        if not (1 <= self.bands[0] <= self.strip and 1 <= self.bands[1] <= 64):
            raise ValueError(f"bands must be at least 1, and at most strip ({self.strip}) vertically, 64 horizontally")
        return self


class StripHmm(FeatureDetector[HmmSettings]):
    """One left-to-right Gaussian hidden Markov model a class over strips of DCT coefficients; likelihood ratio."""

    family = "hmm"
    citation = "Nefian and Hayes, Hidden Markov Models for Face Recognition, ICASSP 1998"
    variant = (
        "the paper recognises people by low frequencies; here an observation is the log power in 4 x 8 bands of all "
        "frequencies of a strip but its mean, over three channels, since generators betray themselves at high ones; "
        "strips of 8 px overlap by half; one model a class; the start is equal parts, without segmental k-means"
    )
    scaling: ClassVar[Scaling] = "none"  # a strip must look the same wherever it lies

    def __init__(self, settings: HmmSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        # height minus strip, over the step, plus the first one
        strips = (resolution - settings.strip) // (settings.strip - settings.overlap) + 1
        if strips < settings.states:
            raise InputError(
                f"hmm: a {resolution} px image has {max(strips, 0)} strips of {settings.strip} px that overlap by "
                f"{settings.overlap}, fewer than the {settings.states} states; lower strip or states, or raise overlap"
            )

    def features(self, pixels: Tensor) -> Tensor:
        """Return the observations of an image one after the other, [N, strips times bands]."""
        settings = self.settings
        # [N, strips, bands] to [N, strips x bands]
        return strip_bands(
            pixels, height=settings.strip, step=settings.strip - settings.overlap, bands=settings.bands
        ).flatten(1)

    def classifier(self) -> Classifier:
        """Return the two models."""
        settings = self.settings
        return HmmClassifier(
            dimensions=settings.bands[0] * settings.bands[1],
            states=settings.states,
            sequences=settings.sequences,
            iterations=settings.iterations,
            tolerance=settings.tolerance,
        )
