"""Paired tests of every two detectors of a pairing of training and test generator, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.evaluation.numbers import p_value, signed
from benchmarks.evaluation.results import PairedTest, TestResult
from benchmarks.protocol import ALPHA
from benchmarks.report.ranking import Pairing, by_pairing, paired_test

# pairings in the order of the results; each matrix is a table of its own
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

    pairing: Pairing
    names: list[str]
    lines: list[tuple[str, list[Entry | None]]]


def matrices(cells: Sequence[TestResult], comparisons: Sequence[PairedTest]) -> tuple[list[Matrix], str]:
    """Lay out the tests of every pairing with more than two detectors; also a sentence on what is left out."""
    # with two detectors the one test stands in the results
    groups = {pairing: group for pairing, group in by_pairing(cells).items() if len(group) > 2}
    shown = []
    for pairing, group in list(groups.items())[:_MATRICES]:
        tests = [test for test in comparisons if Pairing(test.trained_on, test.tested_on, test.seed) == pairing]
        rivals = group[:_RIVALS]
        lines = []
        for i, a in enumerate(rivals[:-1]):
            # Each test once, above the diagonal; the first column would be empty and is dropped.
            entries = [None if j <= i else _entry(a, b, tests) for j, b in enumerate(rivals)][1:]
            lines.append((a.detector, entries))
        shown.append(Matrix(pairing, [cell.detector for cell in rivals[1:]], lines))
    left_out = []
    if len(groups) > _MATRICES:
        # the stored results have them, the page says so
        left_out.append(f"the first {_MATRICES} of {len(groups)} pairings")
    largest = max((len(group) for group in groups.values()), default=0)
    if largest > _RIVALS:
        left_out.append(f"the best {_RIVALS} of {largest} detectors")
    everything = "results.json, or the tables packed beside it, has all tests."
    return shown, f"Shown are {' and '.join(left_out)}; {everything}" if left_out else ""


def _entry(a: TestResult, b: TestResult, comparisons: Sequence[PairedTest]) -> Entry | None:
    test = paired_test(a, b, comparisons)
    if test is None:
        return None
    shown = signed(test.difference, test.low, test.high)
    return Entry(shown.value, f"{shown.low} to {shown.high}", p_value(test.p_holm), test.p_holm < ALPHA)
