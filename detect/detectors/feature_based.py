"""What all detectors share that are a feature of the image and a head on it: fit, score, files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save_file
from torch import Tensor

from detect.classifiers.base import Head
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from detect.features.matrix import Design, Scaling
from detect.training.calibration import validation_auc
from detect.weights import read_tensors
from forge.compute import Compute
from forge.errors import CorruptError, InputError
from forge.faces.faceset import Images

BLOCK = 256  # images whose features are computed at a time


class FeatureSettings(DetectorSettings):
    """Settings of every detector on features."""

    cache_mb: int = Field(
        1024, ge=0, description="largest memory for features in MB; more of them are computed again in each iteration"
    )


class LinearSettings(FeatureSettings):
    """Settings of detectors with a linear head."""

    max_iterations: int = Field(200, ge=1, description="most iterations of L-BFGS")
    tolerance: float = Field(1e-4, gt=0, description="largest absolute gradient at which it stops")


F = TypeVar("F", bound=FeatureSettings)


class FeatureDetector(Detector[F]):
    """A feature of each image, scaled by the training images, and a head; a subclass gives `features` and `head`."""

    scaling: ClassVar[Scaling] = "z-score"  # of each feature by the training images: none, centre, z-score

    def __init__(self, settings: F, resolution: int) -> None:
        super().__init__(settings, resolution)
        self.mean: NDArray[np.float64] = np.empty(0)
        self.std: NDArray[np.float64] = np.empty(0)
        self.fitted: Head | None = None

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Features of uint8 pixels [N, H, W, 3] on any device: float [N, D], a fresh tensor.

        An image's features depend on that image alone.
        """

    @abstractmethod
    def head(self) -> Head:
        """A new head that has learned nothing, as the settings ask for."""

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Compute the features of `train` once, fit the head; `val` is scored once, for the record.

        Raises:
            InputError: a feature is not finite.
            BenchError: the head learned nothing usable.
        """
        design = Design(
            data.train_real,
            data.train_forged,
            self.features,
            device=context.compute.torch_device,
            cache_bytes=self.settings.cache_mb << 20,
            scaling=self.scaling,
        )
        head = self.head()
        found = head.fit(design, seed=context.seed, report=context.report)
        self.mean, self.std, self.fitted = design.mean, design.std, head
        real, forged = (
            np.concatenate([self.score(images, context.compute) for images in view.batches(BLOCK)])
            for view in (data.val_real, data.val_forged)
        )
        auc = validation_auc(real, forged)
        facts = {
            "precision": "fp32",
            "device": context.compute.describe(),
            **found.facts,
            "features_cached": design.cached,
            "best_val_auc": auc,
        }
        return FitSummary([{**found.curve, "val_auc": auc}], facts)

    def score(self, images: Images, compute: Compute) -> Scores:
        """Scores of the head, float64 [n]."""
        head = self._fitted()
        parts = [head.score((raw - self.mean) / self.std) for raw in self._raw(images, compute)]
        return np.concatenate([np.empty(0), *parts])

    def _raw(self, images: Images, compute: Compute) -> Iterator[NDArray[np.float64]]:
        for start in range(0, len(images), BLOCK):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device)
            with torch.no_grad():
                yield self.features(pixels).cpu().double().numpy()

    def save(self, directory: Path) -> None:
        """Write weights.safetensors: mean and standard deviation of the features, and the head's arrays."""
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
        head = detector.head()
        try:
            detector.mean, detector.std = tensors["mean"], tensors["std"]
            head.restore(tensors)
        except KeyError as error:
            raise CorruptError(f"{path} was not written by {cls.family}: it has no {error}; fit it again") from error
        detector.fitted = head
        return detector

    @staticmethod
    def _file(directory: Path) -> Path:
        return directory / "weights.safetensors"

    @property
    def parameters(self) -> int:
        """Number of values the head learned; mean and standard deviation of the features are not counted."""
        return self._fitted().parameters

    def _fitted(self) -> Head:
        if self.fitted is None:
            raise InputError(f"{self.family} has not been fitted or loaded")
        return self.fitted
