"""Linear classifiers by L-BFGS: logistic regression and the support vector machine with squared hinge, both with L2."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import softplus

from detect.classifiers.base import Classifier, ClassifierFit, Tensors
from detect.features.matrix import FeatureMatrix, Floats
from forge.core.errors import BenchError
from forge.core.progress import OnProgress, ProgressEvent

Loss = Literal["logistic", "squared-hinge"]


class LinearClassifier(Classifier):
    """Minimises: mean of the classes' mean losses, plus l2 |w|^2; the intercept is not penalised.

    The loss of an image with label y in {-1, 1} and score f is log(1 + exp(-y f)) ("logistic"; f is then the log odds)
    or max(0, 1 - y f)^2 ("squared-hinge", the L2-loss support vector machine).

    Args:
        loss: which of both.
        l2: weight of the penalty; None: from `c`.
        c: weight of the losses' sum beside |w|^2 / 2, as in scikit-learn: l2 = 1 / (2 c images).
        max_iterations: most iterations.
        tolerance: largest absolute gradient at which it stops.
    """

    def __init__(
        self, loss: Loss, *, l2: float | None = None, c: float = 1.0, max_iterations: int, tolerance: float
    ) -> None:
        self.loss, self.l2, self.c = loss, l2, c
        self.max_iterations, self.tolerance = max_iterations, tolerance
        self.coefficients: Floats = np.empty(0)
        self.intercept = 0.0

    def fit(self, matrix: FeatureMatrix, *, seed: int, on_progress: OnProgress) -> ClassifierFit:
        """Fit from zero; nothing is random.

        Raises:
            BenchError: the loss is no longer finite.
        """
        # C sum(losses) + |w|^2 / 2, divided by C n: the mean loss and |w|^2 / (2 C n)
        l2 = 1 / (2 * self.c * sum(matrix.counts)) if self.l2 is None else self.l2
        solution = minimize(
            lambda at: objective(matrix, self.loss, at, l2),
            np.zeros(matrix.width + 1),
            jac=True,
            method="L-BFGS-B",
            callback=_ProgressCallback(on_progress, self.max_iterations),
            # ftol 0: only the gradient ends it, so that the result does not depend on how flat the loss is
            options={"maxiter": self.max_iterations, "gtol": self.tolerance, "ftol": 0.0},
        )
        if not np.isfinite(solution.fun):
            raise BenchError(
                f"the {self.loss} loss is {solution.fun} after {solution.nit} iterations; raise l2 (now {l2:g})"
            )
        self.coefficients, self.intercept = solution.x[:-1], float(solution.x[-1])
        iterations = int(solution.nit)
        # L-BFGS also ends at max_iterations or where its line search finds no lower point: told in the facts
        converged = bool(np.abs(solution.jac).max() <= self.tolerance)
        return ClassifierFit(
            {"iterations": iterations, "converged": converged},
            {"iterations": iterations, "train_loss": float(solution.fun)},
        )

    def score(self, rows: Floats) -> Floats:
        """Return the log odds (logistic) or signed distances in units of the margin (squared hinge)."""
        # row by row and not as a matrix product, whose rounding would depend on the number of rows
        scores: Floats = (rows * self.coefficients).sum(axis=1) + self.intercept
        return scores

    def score_tensor(self, rows: Tensor) -> Tensor:
        """Return the scores with their gradients."""
        return rows @ torch.from_numpy(self.coefficients).to(rows.device) + self.intercept

    def tensors(self) -> Tensors:
        """`coefficients` [D] and `intercept` [1]."""
        return {"coefficients": self.coefficients, "intercept": np.array([self.intercept])}

    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned."""
        self.coefficients, self.intercept = tensors["coefficients"], float(tensors["intercept"][0])


def objective(matrix: FeatureMatrix, loss: Loss, at: Floats, l2: float) -> tuple[float, Floats]:
    """Value and gradient of the objective.

    Args:
        matrix: features of both classes.
        loss: "logistic" or "squared-hinge".
        at: coefficients and, last, the intercept; float64 [D + 1].
        l2: weight of the penalty.
    """
    # products in the blocks' own type, sums over images in float64
    w = torch.from_numpy(at[:-1]).to(matrix.device, matrix.dtype)
    value = torch.zeros((), dtype=torch.float64, device=matrix.device)
    gradient = torch.zeros(matrix.width + 1, dtype=torch.float64, device=matrix.device)
    for label, rows in matrix.blocks():
        # y = 2 label - 1, so that -y f is sign times f; each class has the total weight 1/2
        sign, weight = 1 - 2 * label, 0.5 / matrix.counts[label]
        against = sign * ((rows @ w).double() + at[-1])  # how far a score is on the wrong side
        losses, slopes = _losses(loss, against)
        value += weight * losses.sum()
        # d loss / d f = -y slope, and -y is sign
        slope = sign * weight * slopes
        gradient[:-1] += rows.T @ slope.to(rows.dtype)
        gradient[-1] += slope.sum()
    whole = gradient.cpu().numpy()
    # derivative of l2 |w|^2; the intercept is left out
    whole[:-1] += 2 * l2 * at[:-1]
    return float(value) + l2 * float(at[:-1] @ at[:-1]), whole


def _losses(loss: Loss, against: Tensor) -> tuple[Tensor, Tensor]:
    if loss == "logistic":
        # log(1 + exp(u)) and its derivative sigmoid(u), u = -y f
        return softplus(against), torch.sigmoid(against)
    # max(0, 1 + u)^2 and its derivative: differentiable, unlike the hinge, hence fit for L-BFGS
    excess = (1 + against).clamp_min(0)
    return excess.square(), 2 * excess


class _ProgressCallback:
    """Tells the caller about each iteration of L-BFGS."""

    def __init__(self, on_progress: OnProgress, total: int) -> None:
        self.on_progress, self.total, self.done = on_progress, total, 0

    def __call__(self, intermediate_result: object) -> None:
        self.done += 1
        loss = float(getattr(intermediate_result, "fun", float("nan")))
        self.on_progress(ProgressEvent(self.done, self.total, "iterations", {"loss": loss}))
