"""The table of detectors by pairings of training and test generator, with AUC, interval and rank in each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import TestResult
from benchmarks.protocol import TrainSet
from benchmarks.report.ranking import Key, Pairing, Rank, key


@dataclass(frozen=True)
class Field:
    """One test: a colour step 0..10, the AUC with its interval, the rank, and whether the detector leads."""

    step: int
    auc: str
    interval: str
    rank: str
    leads: bool


@dataclass(frozen=True)
class Column:
    """One pairing; `seen`: tested on a generator seen in training."""

    pairing: Pairing
    seen: bool


@dataclass(frozen=True)
class PairingTable:
    """Detectors by pairings, best first; None where a pairing was not run."""

    trained_on: list[tuple[str, int]]  # with the number of columns of each
    columns: list[Column]
    lines: list[tuple[str, list[Field | None]]]
    order: str


def pairing_table(cells: Sequence[TestResult], ranks: Mapping[Key, Rank]) -> PairingTable:
    """Lay out every AUC as one table."""
    columns = columns_of(cells)
    lines = []
    for detector in ranked_detectors(cells):
        # The seed is part of a pairing: repetitions are columns of their own here.
        tests = {Pairing(c.trained_on, c.tested_on, c.seed): c for c in cells if c.detector == detector}
        lines.append((detector, [_field(tests.get(column.pairing), ranks) for column in columns]))
    trained = list(dict.fromkeys(column.pairing.trained_on for column in columns))
    tested = {cell.tested_on for cell in cells}
    spans = [
        (TrainSet.parse(name).shortened(tested), sum(column.pairing.trained_on == name for column in columns))
        for name in trained
    ]
    unseen = any(not column.seen for column in columns)
    mean_over = "generators not seen in training" if unseen else "all columns"
    return PairingTable(spans, columns, lines, f"Best first by the mean AUC over {mean_over}")


def columns_of(cells: Sequence[TestResult]) -> list[Column]:
    """Return the pairings: those of one training side by side, the generator seen in it first."""
    seen = {Pairing(c.trained_on, c.tested_on, c.seed): c.seen for c in cells}
    # In the order of first appearance, which is the order of the plan.
    order = {name: i for i, name in enumerate(dict.fromkeys(pairing.trained_on for pairing in seen))}
    ranked = sorted(seen, key=lambda p: (order[p.trained_on], not seen[p], p.tested_on, p.seed))
    return [Column(pairing, seen[pairing]) for pairing in ranked]


def ranked_detectors(cells: Sequence[TestResult]) -> list[str]:
    """Sort detectors by their mean AUC over the generators that they had not seen; incomplete ones come last."""
    tests: dict[str, list[TestResult]] = {}
    for cell in cells:
        tests.setdefault(cell.detector, []).append(cell)
    complete = max((len(group) for group in tests.values()), default=0)  # the most tests any detector has
    unseen = any(not cell.seen for cell in cells)

    # Sorts complete ones first; of equal means the name decides, so that the order is stable.
    def merit(name: str) -> tuple[bool, float, str]:
        counted = [cell.auc for cell in tests[name] if not unseen or not cell.seen]
        return len(tests[name]) < complete, -float(np.mean(counted)) if counted else 0.0, name

    return sorted(tests, key=merit)


def _field(cell: TestResult | None, ranks: Mapping[Key, Rank]) -> Field | None:
    if cell is None:
        return None
    shown, rank = estimate(cell.auc, cell.auc_low, cell.auc_high), ranks[key(cell)]
    leads = rank.rank == 1 and rank.rivals > 1  # with rivals only
    # a step of colour per 0.1 of AUC
    return Field(round(10 * cell.auc), shown.value, f"[{shown.low}, {shown.high}]", str(rank), leads)
