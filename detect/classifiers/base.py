"""The Classifier interface: fitted on scaled features, scores rows of them, turns into arrays and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from detect.features.matrix import FeatureMatrix, Floats
from forge.core.progress import OnProgress

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ClassifierFit:
    """Outcome of fitting a classifier: facts for the record, and values of its one point on the training curve."""

    facts: dict[str, Any] = field(default_factory=dict)
    curve: dict[str, float] = field(default_factory=dict)


class Classifier(ABC):
    """A classifier of feature vectors: a higher score means more likely forged; both classes have the same weight."""

    @abstractmethod
    def fit(self, matrix: FeatureMatrix, *, seed: int, on_progress: OnProgress) -> ClassifierFit:
        """Learn from the scaled features of both classes.

        Raises:
            BenchError: nothing usable was learned.
        """

    @abstractmethod
    def score(self, rows: Floats) -> Floats:
        """Return scores of scaled features float64 [n, D], float64 [n]; each row's depends on that row alone."""

    def score_tensor(self, rows: Tensor) -> Tensor | None:
        """Return the scores of `score` with their gradients, float64 [n]; None: this classifier has none.

        Args:
            rows: scaled features, float64 [n, D].
        """
        return None

    @abstractmethod
    def tensors(self) -> Tensors:
        """Return learned arrays by name."""

    @abstractmethod
    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned; other names are ignored."""

    @property
    def parameters(self) -> int:
        """Number of learned values."""
        # intercepts and scales count too: whatever is stored is a learned value
        return sum(int(np.size(array)) for array in self.tensors().values())
