"""How much do seeds matter? Few seeds say little of one detector; all detectors of a table together say more.

With S seeds the variance between them has S - 1 degrees of freedom, so that with two an interval of a difference is
12.7 standard errors wide to each side and no test adjusted over a table finds anything. But all detectors of a table
went through the same seeds. Smyth 2004 ("Linear models and empirical Bayes methods for assessing differential
expression", sections 3 and 6.2) learns from many such variances how alike they are, and moderates each towards the
common one by as much as they are: variances s_i of f degrees of freedom, whose truth scatters as an inverse chi-square
of d degrees around s, become (d s + f s_i) / (d + f) of d + f degrees. d and s come from mean and variance of log s_i.
Here s_i is a ratio, the variance found over the one expected of the average detector's seeds and this one's own images,
since images alone differ by known amounts. As in his program limma no more degrees are claimed than all have together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from forge.core.errors import InputError

FEWEST = 3  # variances below which nothing is pooled
_TINY = 1e-5  # of the median: a variance that happens to be nothing has no logarithm


class SeedVariance(NamedTuple):
    """The variance of one number over seeds: as found, and what the chance of images alone makes of it."""

    between: float
    images: float


@dataclass(frozen=True)
class Pool:
    """What the detectors of a table say together about the variance between seeds.

    Attributes:
        own: what seeds add to the variance of images, the mean over detectors.
        scale: s, common ratio of the variance found to the one expected; near 1.
        degrees: d, how alike the detectors are; infinite: nothing speaks against one variance for all.
        most: degrees of freedom of all of them together.
    """

    own: float
    scale: float
    degrees: float
    most: float

    def moderated(self, variance: SeedVariance, freedom: int) -> tuple[float, float]:
        """The variance between seeds and its degrees of freedom, moderated.

        Args:
            variance: of one detector, or of the difference of two.
            freedom: seeds less one.
        """
        expected = self.own + variance.images
        if expected <= 0:
            return 0.0, self.most
        common = self.scale * expected
        if math.isinf(self.degrees):
            return common, self.most
        between = (self.degrees * common + freedom * variance.between) / (self.degrees + freedom)
        return between, min(self.degrees + freedom, self.most)


def pooled(variances: Sequence[SeedVariance], freedom: int, most: float) -> Pool | None:
    """Learn from many variances of one kind; None where there are fewer than three, or none of them varies.

    Args:
        variances: of detectors, or of differences of two.
        freedom: seeds less one, of each.
        most: degrees of freedom of all of them together.
    """
    from scipy.special import digamma, polygamma

    if freedom < 1:
        raise InputError("a variance between seeds needs two seeds")
    if len(variances) < FEWEST:
        return None
    between, images = (np.array(of, dtype=np.float64) for of in zip(*variances, strict=True))
    own = max(0.0, float((between - images).mean()))
    expected = own + images
    if not (between > 0).any() or not (expected > 0).all():
        return None
    ratio = between / expected
    ratio = np.maximum(ratio, _TINY * (np.median(ratio) or ratio.max()))
    e = np.log(ratio) - digamma(freedom / 2) + math.log(freedom / 2)
    scatter = float(e.var(ddof=1) - polygamma(1, freedom / 2))
    if scatter <= 0:
        return Pool(own, float(ratio.mean()), math.inf, most)
    degrees = 2 * _trigamma_inverse(scatter)
    scale = math.exp(float(e.mean() + digamma(degrees / 2)) - math.log(degrees / 2))
    return Pool(own, scale, degrees, most)


def _trigamma_inverse(value: float) -> float:
    """The y > 0 with trigamma(y) = value; trigamma falls from infinity to zero."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    return math.exp(brentq(lambda log_y: math.log(polygamma(1, math.exp(log_y)) / value), -20.0, 20.0))


def independent(values: ArrayLike) -> float:
    """As how many independent ones k detectors count whose seeds go up and down together, in [1, k].

    A seed that makes its forgeries better makes all detectors worse; then k variances between seeds say little more
    than one. With the intraclass correlation r of the detectors over seeds it is k / (1 + (k - 1) r^2).

    Args:
        values: of k detectors and S seeds, shape [k, S].
    """
    table = np.asarray(values, dtype=np.float64)
    k = len(table)
    if k < 2:
        return float(k)
    common = k * float(table.mean(axis=0).var(ddof=1))
    rest = (k * float(table.var(axis=1, ddof=1).mean()) - common) / (k - 1)
    total = common + (k - 1) * rest
    correlation = min(1.0, max(0.0, (common - rest) / total)) if total > 0 else 0.0
    return k / (1 + (k - 1) * correlation**2)
