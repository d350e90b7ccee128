"""The paired tests in full: every two detectors of a pairing of training and test generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measures.results import Cell, Comparison
from benchmarks.protocol import ALPHA
from benchmarks.report.numbers import p_value, signed
from benchmarks.report.ranking import Duel, comparison, duels

_MATRICES = 6  # pairings whose tests are shown
_RIVALS = 16  # detectors whose tests are shown


@dataclass(frozen=True)
class Entry:
    """One paired test: the row's AUC minus the column's, its interval, p, and whether the two differ."""

    difference: str
    interval: str
    p: str
    differ: bool


@dataclass(frozen=True)
class Matrix:
    """The paired tests of one pairing: rows and columns best first, each test once."""

    duel: Duel
    names: list[str]
    lines: list[tuple[str, list[Entry | None]]]


def matrices(cells: Sequence[Cell], comparisons: Sequence[Comparison]) -> tuple[list[Matrix], str]:
    """The tests of every pairing with more than two detectors, and what is left out of them in a sentence."""
    groups = {duel: group for duel, group in duels(cells).items() if len(group) > 2}
    found = []
    for duel, group in list(groups.items())[:_MATRICES]:
        tests = [one for one in comparisons if Duel(one.trained_on, one.tested_on, one.seed) == duel]
        shown = group[:_RIVALS]
        lines = []
        for i, a in enumerate(shown[:-1]):
            entries = [None if j <= i else _entry(a, b, tests) for j, b in enumerate(shown)][1:]
            lines.append((a.detector, entries))
        found.append(Matrix(duel, [cell.detector for cell in shown[1:]], lines))
    left_out = []
    if len(groups) > _MATRICES:
        left_out.append(f"the first {_MATRICES} of {len(groups)} pairings")
    most = max((len(group) for group in groups.values()), default=0)
    if most > _RIVALS:
        left_out.append(f"the best {_RIVALS} of {most} detectors")
    return found, f"Shown are {' and '.join(left_out)}; results.json has all tests." if left_out else ""


def _entry(a: Cell, b: Cell, comparisons: Sequence[Comparison]) -> Entry | None:
    test = comparison(a, b, comparisons)
    if test is None:
        return None
    shown = signed(test.difference, test.low, test.high)
    return Entry(shown.value, f"{shown.low} to {shown.high}", p_value(test.p_holm), test.p_holm < ALPHA)
