"""The support vector machine with a Gaussian kernel: fitted by libsvm, stored and scored as plain arrays."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from detect.classifiers.base import Classifier, ClassifierFit, Tensors
from detect.features.matrix import FeatureMatrix, Floats
from forge.core.errors import BenchError
from forge.core.progress import OnProgress, ProgressEvent

CACHE_MB = 512  # libsvm's memory for rows of the kernel matrix
MAX_ITERATIONS = 2_000_000  # a few times what 8,000 images with shuffled labels take


class KernelClassifier(Classifier):
    """Cortes and Vapnik 1995: hinge loss, kernel exp(-gamma |x - s|^2), classes weighted equally.

    Args:
        c: weight of the losses' sum beside half the squared norm.
        gamma: of the kernel; None: 1 / (D times the mean variance of the features), scikit-learn's "scale".
    """

    def __init__(self, *, c: float, gamma: float | None) -> None:
        self.c, self.asked_gamma = c, gamma
        self.support: Floats = np.empty((0, 0))
        self.weights: Floats = np.empty(0)
        self.intercept = self.gamma = 0.0

    def fit(self, matrix: FeatureMatrix, *, seed: int, on_progress: OnProgress) -> ClassifierFit:
        """Fit with scikit-learn's SVC; nothing is random.

        Raises:
            BenchError: the solution is not finite.
        """
        from sklearn.exceptions import ConvergenceWarning  # takes a second to import
        from sklearn.svm import SVC

        on_progress(ProgressEvent(0, 1, "fits"))
        # [n, D] in float64, real first; libsvm computes its kernel rows from it
        rows = np.concatenate([matrix.gather(label) for label in (0, 1)])
        variance = float(rows.var())
        # scikit-learn's "scale"; features that are all equal have no variance and any gamma will do
        self.gamma = self.asked_gamma or 1 / (matrix.width * (variance or 1.0))
        # "balanced": C times n / (2 n_k) for class k, so that both classes weigh the same
        machine = SVC(C=self.c, gamma=self.gamma, class_weight="balanced", cache_size=CACHE_MB, max_iter=MAX_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told in the facts
            machine.fit(rows, np.repeat([0, 1], matrix.counts))
        # alpha_i y_i of the support vectors, forged positive: positive scores are forged
        self.support, self.weights = rows[machine.support_], np.ascontiguousarray(machine.dual_coef_[0])
        self.intercept = float(machine.intercept_[0])
        if not (np.isfinite(self.weights).all() and np.isfinite(self.intercept)):
            raise BenchError(f"the support vector machine is not finite; lower C (now {self.c:g})")
        on_progress(ProgressEvent(1, 1, "fits"))
        return ClassifierFit({"support_vectors": len(self.weights), "converged": machine.fit_status_ == 0})

    def score(self, rows: Floats) -> Floats:
        """Return the signed distances in units of the margin."""
        squares = (self.support**2).sum(axis=1)
        # |x|^2 + |s|^2 - 2 x s, [n, S]: one matrix product in place of all differences [n, S, D]
        distance = (rows**2).sum(axis=1)[:, None] + squares - 2 * rows @ self.support.T
        # rounding may make the distance of equal vectors slightly negative, and the kernel larger than 1
        kernel = np.exp(-self.gamma * np.maximum(distance, 0))
        scores: Floats = (kernel * self.weights).sum(axis=1) + self.intercept
        return scores

    def score_tensor(self, rows: Tensor) -> Tensor:
        """Return the scores with their gradients."""
        support, weights = (torch.from_numpy(values).to(rows.device) for values in (self.support, self.weights))
        distance = rows.square().sum(1)[:, None] + support.square().sum(1) - 2 * rows @ support.T
        return torch.exp(-self.gamma * distance.clamp(min=0)) @ weights + self.intercept

    def tensors(self) -> Tensors:
        """`support` [S, D], their `weights` [S], `intercept` [1] and `gamma` [1]."""
        return {
            "support": self.support,
            "weights": self.weights,
            "intercept": np.array([self.intercept]),
            "gamma": np.array([self.gamma]),
        }

    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned."""
        self.support, self.weights = tensors["support"], tensors["weights"]
        self.intercept, self.gamma = float(tensors["intercept"][0]), float(tensors["gamma"][0])
