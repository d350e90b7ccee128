"""A two-sided confidence interval, and that of a proportion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from forge.core.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval.

    Attributes:
        low: lower end.
        high: upper end.
        method: how it was made, in words a table can show.
        level: nominal coverage, in (0, 1).
    """

    low: float
    high: float
    method: str
    level: float


def two_sided(level: float) -> float:
    """Return the normal quantile of a two-sided interval: 1.96 for 0.95."""
    if not 0 < level < 1:
        raise InputError(f"level must lie in (0, 1), got {level:g}; 0.95 is usual")
    # both tails share 1 - level
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(successes: float, n: float, *, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927) of independent images: TPR, FPR or accuracy at a fixed threshold."""
    if not (n > 0 and 0 <= successes <= n):
        raise InputError(f"a proportion needs 0 <= successes <= n and n > 0, got {successes:g} of {n:g}")
    # roots of (p - share)^2 = z^2 p (1 - p) / n, which never lie outside [0, 1] but for rounding
    share, z2 = successes / n, two_sided(level) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # exact ends: rounding must not leave an interval of a share of 0 (or 1) that excludes it
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if successes == n else min(1.0, centre + half), "Wilson", level)
