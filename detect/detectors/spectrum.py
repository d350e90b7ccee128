"""Support vector machine or logistic regression on the azimuthal spectrum."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from detect.classifiers.base import Classifier
from detect.classifiers.kernel import KernelClassifier
from detect.classifiers.linear import LinearClassifier
from detect.detectors.feature_based import FeatureDetector, LinearSettings
from detect.features.matrix import Scaling
from detect.features.spectrum import azimuthal


class SpectrumSettings(LinearSettings):
    """Settings of the azimuthal spectrum detector; the published ones by default."""

    classifier: Literal["svm-linear", "svm-rbf", "logistic"] = Field(
        "svm-rbf", description="support vector machine with linear or Gaussian kernel, or logistic regression"
    )
    bins: int = Field(80, ge=8, le=1024, description="values the spectrum of an image is resampled to")
    c: float = Field(6.37, gt=0, description="svm-rbf: weight of the summed loss beside half the squared norm")
    gamma: float = Field(0.86, gt=0, description="svm-rbf: kernel exp(-gamma |x - y|^2)")
    linear_c: float = Field(1.0, gt=0, description="svm-linear and logistic: as c")
    max_iterations: int = Field(1000, ge=1, description="svm-linear and logistic: most iterations of L-BFGS")
    tolerance: float = Field(1e-6, gt=0, description="svm-linear and logistic: largest gradient at which they stop")


class AzimuthalSpectrum(FeatureDetector[SpectrumSettings]):
    """Mean of the log spectrum over each radius, 80 values per image, into a support vector machine."""

    family = "spectrum"
    citation = (
        "Durall et al., Unmasking DeepFakes with simple Features, arXiv:1911.00686, 2019; Durall et al., Watch your "
        "Up-Convolution, CVPR 2020"
    )
    variant = (
        "at the set's own resolution (the paper's CelebA: 128 px), circles centred on frequency zero, mean brightness "
        "left out; both classes weigh the same; svm-linear with squared hinge"
    )
    # the published gamma belongs to unscaled features; without their mean the same machine is found in fewer steps
    scaling: ClassVar[Scaling] = "centre"

    def features(self, pixels: Tensor) -> Tensor:
        """Return the azimuthal spectrum, [N, bins]."""
        return azimuthal(pixels, bins=self.settings.bins)

    def classifier(self) -> Classifier:
        """Make the classifier that the setting `classifier` names."""
        settings = self.settings
        if settings.classifier == "svm-rbf":
            return KernelClassifier(c=settings.c, gamma=settings.gamma)
        return LinearClassifier(
            "logistic" if settings.classifier == "logistic" else "squared-hinge",
            c=settings.linear_c,
            max_iterations=settings.max_iterations,
            tolerance=settings.tolerance,
        )
