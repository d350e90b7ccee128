"""Textbook classifiers on the azimuthal spectrum or the log-DCT: the same features, so that they can be compared."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field
from torch import Tensor

from detect.classifiers.base import Classifier
from detect.classifiers.bayes import NaiveBayesClassifier
from detect.classifiers.kernel import KernelClassifier
from detect.classifiers.linear import LinearClassifier
from detect.detectors.feature_based import (
    FeatureDetector,
    FeatureSettings,
    LinearSettings,
    RegressionDetector,
    RegressionSettings,
)
from detect.features.dct import log_dct, log_dct_bands
from detect.features.spectrum import azimuthal


class ClassicalSettings(FeatureSettings):
    """Settings of every textbook classifier."""

    features: Literal["spectrum", "dct"] = Field(
        "spectrum", description="azimuthal spectrum (Durall 2019), or log-DCT of the whole image (Frank 2020)"
    )
    bins: int = Field(80, ge=8, le=1024, description="spectrum: values per image")


class LogisticSettings(ClassicalSettings, RegressionSettings):
    """Settings of logistic regression."""


class SvmSettings(ClassicalSettings, LinearSettings):
    """Settings of the support vector machine."""

    kernel: Literal["linear", "rbf"] = Field("rbf", description="linear with squared hinge, or Gaussian with hinge")
    c: float = Field(1.0, gt=0, description="weight of the summed loss beside half the squared norm")
    gamma: float | None = Field(
        None, gt=0, description="rbf: kernel exp(-gamma |x - y|^2); null: 1 / (features times their variance)"
    )
    bands: int = Field(8, ge=2, le=32, description="rbf on dct: the log-DCT is averaged to bands x bands a channel")


class NaiveBayesSettings(ClassicalSettings):
    """Settings of Gaussian naive Bayes."""

    # neighbouring values of a spectrum rise and fall together, DCT coefficients of a photo hardly do, and naive Bayes
    # takes features for independent
    features: Literal["spectrum", "dct"] = Field(
        "dct", description="log-DCT of the whole image (Frank 2020), or azimuthal spectrum (Durall 2019)"
    )
    smoothing: float = Field(1e-9, gt=0, description="added to each variance, in variances over all training images")


C = TypeVar("C", bound=ClassicalSettings)


class Classical(FeatureDetector[C]):
    """A textbook classifier on z-scored features; a subclass names it."""

    variant = "both classes weigh the same; features z-scored by the training images"

    def features(self, pixels: Tensor) -> Tensor:
        """Return the azimuthal spectrum [N, bins], or log-DCT [N, 3 H W]."""
        # [N, 80] or, at 64 px, [N, 12288]
        return azimuthal(pixels, bins=self.settings.bins) if self.settings.features == "spectrum" else log_dct(pixels)


class Logistic(Classical[LogisticSettings], RegressionDetector[LogisticSettings]):
    """Logistic regression with an L2 penalty on the spectrum or the log-DCT of an image."""

    family = "logistic"
    citation = "Cox, The Regression Analysis of Binary Sequences, Journal of the Royal Statistical Society B, 1958"


class Svm(Classical[SvmSettings]):
    """Support vector machine, linear or with Gaussian kernel, on the spectrum or the log-DCT of an image."""

    family = "svm"
    citation = "Cortes and Vapnik, Support-Vector Networks, Machine Learning 20, 1995"
    variant = (
        "both classes weigh the same; features z-scored by the training images; the Gaussian kernel sees the log-DCT "
        "as means of 8 x 8 bands a channel, since distances between all coefficients are mostly noise; linear with "
        "squared hinge"
    )

    def features(self, pixels: Tensor) -> Tensor:
        """As for every textbook classifier, but band means [N, 3 bands^2] for the Gaussian kernel on log-DCT."""
        settings = self.settings
        if settings.features == "dct" and settings.kernel == "rbf":
            # distances over all coefficients are mostly noise, which means over bands average out; [N, 3 bands^2]
            return log_dct_bands(pixels, bands=settings.bands)
        return super().features(pixels)

    def classifier(self) -> Classifier:
        """Return the machine that `kernel` names."""
        settings = self.settings
        if settings.kernel == "rbf":
            return KernelClassifier(c=settings.c, gamma=settings.gamma)
        return LinearClassifier(
            "squared-hinge", c=settings.c, max_iterations=settings.max_iterations, tolerance=settings.tolerance
        )


class NaiveBayes(Classical[NaiveBayesSettings]):
    """Gaussian naive Bayes on the spectrum or the log-DCT of an image."""

    family = "naive-bayes"
    citation = "Duda and Hart, Pattern Classification and Scene Analysis, Wiley, 1973"

    def classifier(self) -> Classifier:
        """Gaussian naive Bayes."""
        return NaiveBayesClassifier(smoothing=self.settings.smoothing)
