"""Results of quality metrics: frozen models, shares of images and means over seeds with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import stdtrit
from scipy.stats import binomtest


class Result(BaseModel):
    """A measured result: frozen, and no field but the documented ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(Result):
    """A share of images with Wilson's 95 % interval."""

    hits: int
    n: int
    value: float = Field(description="hits / n, 0..1")
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int) -> Share:
        """Return the share of `hits` among `n` images (at least one)."""
        # Wilson's interval stays inside 0..1 and has a width also at 0 and n hits, where the normal one shrinks to a
        # point
        interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        return cls(hits=hits, n=n, value=hits / n, low=float(interval.low), high=float(interval.high))


class SeedMean(Result):
    """Mean over seeds with Student's 95 % interval of it; all else, the test images too, is held fixed."""

    value: float
    low: float
    high: float
    seeds: list[float] = Field(description="value of each seed")

    @classmethod
    def of(cls, values: Sequence[float]) -> SeedMean:
        """Return the mean of at least two values; of paired seeds give the differences."""
        mean = float(np.mean(values))
        # mean +- t s / sqrt(S) with S - 1 degrees of freedom: the deviation of few seeds is itself uncertain
        half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
        return cls(value=mean, low=mean - half, high=mean + half, seeds=[float(value) for value in values])
