"""Results of quality metrics: frozen models, and shares of images with an interval."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
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
