"""Classifiers from class frequencies: Gaussian naive Bayes, and a table of the values of one feature."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detect.classifiers.base import Classifier, ClassifierFit, Tensors
from detect.features.matrix import FeatureMatrix, Floats
from forge.core.progress import OnProgress


class NaiveBayesClassifier(Classifier):
    """Log odds of forged at equal prevalence: the sum over features of the difference of two normal log densities.

    Args:
        smoothing: added to each variance, a share of the largest variance of a feature over all images, which is 1 for
            z-scored features; keeps a feature finite that is constant within a class.
    """

    def __init__(self, *, smoothing: float) -> None:
        self.smoothing = smoothing
        self.means = self.variances = np.empty((2, 0))

    def fit(self, matrix: FeatureMatrix, *, seed: int, on_progress: OnProgress) -> ClassifierFit:
        """Learn mean and variance of each feature in each class, in one pass; nothing is random."""
        sums, squares = np.zeros((2, 2, matrix.width))  # [class, feature]
        for label, block in matrix.blocks():
            # float64: the difference of squares below cancels most digits of float32
            exact = block.double()
            sums[label] += exact.sum(0).cpu().numpy()
            squares[label] += exact.square().sum(0).cpu().numpy()
        counts = np.array(matrix.counts)[:, None]  # [2, 1]
        self.means = sums / counts
        # E[x^2] - E[x]^2; negative only by rounding
        self.variances = np.maximum(squares / counts - self.means**2, 0) + self.smoothing
        return ClassifierFit()

    def score(self, rows: Floats) -> Floats:
        """Return the log odds, before calibration far too sure of themselves where features depend on each other."""
        real, forged = (
            # -2 log density without its constant: sum of (x - m)^2 / v + log v over the features, [n]
            ((rows - mean) ** 2 / variance).sum(axis=1) + np.log(variance).sum()
            for mean, variance in zip(self.means, self.variances, strict=True)
        )
        # half of it is a log density; log odds at equal prevalence are forged minus real
        scores: Floats = 0.5 * (real - forged)
        return scores

    def score_tensor(self, rows: Tensor) -> Tensor:
        """Return the log odds with their gradients."""
        means, variances = (torch.from_numpy(values).to(rows.device) for values in (self.means, self.variances))
        real, forged = (
            ((rows - mean).square() / variance + variance.log()).sum(1)
            for mean, variance in zip(means, variances, strict=True)
        )
        odds: Tensor = 0.5 * (real - forged)
        return odds

    def tensors(self) -> Tensors:
        """`means` and `variances` [2, D], real first."""
        return {"means": self.means, "variances": self.variances}

    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned."""
        self.means, self.variances = tensors["means"], tensors["variances"]


class TableClassifier(Classifier):
    """log((share among forged + d) / (share among real + d)), d the share of one image of the smaller class.

    A value that training did not show gets 0.

    Args:
        values: the feature is in 0 .. values - 1.
    """

    def __init__(self, *, values: int) -> None:
        self.values = values
        self.ratios: Floats = np.zeros(values)

    def fit(self, matrix: FeatureMatrix, *, seed: int, on_progress: OnProgress) -> ClassifierFit:
        """Count; nothing is random."""
        # [2, values]: share of the class's images with each value
        shares = np.array(
            [
                np.bincount(matrix.gather(label)[:, 0].astype(np.int64), minlength=self.values) / matrix.counts[label]
                for label in (0, 1)
            ]
        )
        # d = 1 / (images of the smaller class): a value that only one class has gets a finite ratio, and one that
        # neither has gets log 1 = 0
        real, forged = np.log(shares + 1 / min(matrix.counts))
        self.ratios = forged - real
        return ClassifierFit()

    def score(self, rows: Floats) -> Floats:
        """Return the table's entry for each row's first feature."""
        return self.ratios[rows[:, 0].astype(np.int64)]

    def tensors(self) -> Tensors:
        """`ratios` [values]."""
        return {"ratios": self.ratios}

    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned."""
        self.ratios = tensors["ratios"]
