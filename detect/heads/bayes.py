"""Gaussian naive Bayes: each feature normal and independent within a class."""

from __future__ import annotations

import numpy as np

from detect.design import Design, Floats
from detect.heads.base import Head, HeadFit, Tensors
from forge.progress import Report


class BayesHead(Head):
    """Log odds of forged at equal prevalence: the sum over features of the difference of two normal log densities.

    Args:
        smoothing: added to each variance, a share of the largest variance of a feature over all images, which is 1 for
            z-scored features; keeps a feature finite that is constant within a class.
    """

    def __init__(self, *, smoothing: float) -> None:
        self.smoothing = smoothing
        self.means = self.variances = np.empty((2, 0))

    def fit(self, design: Design, *, seed: int, report: Report) -> HeadFit:
        """Mean and variance of each feature in each class, in one pass; nothing is random."""
        sums, squares = np.zeros((2, 2, design.width))
        for label, block in design.blocks():
            exact = block.double()
            sums[label] += exact.sum(0).cpu().numpy()
            squares[label] += exact.square().sum(0).cpu().numpy()
        counts = np.array(design.counts)[:, None]
        self.means = sums / counts
        self.variances = np.maximum(squares / counts - self.means**2, 0) + self.smoothing
        return HeadFit()

    def score(self, rows: Floats) -> Floats:
        """Log odds, before calibration far too sure of themselves where features depend on each other."""
        real, forged = (
            ((rows - mean) ** 2 / variance).sum(axis=1) + np.log(variance).sum()
            for mean, variance in zip(self.means, self.variances, strict=True)
        )
        scores: Floats = 0.5 * (real - forged)
        return scores

    def tensors(self) -> Tensors:
        """`means` and `variances` [2, D], real first."""
        return {"means": self.means, "variances": self.variances}

    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned."""
        self.means, self.variances = tensors["means"], tensors["variances"]
