"""Base class of detection metrics, their input (scores of one test set) and their value.

A metric is one file with one class (or a few), registered in `benchmarks.evaluation.metrics.METRICS`, by an installed
package (entry points `benchmarks.metrics`), or named by a file: `bench run --metric path/to/file.py:Class`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.metric_facts import Counted, MetricFacts, Unit
from benchmarks.evaluation.roc import Floats, Ints
from benchmarks.protocol import CLEAN


@dataclass(frozen=True)
class TestScores:
    """The scores of one detector on one test set.

    Attributes:
        label: 1 forged, 0 real, shape [n]; both classes are there.
        score: higher for forged, shape [n].
        probability: calibrated probability of being forged, in [0, 1], shape [n].
        threshold: score from which an image is called forged, fixed on validation images.
        groups: identity of each image, None where unknown, shape [n].
        perturbation: of the test images; "none": they were left alone.
        resamples: of a bootstrap.
    """

    __test__ = False  # pytest collects classes that are called Test

    label: Ints
    score: Floats
    probability: Floats
    threshold: float
    groups: NDArray[np.object_]
    perturbation: str = CLEAN
    resamples: int = 2000


class Value(NamedTuple):
    """The value of a metric; None: undefined on this test set. `low` and `high`: ends of its 95 % interval, if any."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Metric(ABC):
    """A number per test set."""

    id: ClassVar[str]
    title: ClassVar[str]
    meaning: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    unit: ClassVar[Unit] = "number"
    counted: ClassVar[Counted] = "all"
    interval: ClassVar[bool] = False
    shown: ClassVar[bool] = True
    equal_prevalence: ClassVar[str] = ""
    # a bound of the FPR that one false positive exceeds is the usual cause of a missing value
    missing: ClassVar[str] = "n too small"

    @abstractmethod
    def compute(self, test: TestScores) -> Value:
        """Compute the metric from the scores alone; the same rows in another order give the same value."""

    @classmethod
    def facts(cls, name: str = "") -> MetricFacts:
        """Return its definition for results.json.

        Args:
            name: that loads it; by default its id.
        """
        # the name under which it is loaded again is no attribute of the class
        fields = MetricFacts.model_fields.keys() - {"name"}
        return MetricFacts(**{field: getattr(cls, field) for field in fields}, name=name or cls.id)

    def fields(self, test: TestScores) -> dict[str, float | None]:
        """Return its fields of a test result: ID, and with an interval ID_low and ID_high.

        Raises:
            ValueError: the value is NaN or infinite.
        """
        value = self.compute(test)
        # a metric with an interval always has three fields, so that columns do not depend on values
        values: dict[str, Any] = {self.id: value.value}
        if self.interval:
            values |= {f"{self.id}_low": value.low, f"{self.id}_high": value.high}
        for name, number in values.items():
            # NaN would pass through means and JSON unseen; None is shown and left out
            if number is not None and not np.isfinite(number):
                raise ValueError(f"{name} is {number}; a metric without a value returns None")
        return {name: None if number is None else float(number) for name, number in values.items()}


def check_id(name: str, taken: frozenset[str]) -> str | None:
    """Return what is wrong with the id of a metric, or None.

    Args:
        name: the id.
        taken: names that cells have already.
    """
    # the id is a column of results.csv and a key of JSON, hence lower case without signs
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        return f"its id {name[:40]!r} must be lower case letters, digits and _, beginning with a letter"
    # its value and both ends of its interval are fields
    clash = {name, f"{name}_low", f"{name}_high"} & taken
    return f"its id {name!r} is taken: every result has a field {min(clash)!r} already" if clash else None
