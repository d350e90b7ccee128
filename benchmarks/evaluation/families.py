"""Intervals for a new family of generators: random effects of families.

The interval over images and seeds holds the families fixed. Its reader is interested in the next generator, of a family
outside the sample. With the mean m_f of each of F families, the model is m_f = mu + b_f + e_f: b_f is drawn anew for
each family with variance tau^2, and the e_f are errors of images with covariance C, correlated since all families share
their real images. The variance of the mean of the m_f is then

    tau^2 / F + sum(C) / F^2 = E[s^2] / F + mean of C off its diagonal,

where s^2 is the sample variance of the m_f: s^2 / F alone misses what the families have in common, since a shared
error moves all of them together. s^2 has F - 1 degrees of freedom and C is taken as known, so that Satterthwaite's
approximation gives those of the sum (as in `means.over_seeds`). Effects of seeds are part of s^2 where they
differ between families. Coverage is simulated in tests/benchmarks/test_families.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from forge.core.errors import InputError

_NORMAL = 1e9  # degrees of freedom from which Student's t is the normal distribution


class FamilyInterval(NamedTuple):
    """The interval of a mean over families, for families that are not in the sample.

    Attributes:
        low: lower end; of an AUC it may lie below 0, of a difference below -1.
        high: upper end.
        p: two-sided, of the mean being zero; for a difference.
        families: how many were averaged.
    """

    low: float
    high: float
    p: float
    families: int


def new_family(means: ArrayLike, covariance: ArrayLike, *, level: float = 0.95) -> FamilyInterval:
    """Return the random-effects interval of a mean over families, with Student's t.

    Args:
        means: of each family, or the difference of two detectors there, shape [F], F >= 2.
        covariance: of the means' errors over images, shape [F, F].
        level: nominal coverage, in (0, 1).

    Raises:
        InputError: fewer than two families, or a covariance of another shape.
    """
    values, errors = np.asarray(means, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    count = values.size
    if count < 2 or errors.shape != (count, count):
        raise InputError(f"an interval over families needs two families and their covariance, got {count}")
    # s^2 / F of the head of this file
    scatter = float(values.var(ddof=1)) / count
    # mean covariance of two families: the error of the shared real images, which s^2 cannot contain
    common = max(0.0, float(errors.sum() - np.trace(errors)) / (count * (count - 1)))
    variance, value = scatter + common, float(values.mean())
    if variance == 0:  # all families agree and no image is in doubt
        return FamilyInterval(value, value, 0.0 if value else 1.0, count)
    # Satterthwaite: only `scatter` is estimated, with count - 1 degrees
    freedom = (count - 1) * (variance / scatter) ** 2 if scatter > 0 else _NORMAL
    half, p = 0.0, 0.0
    # more degrees of freedom may shrink t by more than the shared errors add: never narrower than without them
    for part, degrees in ((variance, min(freedom, _NORMAL)), (scatter, count - 1.0)):
        if part > 0:
            half = max(half, float(stdtrit(degrees, 0.5 + level / 2)) * math.sqrt(part))
            # both tails of Student's t: twice the lower one at -|t|
            p = max(p, 2 * float(stdtr(degrees, -abs(value) / math.sqrt(part))))
    return FamilyInterval(value - half, value + half, p, count)
