"""Leaderboard: mean AUC of each detector per condition, ranked by the primary condition, from score rows alone.

A column is a condition; its value is the mean AUC over all its cells (test generators, trainings, perturbations) in
every seed, in `unseen` the mean over families of the mean over their generators. It has two intervals: one covers
sampling of images and of seeds for these families (`means`), the other the variation between families too (`families`).
Ranks are of the primary column and of these families: detectors whose difference from the leader is not significant, in
paired tests adjusted after Holm over all pairs, share its rank. A detector that lacks a cell of a column has no value
there; it is never averaged over the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation import means
from benchmarks.evaluation.cells import Scored, Where, cells_of
from benchmarks.evaluation.column import CONTROLS, Column
from benchmarks.evaluation.delong import holm
from benchmarks.evaluation.interval import two_sided
from benchmarks.evaluation.ranks import Friedman, critical_difference, friedman, rank_intervals, shared_ranks
from benchmarks.protocol import ALPHA, NEW_FAMILY, PRIMARIES, Protocol, meaning_of_column, order_of_columns
from forge.core.errors import InputError, quoted


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Standing(_Record):
    """A detector in one column."""

    value: float | None = Field(description="mean AUC over the cells of the column and over seeds; null: incomplete")
    low: float | None = Field(description="lower end of its 95 % interval, over images and seeds")
    high: float | None
    family_low: float | None = Field(None, description="lower end of its 95 % interval for a new family of generators")
    family_high: float | None = Field(None, description="upper end; null: fewer than two families, or protocol 1")
    sd: float | None = Field(description="standard deviation over seeds; null with one seed")
    cells: int = Field(description="cells that are there")
    missing: int = Field(description="cells that other detectors have and this one lacks")
    seen: dict[str, str] = Field(
        {},
        exclude_if=lambda tests: not tests,
        description="test sets of the column that it was trained on -> why they count as such",
    )


class Line(_Record):
    """A detector."""

    detector: str
    rank: int | None = Field(
        description="in the primary column; detectors that no paired test separates from the leader share it"
    )
    rank_low: int | None = Field(description="best rank that the tests do not exclude")
    rank_high: int | None = Field(description="worst rank that the tests do not exclude")
    balanced_accuracy: float | None = Field(
        None, description="mean over the primary column's tests at the thresholds fixed on val; null: not known"
    )
    tpr_at_fpr_1pct: float | None = Field(None, description="mean over the primary column's tests; null: n too small")
    columns: dict[str, Standing]


class PairDifference(_Record):
    """Two detectors in the primary column."""

    a: str
    b: str
    difference: float = Field(description="mean AUC of a minus that of b")
    low: float
    high: float
    p_holm: float = Field(description="two-sided, adjusted after Holm over all pairs of the table")
    family_low: float | None = Field(None, description="lower end of the interval of the difference for a new family")
    family_high: float | None = None
    family_p_holm: float | None = Field(None, description="as p_holm, for a new family; null: fewer than two families")


class ManyTest(_Record):
    """Friedman's test over the test sets of the primary column, and Nemenyi's critical difference of mean ranks."""

    sets: int
    p: float = Field(description="of Iman and Davenport's F")
    critical_difference: float
    mean_ranks: dict[str, float]


class Spread(_Record):
    """Spread of detectors in a column, compared with the width of their intervals."""

    column: str
    sd: float = Field(description="standard deviation of the detectors' values")
    width: float = Field(description="median width of their 95 % intervals")
    ratio: float | None = Field(description="sd by width: under 1, the column separates few of them; null: no width")
    detectors: int


class Leaderboard(_Record):
    """The leaderboard of one or several suites."""

    primary: str
    seeds: list[int]
    families: list[str] = Field([], description="that the mean of the primary column is over; empty: over tests")
    columns: dict[str, str] = Field(description="name -> what it means")
    lines: list[Line] = Field(description="best first; incomplete ones last")
    differences: list[PairDifference]
    many: ManyTest | None
    spreads: list[Spread] = Field(description="of every column, the one that separates most first; without controls")
    tests: dict[tuple[str, str, str], str] = Field(
        {}, exclude=True, description="trained_on, tested_on, perturbation of the primary column's tests -> family"
    )
    tests_of: dict[str, set[str]] = Field({}, exclude=True, description="column -> the test sets of its cells")
    detectable: float | None = Field(description="minimum detectable difference of the primary at 80 % power")

    @property
    def for_new_family(self) -> bool:
        """True where the interval for a new family is shown first: from five families on."""
        return len(self.families) >= NEW_FAMILY


def leaderboard(scores: pd.DataFrame, *, primary: str | None = None, protocol: Protocol | None = None) -> Leaderboard:
    """Rank detectors.

    Args:
        scores: rows of scores.parquet of any number of seeds.
        primary: column that ranks; by default the first of `PRIMARIES` there is.
        protocol: version and families that the rows were measured by; by default this version's.

    Raises:
        InputError: no test rows, or no such column.
    """
    return ranked(cells_of(scores, protocol), primary=primary)


def ranked(
    cells: Mapping[str, Mapping[str, Sequence[Scored]]],
    *,
    primary: str | None = None,
    meanings: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
) -> Leaderboard:
    """Rank detectors as `leaderboard`, from the result of `cells_of`.

    Args:
        cells: detector -> column -> its cells.
        primary: column that ranks; by default the first of `PRIMARIES` there is.
        meanings: column -> what it means; by default the protocol's.
        order: of the columns; by default the protocol's.
    """
    known = list(order or order_of_columns({column for of in cells.values() for column in of}))
    if not known:
        raise InputError("the scores have no test rows of real and forged images; nothing can be ranked")
    chosen = primary or _primary(cells, known)
    if chosen not in known:
        raise InputError(f"the scores have no column {quoted(chosen)}; they have: {', '.join(known)}")
    expected = {name: expected_of(name, cells) for name in known}
    # a column compares detectors that have all its cells: a mean over the tests at hand would favour whoever lacks hard
    # ones
    columns = {
        name: Column({d: of[name] for d, of in cells.items() if len(of.get(name, [])) == len(expected[name])})
        for name in known
    }
    standings = {
        detector: {name: standing_of(columns[name], detector, of.get(name, []), expected[name]) for name in known}
        for detector, of in cells.items()
    }
    complete = [detector for detector in cells if detector in columns[chosen].names]
    # tests of the ranking column alone; other columns are descriptive and not ranked
    differences, errors = _differences(columns[chosen])
    lines = _lines(complete, standings, chosen, differences)
    # incomplete detectors are shown last, without a rank
    rest = sorted(set(cells) - set(complete))
    lines += [Line(detector=name, rank=None, rank_low=None, rank_high=None, columns=standings[name]) for name in rest]
    lines = [_within(line) for line in lines]
    return Leaderboard(
        primary=chosen,
        seeds=sorted({where.seed for where in expected[chosen]}),
        families=columns[chosen].families,
        tests={
            (cell.trained_on, cell.where.tested_on, cell.where.perturbation): cell.family
            for of in cells.values()
            for cell in of.get(chosen, [])
        },
        tests_of={name: {where.tested_on for where in expected[name]} for name in known},
        columns={name: meanings[name] if meanings else meaning_of_column(name) for name in known},
        lines=lines,
        differences=differences,
        many=_many({detector: cells[detector][chosen] for detector in complete}),
        spreads=_spreads(lines, known),
        detectable=means.detectable(errors) if errors else None,
    )


def _primary(cells: Mapping[str, Mapping[str, Sequence[Scored]]], known: Sequence[str]) -> str:
    """Return the first of `PRIMARIES` that at least half of the detectors have."""
    # a column that few detectors have would leave most without a rank
    common = [name for name in PRIMARIES if 2 * sum(name in of for of in cells.values()) >= len(cells)]
    return next(iter([name for name in common if name in known]), known[0])


def expected_of(column: str, cells: Mapping[str, Mapping[str, Sequence[Scored]]]) -> list[Where]:
    """Return all cells that any detector has in a column."""
    return sorted({cell.where for of in cells.values() for cell in of.get(column, [])})


def standing_of(column: Column, name: str, cells: Sequence[Scored], expected: Sequence[Where]) -> Standing:
    """Return the standing of a detector in a column, or what is missing there.

    Args:
        column: of the detectors that have all cells.
        name: of the detector.
        cells: of the detector in the column.
        expected: cells that any detector has in it.
    """
    if name not in column.names:
        missing = len(expected) - len(cells)
        return Standing(value=None, low=None, high=None, sd=None, cells=len(cells), missing=missing)
    mean = column.mean(name)
    value, low, high = (round(number, 12) for number in (mean.value, mean.low, mean.high))  # a mean of ones is one
    family = column.mean_of_families(name)
    ends = {"family_low": round(family.low, 12), "family_high": round(family.high, 12)} if family else {}
    return Standing(value=value, low=low, high=high, **ends, sd=mean.sd, cells=len(cells), missing=0)


def _within(line: Line) -> Line:
    """Clip the intervals of a line to [0, 1]."""
    return line.model_copy(
        update={"columns": {name: within_bounds(standing) for name, standing in line.columns.items()}}
    )


def within_bounds(standing: Standing) -> Standing:
    """Clip the intervals of a standing to [0, 1]: with few seeds a symmetric one exceeds the range of an AUC."""
    ends = standing.model_dump(include={"low", "high", "family_low", "family_high"}, exclude_none=True)
    return standing.model_copy(update={name: min(1.0, max(0.0, end)) for name, end in ends.items()})


def _differences(column: Column) -> tuple[list[PairDifference], list[float]]:
    """Return the differences of all pairs of detectors in a column, and the standard errors of these differences."""
    pairs = [(a, b, column.difference(a, b)) for a, b in itertools.combinations(column.names, 2)]
    if not pairs:
        return [], []
    # p-values of the differences over images and seeds, adjusted over all pairs of the table
    adjusted = holm([difference.p for *_, difference in pairs])
    differences = [
        PairDifference(
            a=a, b=b, difference=mean.value, low=max(-1.0, mean.low), high=min(1.0, mean.high), p_holm=float(p)
        )
        for (a, b, mean), p in zip(pairs, adjusted, strict=True)
    ]
    over_families = [column.difference_of_families(a, b) for a, b, _ in pairs]
    # only where every pair has one: Holm's family must be all pairs or none
    intervals = [mean for mean in over_families if mean is not None]
    if len(intervals) == len(differences):
        adjusted = holm([mean.p for mean in intervals])
        differences = [
            pair.model_copy(
                update={
                    "family_low": max(-1.0, mean.low),
                    "family_high": min(1.0, mean.high),
                    "family_p_holm": float(p),
                }
            )
            for pair, mean, p in zip(differences, intervals, adjusted, strict=True)
        ]
    # half the width over z: the standard error that a normal interval of this width would have
    return differences, [(mean.high - mean.low) / (2 * two_sided(0.95)) for *_, mean in pairs]


def _lines(
    detectors: Sequence[str],
    standings: Mapping[str, Mapping[str, Standing]],
    primary: str,
    differences: Sequence[PairDifference],
) -> list[Line]:
    values = [math.nan if (value := standings[name][primary].value) is None else value for name in detectors]
    index = {name: i for i, name in enumerate(detectors)}
    # [k, k], symmetric: whether the adjusted test of a pair is significant
    differ = np.zeros((len(detectors), len(detectors)), dtype=bool)
    for pair in differences:
        i, j = index[pair.a], index[pair.b]
        differ[i, j] = differ[j, i] = pair.p_holm < ALPHA
    ranks, intervals = shared_ranks(values, differ), rank_intervals(values, differ)
    lines = [
        Line(detector=name, rank=rank, rank_low=low, rank_high=high, columns=dict(standings[name]))
        for name, rank, (low, high) in zip(detectors, ranks, intervals, strict=True)
    ]
    return [line for _, line in sorted(zip(values, lines, strict=True), key=lambda pair: (-pair[0], pair[1].detector))]


def _spreads(lines: Sequence[Line], columns: Sequence[str]) -> list[Spread]:
    """Return the spread of each column with at least three detectors, the column that separates most first."""
    spreads = []
    for column in columns:
        there = [line.columns[column] for line in lines if line.detector not in CONTROLS]
        parts = [(standing.value, standing.low, standing.high) for standing in there]
        # rows of value, low, high: [detectors with a value, 3]
        full = np.array([part for part in parts if None not in part], dtype=np.float64).reshape(-1, 3)
        if len(full) > 2:
            sd, width = float(full[:, 0].std(ddof=1)), float(np.median(full[:, 2] - full[:, 1]))
            ratio = sd / width if width > 0 else None
            spreads.append(Spread(column=column, sd=sd, width=width, ratio=ratio, detectors=len(full)))
    # a column without width separates all of them: infinite, hence first
    return sorted(spreads, key=lambda standing: -(math.inf if standing.ratio is None else standing.ratio))


def _many(cells: Mapping[str, Sequence[Scored]]) -> ManyTest | None:
    """Run Friedman's and Nemenyi's tests over the cells of a column; None below three detectors or two cells."""
    if len(cells) < 3:
        return None
    tables = [_blocks(of) for of in cells.values()]
    # complete detectors have the same blocks, so that those of the first are those of all
    blocks = sorted(tables[0])
    if len(blocks) < 2:
        return None
    # [N, k]: blocks by detectors
    test: Friedman = friedman([[table[block] for table in tables] for block in blocks])
    return ManyTest(
        sets=len(blocks),
        p=test.p_f,
        critical_difference=critical_difference(len(cells), len(blocks), alpha=ALPHA),
        mean_ranks=dict(zip(cells, map(float, test.mean_ranks), strict=True)),
    )


def _blocks(cells: Sequence[Scored]) -> dict[tuple[object, ...], float]:
    """Return the AUC of each block of Friedman's test: a test, or a family in one seed where means are over families.

    Generators of one family are not independent blocks, as Friedman's test requires.
    """
    groups: dict[tuple[object, ...], list[float]] = {}
    for cell in cells:
        groups.setdefault((cell.family, cell.where.seed) if cell.family else cell.where, []).append(cell.auc)
    return {block: float(np.mean(aucs)) if len(aucs) > 1 else aucs[0] for block, aucs in groups.items()}
