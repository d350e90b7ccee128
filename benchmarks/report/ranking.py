"""Rank detectors per pairing of training and test; those that a paired test does not separate share a rank."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.evaluation import means
from benchmarks.evaluation.interval import two_sided
from benchmarks.evaluation.ranks import shared_ranks
from benchmarks.evaluation.results import PairedTest, TestResult
from benchmarks.protocol import ALPHA, TrainSet


class Key(NamedTuple):
    """Identity of a test result."""

    detector: str
    trained_on: str
    tested_on: str
    seed: int


class Pairing(NamedTuple):
    """A pairing of training and test generators: detectors are compared within a pairing only."""

    trained_on: str
    tested_on: str
    seed: int


@dataclass(frozen=True)
class Rank:
    """Rank of a detector within its pairing.

    Attributes:
        rank: 1 for the leader and every detector that no test separates from it; later ranks count those before them.
        tied: whether others share the rank.
        rivals: how many detectors the pairing has.
    """

    rank: int
    tied: bool
    rivals: int

    def __str__(self) -> str:
        # alone in its pairing it has no rank
        return "–" if self.rivals == 1 else f"{self.rank}{'=' if self.tied else ''}"


def key(cell: TestResult) -> Key:
    """Return the identity of a test result."""
    return Key(cell.detector, cell.trained_on, cell.tested_on, cell.seed)


def _pairing(of: TestResult | PairedTest) -> Pairing:
    return Pairing(of.trained_on, of.tested_on, of.seed)


def by_pairing(cells: Iterable[TestResult]) -> dict[Pairing, list[TestResult]]:
    """Group cells by pairing, the best AUC first; pairings keep the order of the cells."""
    groups: dict[Pairing, list[TestResult]] = {}
    for cell in cells:
        groups.setdefault(_pairing(cell), []).append(cell)
    # of equal AUC by name, so that pages are stable
    return {pairing: sorted(group, key=lambda c: (-c.auc, c.detector)) for pairing, group in groups.items()}


def paired_test(a: TestResult, b: TestResult, comparisons: Iterable[PairedTest]) -> PairedTest | None:
    """Return the stored test of two cells, with `a` first; None where there is none."""
    names, pairing = (a.detector, b.detector), _pairing(a)
    for test in comparisons:
        # Stored once, in either order of the two.
        if _pairing(test) != pairing:
            continue
        if (test.a, test.b) == names:
            return test
        if (test.b, test.a) == names:
            # Turned around: the sign of the difference, and the ends of the interval exchanged.
            flipped = {"a": test.b, "b": test.a, "difference": -test.difference, "low": -test.high, "high": -test.low}
            return test.model_copy(update=flipped)
    return None


def tiers(group: list[TestResult], comparisons: list[PairedTest]) -> list[list[TestResult]]:
    """Split a pairing, best first, into groups that share a rank.

    A detector shares the rank of the leader unless a paired test separates the two; among the rest the best detector
    leads again. Detectors without a test are not separated.
    """
    return _tiers(group, _apart(comparisons))


def _tiers(group: list[TestResult], apart: set[tuple[Pairing, frozenset[str]]]) -> list[list[TestResult]]:
    # symmetric, false on the diagonal
    differ = [
        [a is not b and (_pairing(a), frozenset((a.detector, b.detector))) in apart for b in group] for a in group
    ]
    by_rank: dict[int, list[TestResult]] = {}
    for cell, rank in zip(group, shared_ranks([cell.auc for cell in group], differ), strict=True):
        by_rank.setdefault(rank, []).append(cell)
    return [by_rank[rank] for rank in sorted(by_rank)]


def _apart(comparisons: Iterable[PairedTest]) -> set[tuple[Pairing, frozenset[str]]]:
    """Return the pairs of detectors that a paired test separates; a suite has thousands."""
    return {(_pairing(test), frozenset((test.a, test.b))) for test in comparisons if test.p_holm < ALPHA}


def ranks_of(cells: list[TestResult], comparisons: list[PairedTest]) -> dict[Key, Rank]:
    """Rank every cell within its pairing."""
    # After two that share rank 1 comes rank 3.
    ranks, apart = {}, _apart(comparisons)
    for group in by_pairing(cells).values():
        before = 0
        for tier in _tiers(group, apart):
            for cell in tier:
                ranks[key(cell)] = Rank(before + 1, len(tier) > 1, len(group))
            before += len(tier)
    return ranks


def detectable(comparisons: list[PairedTest]) -> float | None:
    """Return the AUC difference that the median paired test detects with 80 % power, before Holm; None: unknown."""
    # half the interval over the normal quantile is the standard error
    errors = [(test.high - test.low) / (2 * two_sided(1 - ALPHA)) for test in comparisons]
    value = means.detectable(errors) if errors else 0.0
    return value if value > 0 and math.isfinite(value) else None


def pairing_title(cell: TestResult | Pairing) -> str:
    """Name the training and test generators, for a title."""
    if cell.tested_on == cell.trained_on:
        return f"{cell.tested_on} (seen in training)"
    return f"trained on {TrainSet.parse(cell.trained_on).readable}, tested on {cell.tested_on}"
