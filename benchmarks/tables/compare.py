"""Two detectors of one suite, column by column and cell by cell, on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.measures import averages
from benchmarks.measures.statistics import holm
from benchmarks.tables.cells import Scored
from benchmarks.tables.leaderboard import difference_of
from forge.errors import UnknownNameError


class Difference(BaseModel):
    """The mean AUC of one detector minus that of another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str = Field(description="a column, or a cell of one")
    a: float
    b: float
    difference: float
    low: float = Field(description="lower end of its 95 % interval, over images and seeds")
    high: float
    p_holm: float = Field(description="two-sided, adjusted after Holm over all rows of its table")
    cells: int


def columns(cells: Mapping[str, Mapping[str, Sequence[Scored]]], a: str, b: str) -> list[Difference]:
    """Compare two detectors in every column that both have in the same cells.

    Args:
        cells: of `leaderboard.cells_of`.
        a: name of one.
        b: name of the other.

    Raises:
        UnknownNameError: no such detector.
    """
    for name in (a, b):
        if name not in cells:
            raise UnknownNameError("detector", name, cells)
    shared = [name for name in cells[a] if _wheres(cells[a][name]) == _wheres(cells[b].get(name, []))]
    return _compared({name: (cells[a][name], cells[b][name]) for name in shared})


def single(of_a: Sequence[Scored], of_b: Sequence[Scored]) -> list[Difference]:
    """Compare two detectors in every cell of one column that both have."""
    there = {cell.where: cell for cell in of_b}
    pairs = {_named(cell): ([cell], [there[cell.where]]) for cell in of_a if cell.where in there}
    return _compared(pairs)


def _named(cell: Scored) -> str:
    where = cell.where
    changed = f", {where.perturbation}" if where.perturbation != "none" else ""
    trained = f", trained on {where.trained_on}" if where.trained_on else ""
    return f"{where.tested_on}{trained}{changed}, seed {where.seed}"


def _wheres(cells: Sequence[Scored]) -> set[object]:
    return {cell.where for cell in cells}


def _compared(pairs: Mapping[str, tuple[Sequence[Scored], Sequence[Scored]]]) -> list[Difference]:
    found: list[tuple[str, int, float, float, averages.SeedMean]] = []
    for what, (of_a, of_b) in pairs.items():
        means = [float(np.mean([cell.auc for cell in of])) for of in (of_a, of_b)]
        found.append((what, len(of_a), means[0], means[1], difference_of(of_a, of_b)))
    adjusted = holm([one.p for *_, one in found])
    return [
        Difference(
            what=what,
            a=mean_a,
            b=mean_b,
            difference=one.value,
            low=one.low,
            high=one.high,
            p_holm=float(p),
            cells=count,
        )
        for (what, count, mean_a, mean_b, one), p in zip(found, adjusted, strict=True)
    ]
