"""Rank detectors per pairing of training and test; those that a paired test does not separate share a rank."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.measures import averages
from benchmarks.measures.interval import two_sided
from benchmarks.measures.ranks import shared_ranks
from benchmarks.measures.results import Cell, Comparison
from benchmarks.protocol import ALPHA


class Key(NamedTuple):
    """What names a cell."""

    detector: str
    trained_on: str
    tested_on: str
    seed: int


class Duel(NamedTuple):
    """What names a column of the table: detectors are compared within it and nowhere else."""

    trained_on: str
    tested_on: str
    seed: int


@dataclass(frozen=True)
class Place:
    """The rank of one cell within its duel.

    Attributes:
        rank: 1 for the leader and all that cannot be told apart from it; the next ones count those before them.
        tied: whether others share the rank.
        rivals: how many detectors the duel has.
    """

    rank: int
    tied: bool
    rivals: int

    def __str__(self) -> str:
        return "–" if self.rivals == 1 else f"{self.rank}{'=' if self.tied else ''}"


def key(cell: Cell) -> Key:
    """The name of a cell."""
    return Key(cell.detector, cell.trained_on, cell.tested_on, cell.seed)


def duels(cells: Iterable[Cell]) -> dict[Duel, list[Cell]]:
    """Cells that saw the same training and test generators, best AUC first; duels in the order of the cells."""
    found: dict[Duel, list[Cell]] = {}
    for cell in cells:
        found.setdefault(Duel(cell.trained_on, cell.tested_on, cell.seed), []).append(cell)
    return {duel: sorted(group, key=lambda c: (-c.auc, c.detector)) for duel, group in found.items()}


def comparison(a: Cell, b: Cell, comparisons: Iterable[Comparison]) -> Comparison | None:
    """The stored test of two cells, seen from `a`; None where there is none."""
    names, duel = (a.detector, b.detector), Duel(a.trained_on, a.tested_on, a.seed)
    for one in comparisons:
        if Duel(one.trained_on, one.tested_on, one.seed) != duel:
            continue
        if (one.a, one.b) == names:
            return one
        if (one.b, one.a) == names:
            flipped = {"a": one.b, "b": one.a, "difference": -one.difference, "low": -one.high, "high": -one.low}
            return one.model_copy(update=flipped)
    return None


def tiers(group: list[Cell], comparisons: list[Comparison]) -> list[list[Cell]]:
    """Split a duel, best first, into groups that share a rank.

    A detector shares the rank of the leader unless a test says that the two differ; among the rest the best one leads
    again. Without a test nothing says that they differ.
    """
    differ = [[a is not b and _differ(a, b, comparisons) for b in group] for a in group]
    found: dict[int, list[Cell]] = {}
    for cell, rank in zip(group, shared_ranks([cell.auc for cell in group], differ), strict=True):
        found.setdefault(rank, []).append(cell)
    return [found[rank] for rank in sorted(found)]


def _differ(a: Cell, b: Cell, comparisons: list[Comparison]) -> bool:
    test = comparison(a, b, comparisons)
    return test is not None and test.p_holm < ALPHA


def places(cells: list[Cell], comparisons: list[Comparison]) -> dict[Key, Place]:
    """The rank of every cell within its duel."""
    found = {}
    for group in duels(cells).values():
        before = 0
        for tier in tiers(group, comparisons):
            for cell in tier:
                found[key(cell)] = Place(before + 1, len(tier) > 1, len(group))
            before += len(tier)
    return found


def detectable(comparisons: list[Comparison]) -> float | None:
    """The difference of AUC that the median test of the table would find four times in five, before Holm."""
    errors = [(one.high - one.low) / (2 * two_sided(1 - ALPHA)) for one in comparisons]
    value = averages.detectable(errors) if errors else 0.0
    return value if value > 0 and math.isfinite(value) else None
