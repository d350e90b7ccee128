"""Variance between seeds, pooled over the detectors of a table (moderated variances, Smyth 2004).

With S seeds the variance between them has S - 1 degrees of freedom, so that with two an interval of a difference is
12.7 standard errors wide to each side and no test adjusted over a table is significant. But all detectors of a table
were run with the same seeds. Smyth 2004 ("Linear models and empirical Bayes methods for assessing differential
expression", sections 3 and 6.2) estimates from many such variances how similar they are, and moderates each towards the
common one accordingly: variances s_i of f degrees of freedom, whose true values scatter as an inverse chi-square
of d degrees around s, become (d s + f s_i) / (d + f) of d + f degrees. d and s come from mean and variance of log s_i.
Here s_i is a ratio: the observed variance over the expected one, which is the mean contribution of seeds plus the known
contribution of this detector's images. As in limma, the degrees never exceed those of all detectors together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from forge.core.errors import InputError

FEWEST = 3  # variances below which nothing is pooled
_TINY = 1e-5  # of the median: lower bound of a variance, since zero has no logarithm


class SeedVariance(NamedTuple):
    """The observed variance of one number over seeds, and the part that sampling of images alone explains."""

    between: float
    images: float


@dataclass(frozen=True)
class Pool:
    """Prior of the variance between seeds, estimated from all detectors of a table.

    Attributes:
        of_seeds: variance that seeds add to that of images, the mean over detectors.
        scale: s, common ratio of the observed variance to the expected one; near 1.
        degrees: d, prior degrees of freedom; large where the detectors' variances are alike, infinite where they are
            compatible with one common variance.
        max_degrees: degrees of freedom of all detectors together, an upper bound of a moderated variance's.
    """

    of_seeds: float
    scale: float
    degrees: float
    max_degrees: float

    def moderated(self, variance: SeedVariance, freedom: int) -> tuple[float, float]:
        """Return the moderated variance between seeds and its degrees of freedom.

        Args:
            variance: of one detector, or of the difference of two.
            freedom: seeds less one.
        """
        # what this number's variance should be: the seeds' part is common to all, the images' part is known for each
        expected = self.of_seeds + variance.images
        if expected <= 0:
            return 0.0, self.max_degrees
        common = self.scale * expected
        if math.isinf(self.degrees):
            return common, self.max_degrees
        # posterior mean of 1 / variance, inverted: weights are degrees of freedom (Smyth 2004, section 3)
        between = (self.degrees * common + freedom * variance.between) / (self.degrees + freedom)
        return between, min(self.degrees + freedom, self.max_degrees)


def pooled(variances: Sequence[SeedVariance], freedom: int, max_degrees: float) -> Pool | None:
    """Estimate the prior of many variances; None where there are fewer than three, or all are zero.

    Args:
        variances: of detectors, or of differences of two.
        freedom: seeds less one, of each.
        max_degrees: degrees of freedom of all of them together.
    """
    if freedom < 1:
        raise InputError("a variance between seeds needs two seeds")
    if len(variances) < FEWEST:
        return None
    between, images = (np.array(of, dtype=np.float64) for of in zip(*variances, strict=True))
    # mean excess of the observed variance over that of images: the contribution of seeds to an average detector
    of_seeds = max(0.0, float((between - images).mean()))
    expected = of_seeds + images
    # without any variation over seeds, or any expected one, there is no ratio to pool
    if not (between > 0).any() or not (expected > 0).all():
        return None
    ratio = between / expected
    ratio = np.maximum(ratio, _TINY * (np.median(ratio) or ratio.max()))
    # the logarithm of a chi-square over its f degrees has mean digamma(f / 2) - log(f / 2): subtracted, e is unbiased
    # for log of the true ratio
    e = np.log(ratio) - digamma(freedom / 2) + math.log(freedom / 2)
    # Smyth 2004, section 6.2: e has variance trigamma(f / 2) + trigamma(d / 2); what exceeds the first gives d
    scatter = float(e.var(ddof=1) - polygamma(1, freedom / 2))
    if scatter <= 0:  # no more scatter than chi-squares of f degrees have: one common variance, d is infinite
        return Pool(of_seeds, float(ratio.mean()), math.inf, max_degrees)
    degrees = 2 * _trigamma_inverse(scatter)
    # s of Smyth's equation: mean of e, corrected by the same terms of the prior's d degrees
    scale = math.exp(float(e.mean() + digamma(degrees / 2)) - math.log(degrees / 2))
    return Pool(of_seeds, scale, degrees, max_degrees)


def _trigamma_inverse(value: float) -> float:
    """Solve trigamma(y) = value for y > 0; trigamma falls from infinity to zero, so that the root is unique."""
    # in logarithms: trigamma spans many orders of magnitude, and brentq needs a bracket that holds them all
    return math.exp(brentq(lambda log_y: math.log(polygamma(1, math.exp(log_y)) / value), -20.0, 20.0))


def independent(values: ArrayLike) -> float:
    """Return the effective number of independent detectors among k whose values are correlated over seeds, in [1, k].

    A seed with better forgeries lowers the AUC of all detectors; then k variances between seeds hold little more
    information than one. With the intraclass correlation r of the detectors over seeds it is k / (1 + (k - 1) r^2).

    Args:
        values: of k detectors and S seeds, shape [k, S].
    """
    table = np.asarray(values, dtype=np.float64)
    k = len(table)
    if k < 2:
        return float(k)
    # two-way analysis of variance (detectors x seeds): the mean squares of seeds and of residuals give r
    # [S] means over detectors; k times their variance is the mean square of seeds
    common = k * float(table.mean(axis=0).var(ddof=1))
    # what is left of the variance within detectors: the mean square of residuals
    rest = (k * float(table.var(axis=1, ddof=1).mean()) - common) / (k - 1)
    total = common + (k - 1) * rest
    # negative estimates of the correlation are cut: no table holds more than k independent detectors
    correlation = min(1.0, max(0.0, (common - rest) / total)) if total > 0 else 0.0
    return k / (1 + (k - 1) * correlation**2)
