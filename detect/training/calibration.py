"""Probabilities from scores: Platt scaling with a slope of 0 or more, which keeps the ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Probability of being forged: sigmoid(a * score + b), with a >= 0."""

    a: float
    b: float

    def probability(self, scores: Floats) -> Floats:
        """Map scores float64 [n] to probabilities in 0..1, float64 [n]."""
        return np.asarray(expit(self.a * scores + self.b), dtype=np.float64)

    def on_grid(self, scores: Floats, step: float) -> Floats:
        """Round scores to multiples of a power of two.

        Multiples have few binary digits, so that files of them are small. The grid depends on the calibration alone: a
        score is rounded alike whatever is scored beside it. A constant detector's scores stay as they are.

        Args:
            scores: float64 [n].
            step: largest distance of neighbours on the grid in log odds, above 0.

        Returns:
            float64 [n]; the nearest multiples, so that log odds change by at most step / 2.
        """
        if self.a <= 0:
            return scores
        unit = 2.0 ** np.floor(np.log2(step / self.a))
        return np.asarray(np.rint(scores / unit) * unit, dtype=np.float64)

    def at_prior(self, prior: float) -> Calibration:
        """Return the calibration where another share of the images is forged than the half that it was fitted for.

        Bayes' rule for a known prior (Saerens, Latinne and Decaestecker, Neural Computation 2002, equation 2.4):
        p' = p prior / (p prior + (1 - p)(1 - prior)), which adds the prior's log odds to those of p.

        Args:
            prior: share of forged images, in (0, 1).
        """
        return Calibration(self.a, self.b + float(logit(prior)))


def validation_auc(real: Floats, forged: Floats) -> float:
    """Return area under the ROC curve: the share of pairs in which the forged image scores higher, ties counting half.

    Args:
        real: scores of real images, float64 [n].
        forged: scores of forged images, float64 [m].
    """
    from sklearn.metrics import roc_auc_score  # takes a second to import, which listing detectors does not need

    return float(roc_auc_score(np.repeat([0, 1], [len(real), len(forged)]), np.concatenate([real, forged])))


def fit_platt(real: Floats, forged: Floats, *, iterations: int = 100, tolerance: float = 1e-10) -> Calibration:
    """Fit Platt scaling (Platt 1999; Newton steps with halving after Lin, Lin and Weng 2007).

    Targets are smoothed, 1/(n_real + 2) and (n_forged + 1)/(n_forged + 2), so that separable classes keep a finite
    slope. Both classes weigh the same whatever their sizes: probabilities are those at a prevalence of one half.
    The slope is bounded by 0: scores that rank the wrong way, or are constant, give probability 1/2 to every image.

    Args:
        real: scores of real images, float64 [n], finite.
        forged: scores of forged images, float64 [m], finite.
        iterations: most Newton steps.
        tolerance: largest absolute gradient at the end.

    Returns:
        The calibration.
    """
    scores = np.concatenate([real, forged])
    centre, scale = float(scores.mean()), float(scores.std())
    # a spread within rounding error of the scores' own size is no spread; the slope must be a number
    if scale <= 1e-12 * abs(centre) or scale < np.finfo(np.float64).tiny * 1e6:
        return Calibration(0.0, 0.0)
    # standardised scores give both parameters about the same curvature, so that Newton converges from 0 for any scale
    z = (scores - centre) / scale
    # Platt's smoothed targets: the posterior mean under a uniform prior, which bounds the slope of separable classes
    target = np.repeat([1 / (len(real) + 2), (len(forged) + 1) / (len(forged) + 2)], [len(real), len(forged)])
    # each class has the total weight 1/2, so that probabilities do not depend on the ratio of the classes
    weight = np.repeat([0.5 / len(real), 0.5 / len(forged)], [len(real), len(forged)])
    a, b = _newton(z, target, weight, iterations, tolerance)
    if a <= 0:  # the loss is convex, so its best slope under a >= 0 is then 0
        return Calibration(0.0, 0.0)
    # a z + b in terms of the raw score
    return Calibration(a / scale, b - a * centre / scale)


def _newton(z: Floats, target: Floats, weight: Floats, iterations: int, tolerance: float) -> tuple[float, float]:
    """Minimise the weighted cross-entropy of sigmoid(a z + b) by Newton steps with backtracking; return (a, b)."""
    design = np.stack([z, np.ones_like(z)])  # [2, n]
    parameters = np.zeros(2)

    def loss(at: Floats) -> float:
        logit = at @ design
        # -t log p - (1 - t) log(1 - p) with p = sigmoid(logit), in a form that cannot overflow
        return float(weight @ (np.logaddexp(0, logit) - target * logit))

    value = loss(parameters)
    for _ in range(iterations):
        probability = expit(parameters @ design)
        gradient = design @ (weight * (probability - target))
        if np.abs(gradient).max() < tolerance:
            break
        # the Hessian: sum of w p (1 - p) [z, 1]^T [z, 1]
        curvature = (design * (weight * probability * (1 - probability))) @ design.T
        # the ridge keeps the step finite where all probabilities are near 0 or 1
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        # Armijo: halve until the loss falls by 1e-4 of what the gradient promises; far from the optimum a full Newton
        # step can overshoot
        size = 1.0
        # halve the step until the loss falls by 1e-4 of what its slope promises (Armijo)
        while size > 1e-10 and loss(parameters - size * step) > value - 1e-4 * size * float(gradient @ step):
            size /= 2
        parameters = parameters - size * step
        value = loss(parameters)
    return float(parameters[0]), float(parameters[1])
