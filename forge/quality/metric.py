"""A metric of a set of images against another: what it may read, what it gives, and its lines in a table.

A metric is a class in a file of its own, registered in `forge.quality.QUALITY`, by an installed package (entry points
`forge.quality`), or named by a file: `bench run --metric path/to/file.py:Class`. A metric of one number
(`ScalarMetric`) is stored by its id in `Quality.more`; one whose result has several fields has a field of its own in
`forge.quality.measure.Quality`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge.core.errors import BenchWarning, short
from forge.faces.faceset import Images
from forge.quality.checks import Features
from forge.quality.features import extract
from forge.quality.result import Result
from forge.quality.translations import People, Translations

Better = Literal["lower", "higher", "as the floor", "neither"]


class Row(NamedTuple):
    """One line of a table that people read; `reference` says what the floor is of where it is not of held-out reals."""

    metric: str
    value: float | None
    floor: float | None
    better: Better
    n: int
    reference: str = ""


@dataclass(frozen=True)
class Labels:
    """One column of labels, image by image; an empty label is an unknown one.

    Attributes:
        candidate: of the forged images.
        reference: of the real images the generator was to imitate.
        held_out: of the real images it was not shown.
        inherited: whether the forged images have the labels of photos they were made from, not those asked for.
    """

    candidate: NDArray[np.str_]
    reference: NDArray[np.str_]
    held_out: NDArray[np.str_]
    inherited: bool = False


@dataclass(frozen=True)
class AllImages:
    """Every image that was given, before n were drawn from each side; uint8 [.., H, H, 3]."""

    candidate: Images
    reference: Images
    held_out: Images | None = None


@dataclass(frozen=True)
class Sides:
    """Everything that a metric may read: the two sets of images that it compares, and what belongs to them.

    Features are computed at their first use and shared by all metrics.

    Attributes:
        candidate: forged images (or held-out reals, for the floor), drawn, uint8 [n, H, H, 3].
        reference: the real images the generator was to imitate, as many, drawn.
        training: what the generator was shown, drawn, at most 10,000.
        held_out: real images it was not shown, drawn, at most n; None: there are none.
        whole: the images before they were drawn.
        labels: by column, the labels of `whole`.
        translations: forgeries beside the real faces that they were made from, drawn; None: they were made from none.
        people: who is on the real images of `whole`; None: not said.
        face_n: images in which faces are searched.
        seed: of every draw.
        device: where to compute.
        fid_weights: torch-fidelity's Inception weights; None: there are none.
        usefulness: whether classifiers are trained on forgeries that have labels, which takes a minute a column.
    """

    candidate: Images
    reference: Images
    training: Images
    held_out: Images | None
    whole: AllImages
    labels: Mapping[str, Labels] = field(default_factory=dict)
    translations: Translations | None = None
    people: People | None = None
    face_n: int = 256
    seed: int = 0
    device: str = "cpu"
    fid_weights: Path | None = None
    usefulness: bool = True

    @property
    def n(self) -> int:
        """Images a side."""
        return len(self.candidate)

    @cached_property
    def features(self) -> Features:
        """Of the candidate, float [n, D], scaled."""
        # scaled by the reference, never by itself: a candidate that is shifted or too narrow has to stay so
        return self._scale(extract(self.candidate, device=self.device))

    @cached_property
    def reference_features(self) -> Features:
        """Of the reference, float [n, D]: mean 0 and deviation 1 in each dimension."""
        return self._scale(self._reference)

    @cached_property
    def training_features(self) -> Features:
        """Of the training images, scaled as the reference's."""
        return self._scale(extract(self.training, device=self.device))

    @cached_property
    def held_out_features(self) -> Features | None:
        """Of the held-out images, scaled as the reference's."""
        return None if self.held_out is None else self._scale(extract(self.held_out, device=self.device))

    @cached_property
    def _reference(self) -> Features:
        return extract(self.reference, device=self.device)

    @cached_property
    def _scale(self) -> Callable[[Features], Features]:
        """Brings each dimension to mean 0 and deviation 1 of the reference; constant ones keep their scale."""
        reference = self._reference
        mean, deviation = reference.mean(axis=0, dtype=np.float64), reference.std(axis=0, dtype=np.float64)
        # a dimension that is constant on the reference has a deviation of rounding errors, and dividing by it would let
        # it outweigh all others
        deviation[deviation < 1e-6] = 1.0
        return lambda features: (features - mean) / deviation


class QualityMetric(ABC):
    """A metric; its result is a field of `forge.quality.measure.Quality` of the name `id`."""

    id: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def measure(self, sides: Sides) -> Any:  # noqa: ANN401 - a Result, a number, or None
        """Measure the candidate against the reference; the order of images must not matter."""

    def rows(self, ours: Any, floor: Any, n: int) -> list[Row]:  # noqa: ANN401 - what `measure` returned
        """Its lines in a table for people; none by default.

        Args:
            ours: of the forged images; None where such a set is not measured, also of `floor`.
            floor: of held-out reals.
            n: images per side.
        """
        return []


class Scalar(Result):
    """The value of a metric of one number, and how a table shows it."""

    title: str
    better: Better
    value: float | None = Field(description="null: undefined on these images, or it failed")


class ScalarMetric(QualityMetric):
    """A metric that is one number, stored by its id in `Quality.more`; all that a plug-in has to define."""

    better: ClassVar[Better] = "lower"

    @abstractmethod
    def compute(self, sides: Sides) -> float | None:
        """Return the value; None where it is undefined."""

    def measure(self, sides: Sides) -> Scalar:
        """See `compute`."""
        problem, value = "", None
        try:
            value = self.compute(sides)
            if value is not None and not np.isfinite(value):  # NaN and infinity are no JSON numbers
                problem, value = f"its value is {value}; a metric without one returns None", None
        except Exception as error:  # noqa: BLE001 - code of others may raise anything; the other metrics go on
            problem = f"{type(error).__name__}: {error}"
        if problem:
            # stack level 3: the caller of forge.quality.measure.measure
            warnings.warn(f"quality metric {self.id} failed and has no value: {short(problem)}", BenchWarning, 3)
        return Scalar(title=self.title, better=self.better, value=None if value is None else float(value))
