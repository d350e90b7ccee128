"""Base class of detectors that classify a feature vector per image: fit, score, files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save_file
from torch import Tensor

from detect.classifiers.base import Classifier
from detect.classifiers.linear import LinearClassifier
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from detect.explain import has_gradient
from detect.features.matrix import FeatureMatrix, Scaling
from detect.training.calibration import validation_auc
from detect.weights import read_tensors
from forge.core.compute import Compute
from forge.core.errors import CorruptError, InputError
from forge.faces.faceset import Images

BLOCK = 256  # images whose features are computed at a time


class FeatureSettings(DetectorSettings):
    """Settings of every detector on features."""

    cache_mb: int = Field(
        1024, ge=0, description="largest memory for features in MB; more of them are computed again in each iteration"
    )


class LinearSettings(FeatureSettings):
    """Settings of detectors with a linear classifier."""

    max_iterations: int = Field(200, ge=1, description="most iterations of L-BFGS")
    tolerance: float = Field(1e-4, gt=0, description="largest absolute gradient at which it stops")


class RegressionSettings(LinearSettings):
    """Settings of detectors with logistic regression."""

    l2: float = Field(
        0.001, ge=0, description="weight of the squared norm of the coefficients beside the mean log loss"
    )


F = TypeVar("F", bound=FeatureSettings)
R = TypeVar("R", bound=RegressionSettings)


class FeatureDetector(Detector[F]):
    """A detector that classifies a feature vector per image; a subclass gives `features` and `classifier`.

    Features are scaled by the training images.
    """

    scaling: ClassVar[Scaling] = "z-score"  # of each feature by the training images: none, centre, z-score

    def __init__(self, settings: F, resolution: int) -> None:
        super().__init__(settings, resolution)
        self.mean: NDArray[np.float64] = np.empty(0)
        self.std: NDArray[np.float64] = np.empty(0)
        self.fitted: Classifier | None = None

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Return features of uint8 pixels [N, H, W, 3] on any device: float [N, D], a fresh tensor.

        An image's features depend on that image alone.
        """

    @abstractmethod
    def classifier(self) -> Classifier:
        """Make an unfitted classifier as the settings ask for."""

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Compute the features of `train` once, fit the classifier; `val` is scored once, for the record.

        Raises:
            InputError: a feature is not finite.
            BenchError: the classifier learned nothing usable.
        """
        matrix = FeatureMatrix(
            data.train_real,
            data.train_forged,
            self.features,
            device=context.compute.torch_device,
            cache_bytes=self.settings.cache_mb << 20,  # MB to bytes
            scaling=self.scaling,
        )
        classifier = self.classifier()
        outcome = classifier.fit(matrix, seed=context.seed, on_progress=context.on_progress)
        self.mean, self.std, self.fitted = matrix.mean, matrix.std, classifier
        # val is scored by the finished detector, so that nothing of it enters the scaling or the classifier
        real, forged = (
            np.concatenate([self.score(images, context.compute) for images in view.batches(BLOCK)])
            for view in (data.val_real, data.val_forged)
        )
        auc = validation_auc(real, forged)
        facts = {
            "precision": "fp32",
            "device": context.compute.describe(),
            **outcome.facts,
            "features_cached": matrix.cached,
            "best_val_auc": auc,
        }
        return FitSummary([{**outcome.curve, "val_auc": auc}], facts)

    def score(self, images: Images, compute: Compute) -> Scores:
        """Return scores of the classifier, float64 [n]."""
        classifier = self._fitted()
        # the scaling of the training images; [n, D]
        parts = [classifier.score((raw - self.mean) / self.std) for raw in self._raw(images, compute)]
        return np.concatenate([np.empty(0), *parts])

    def embeddings(self, images: Images, compute: Compute) -> NDArray[np.float32]:
        """Return the features before they are scaled, float32 [n, D]."""
        return np.concatenate(list(self._raw(images, compute))).astype(np.float32)

    def score_function(self, compute: Compute) -> Callable[[Tensor], Tensor] | None:
        """Return the score as a function of pixels, where both features and classifier have gradients."""
        classifier, device = self._fitted(), compute.torch_device
        mean, std = (torch.from_numpy(values).to(device) for values in (self.mean, self.std))

        def score(pixels: Tensor) -> Tensor:
            scores = classifier.score_tensor((self.features(pixels).double() - mean) / std)
            assert scores is not None  # tried below
            return scores

        # features may round, or come from a network that is evaluated without gradients
        rows = torch.zeros(1, len(self.mean), dtype=torch.float64, device=device)
        known = classifier.score_tensor(rows) is not None and has_gradient(score, self.resolution, compute)
        return score if known else None

    def _raw(self, images: Images, compute: Compute) -> Iterator[NDArray[np.float64]]:
        for start in range(0, len(images), BLOCK):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device)
            # features may come from a frozen network: no graph is wanted
            with torch.no_grad():
                yield self.features(pixels).cpu().double().numpy()

    def save(self, directory: Path) -> None:
        """Write weights.safetensors: mean and standard deviation of the features, and the classifier's arrays."""
        # mean and std are stored under names that no classifier uses
        tensors = {"mean": self.mean, "std": self.std} | self._fitted().tensors()
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, self._file(directory))

    @classmethod
    def load(cls, directory: Path, settings: F, resolution: int) -> Self:
        """Read what `save` wrote.

        Raises:
            CorruptError: the file is damaged, or of another family.
        """
        detector = cls(settings, resolution)
        path = cls._file(directory)
        tensors = {name: tensor.numpy() for name, tensor in read_tensors(path).items()}
        # an unfitted classifier, which takes its arrays from the file
        classifier = detector.classifier()
        try:
            detector.mean, detector.std = tensors["mean"], tensors["std"]
            classifier.restore(tensors)
        except KeyError as error:
            raise CorruptError(f"{path} was not written by {cls.family}: it has no {error}; fit it again") from error
        detector.fitted = classifier
        return detector

    @staticmethod
    def _file(directory: Path) -> Path:
        return directory / "weights.safetensors"

    @property
    def parameters(self) -> int:
        """Number of values the classifier learned; mean and standard deviation of the features are not counted."""
        return self._fitted().parameters

    def _fitted(self) -> Classifier:
        if self.fitted is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        return self.fitted


class RegressionDetector(FeatureDetector[R]):
    """Logistic regression with an L2 penalty on a feature vector per image; a subclass gives `features`."""

    def classifier(self) -> Classifier:
        """Make an unfitted logistic regression."""
        settings = self.settings
        return LinearClassifier(
            "logistic", l2=settings.l2, max_iterations=settings.max_iterations, tolerance=settings.tolerance
        )
