"""Two detectors of one suite, column by column and cell by cell, on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.column import Column
from benchmarks.evaluation.delong import holm
from benchmarks.evaluation.means import SeedMean
from forge.core.errors import UnknownNameError


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


class _Pair(NamedTuple):
    """Two detectors in the same cells."""

    of_a: Sequence[Scored]
    of_b: Sequence[Scored]
    difference: SeedMean


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
    # only columns with the same cells for both: otherwise their means are over different tests
    shared = [name for name in cells[a] if _wheres(cells[a][name]) == _wheres(cells[b].get(name, []))]
    return _compared({name: _column(cells, name, a, b) for name in shared})


def _column(cells: Mapping[str, Mapping[str, Sequence[Scored]]], name: str, a: str, b: str) -> _Pair:
    """Compare two detectors in a column; the between-seed variance is pooled over all detectors with the same cells."""
    # the pool needs detectors with equal cells, as in the leaderboard, so that both pages show the same difference
    alike = {d: of[name] for d, of in cells.items() if _wheres(of.get(name, [])) == _wheres(cells[a][name])}
    return _Pair(cells[a][name], cells[b][name], Column(alike).difference(a, b))


def single(of_a: Sequence[Scored], of_b: Sequence[Scored]) -> list[Difference]:
    """Compare two detectors in every cell of one column that both have."""
    there = {cell.where: cell for cell in of_b}
    return _compared(
        {
            _named(cell): _Pair(
                [cell], [there[cell.where]], Column({"a": [cell], "b": [there[cell.where]]}).difference("a", "b")
            )
            for cell in of_a
            if cell.where in there
        }
    )


def _named(cell: Scored) -> str:
    where = cell.where
    changed = f", {where.perturbation}" if where.perturbation != "none" else ""
    trained = f", trained on {where.trained_on}" if where.trained_on else ""
    return f"{where.tested_on}{trained}{changed}, seed {where.seed}"


def _wheres(cells: Sequence[Scored]) -> set[object]:
    return {cell.where for cell in cells}


def _compared(pairs: Mapping[str, _Pair]) -> list[Difference]:
    # the family is the table that is shown
    adjusted = holm([pair.difference.p for pair in pairs.values()])
    return [
        Difference(
            what=what,
            a=float(np.mean([cell.auc for cell in pair.of_a])),
            b=float(np.mean([cell.auc for cell in pair.of_b])),
            difference=pair.difference.value,
            low=max(-1.0, pair.difference.low),  # AUCs differ by at most one
            high=min(1.0, pair.difference.high),
            p_holm=float(p),
            cells=len(pair.of_a),
        )
        for (what, pair), p in zip(pairs.items(), adjusted, strict=True)
    ]
