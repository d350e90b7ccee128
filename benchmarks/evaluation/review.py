"""Parts of a table's uncertainty, agreement of its columns, and the worth of another seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation import means
from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.column import CONTROLS, Column, VarianceParts, group_of
from benchmarks.evaluation.roc import Floats, Ints
from forge.core.compute import derive_seed

FEWEST = 5  # detectors whose order is compared
_DRAWS = 2000  # of means, for the interval of tau


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the orders of detectors in two columns.

    Attributes:
        column: the other column.
        detectors: that both columns have, controls left out.
        tau: 1: the same order, 0: none, -1: the opposite one.
        low: lower end of its 95 % interval over generators and test images.
        high: upper end.
    """

    column: str
    detectors: int
    tau: float
    low: float
    high: float


def variance_parts(cells: Mapping[str, Mapping[str, Sequence[Scored]]], column: str) -> dict[str, VarianceParts]:
    """Return the parts of the variance of each detector's mean in a column, controls left out.

    Args:
        cells: detector -> column -> its cells, of `cells_of`.
        column: name of the column.
    """
    complete = _complete(cells, column)
    of_column = Column(complete)
    return {name: of_column.variance_parts(name) for name in complete if name not in CONTROLS}


def with_another_seed(parts: VarianceParts, seeds: int) -> float | None:
    """Return the standard error with one more seed relative to the present one, images as they are; None: one seed.

    >>> with_another_seed(VarianceParts(images=1.0, seeds=1.0, generators=None), 1)
    0.8660254037844386
    """
    if parts.seeds is None:
        return None
    now, then = parts.images + parts.seeds, parts.images + parts.seeds * seeds / (seeds + 1)
    return math.sqrt(then / now) if now > 0 else 1.0


def with_twice_the_images(parts: VarianceParts) -> float:
    """Return the standard error with twice as many test images relative to the present one, seeds as they are.

    >>> with_twice_the_images(VarianceParts(images=1.0, seeds=1.0, generators=None))
    0.8660254037844386
    >>> with_twice_the_images(VarianceParts(images=0.0, seeds=0.0, generators=None))  # every AUC is 1
    1.0
    """
    seeds = parts.seeds or 0.0
    now = parts.images + seeds
    return math.sqrt((parts.images / 2 + seeds) / now) if now > 0 else 1.0


def agreement(cells: Mapping[str, Mapping[str, Sequence[Scored]]], first: str, second: str) -> Agreement | None:
    """Return how far two columns order detectors alike; None with fewer than `FEWEST` detectors in both.

    The interval is over generators, images and people: each draw takes as many families of generators as there are,
    with replacement and the same ones in both columns where both have them, with errors of the AUCs from a normal
    distribution with their joint covariance over images, and its tau-b is of the means of these.

    Args:
        cells: detector -> column -> its cells, of `cells_of`.
        first: name of a column.
        second: name of the other one.
    """
    columns = [_complete(cells, column) for column in (first, second)]
    names = sorted(set(columns[0]) & set(columns[1]) - set(CONTROLS))
    if len(names) < FEWEST:
        return None
    groups = [sorted({group_of(cell) for cell in column[names[0]]}) for column in columns]
    parts = [
        [cell for cell in column[name] if group_of(cell) == group]
        for column, of_column in zip(columns, groups, strict=True)
        for name in names
        for group in of_column
    ]
    values = np.array([np.mean([cell.auc for cell in part]) for part in parts])
    covariance = means.covariance(
        [np.concatenate([cell.units for cell in part]) for part in parts],
        [np.concatenate([cell.influence / len(part) for cell in part]) for part in parts],
    )
    source = np.random.default_rng(derive_seed(0, "rank agreement", first, second))
    # method "eigh": covariances of means that share images may be singular
    errors = source.multivariate_normal(np.zeros(len(values)), covariance, size=_DRAWS, method="eigh")
    split = len(names) * len(groups[0])

    every = [np.tile(np.arange(len(of)), (_DRAWS, 1)) for of in groups]
    chosen = [source.integers(0, len(of), (_DRAWS, len(of))) for of in groups]
    if groups[0] == groups[1]:
        chosen[1] = chosen[0]

    def taus(drawn: Floats, of_groups: Sequence[Ints]) -> Floats:
        """Return tau of each draw; `drawn` holds detectors x groups of one column, then of the other."""
        sides = [
            # [draws, detectors, groups] of the chosen groups, then their mean
            np.take_along_axis(part.reshape(len(part), len(names), -1), of[:, None, :], axis=2).mean(axis=2)
            for part, of in zip(np.split(drawn, [split], axis=1), of_groups, strict=True)
        ]
        return kendall(*sides)

    whole = float(taus(values[None], [of[:1] for of in every])[0])
    low, high = np.quantile(taus(values + errors, chosen), (0.025, 0.975))
    return Agreement(second, len(names), whole, float(min(low, whole)), float(max(high, whole)))


def kendall(a: Floats, b: Floats) -> Floats:
    """Return Kendall's tau-b of each row, shape [k]; 0 where all values of a row are equal, which have no order.

    Args:
        a: shape [k, n].
        b: shape [k, n].
    """
    signs = [np.sign(values[:, :, None] - values[:, None, :]) for values in (a, b)]
    concordant = (signs[0] * signs[1]).sum(axis=(1, 2))
    # pairs that are not tied in either
    untied = np.sqrt(np.abs(signs[0]).sum(axis=(1, 2)) * np.abs(signs[1]).sum(axis=(1, 2)))
    return np.asarray(np.divide(concordant, untied, out=np.zeros_like(untied), where=untied > 0), dtype=np.float64)


def _complete(cells: Mapping[str, Mapping[str, Sequence[Scored]]], column: str) -> dict[str, Sequence[Scored]]:
    """Return the cells of the detectors that lack no test of a column."""
    of_column = {name: of[column] for name, of in cells.items() if of.get(column)}
    most = max(map(len, of_column.values()), default=0)
    return {name: of for name, of in of_column.items() if len(of) == most}
