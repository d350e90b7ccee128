"""The leaderboard: detectors by the mean AUC of each condition, ranked by the primary one, from score rows alone.

A column is a condition; its value is the mean AUC over all its cells (test generators, trainings, perturbations) in
every seed, with an interval that covers the chance of images and of seeds (`averages`). Ranks are of the primary
column: detectors whose difference from the leader is not significant, in paired tests adjusted after Holm over all
pairs, share its rank. A detector that lacks a cell of a column has no value there; it is never averaged over the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.measures import averages, statistics
from benchmarks.measures.averages import Estimates
from benchmarks.measures.evaluate import identities
from benchmarks.measures.interval import Interval
from benchmarks.measures.metrics import Floats, Ints
from benchmarks.measures.ranks import Friedman, critical_difference, friedman, rank_intervals, shared_ranks
from benchmarks.measures.statistics import holm
from benchmarks.measures.trainings import CLEAN, EQUALISED, SHUFFLED, Training
from forge.errors import InputError

ALPHA = 0.05
PRIMARIES = ("leave-one-out", "cross", "same")  # the first that a suite has ranks its detectors
COLUMNS = {
    "leave-one-out": "trained on all generators but the tested one, or elsewhere",
    "cross": "trained on one generator, tested on each other one",
    "same": "trained on one generator, tested on fresh forgeries of it",
    "union": "trained on all generators, tested on fresh forgeries of each",
    "robust": "trained on all generators, test images perturbed",
    "equalised": "trained on all generators, both classes end with one JPEG quality in training and test",
}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Standing(_Record):
    """A detector in one column."""

    value: float | None = Field(description="mean AUC over the cells of the column and over seeds; null: incomplete")
    low: float | None = Field(description="lower end of its 95 % interval, over images and seeds")
    high: float | None
    sd: float | None = Field(description="standard deviation over seeds; null with one seed")
    cells: int = Field(description="cells that are there")
    missing: int = Field(description="cells that other detectors have and this one lacks")


class Line(_Record):
    """A detector."""

    detector: str
    rank: int | None = Field(description="in the primary column; detectors not told apart from the leader share it")
    rank_low: int | None = Field(description="best rank that the tests leave open")
    rank_high: int | None = Field(description="worst rank that the tests leave open")
    columns: dict[str, Standing]


class Duel(_Record):
    """Two detectors in the primary column."""

    a: str
    b: str
    difference: float = Field(description="mean AUC of a minus that of b")
    low: float
    high: float
    p_holm: float = Field(description="two-sided, adjusted after Holm over all pairs of the table")


class ManyTest(_Record):
    """Friedman's test over the test sets of the primary column, and Nemenyi's critical difference of mean ranks."""

    sets: int
    p: float = Field(description="of Iman and Davenport's F")
    critical_difference: float
    mean_ranks: dict[str, float]


class Leaderboard(_Record):
    """The table."""

    primary: str
    seeds: list[int]
    columns: dict[str, str] = Field(description="name -> what it means")
    lines: list[Line] = Field(description="best first; incomplete ones last")
    duels: list[Duel]
    many: ManyTest | None
    detectable: float | None = Field(description="difference of the primary that a test finds four times in five")


class Where(NamedTuple):
    """Which cell of a column; `trained_on` only in columns where a test set has several trainings."""

    trained_on: str
    tested_on: str
    perturbation: str
    seed: int


@dataclass(frozen=True)
class Scored:
    """One detector on one test set: its AUC, and what each image adds to its error."""

    where: Where
    trained_on: str
    auc: float
    interval: Interval
    influence: Floats
    units: Ints


def column_of(training: Training, tested_on: str, perturbation: str, generators: frozenset[str]) -> str:
    """The column a cell belongs to; empty: none (a control, or one training of several that no condition asks for)."""
    if training.variant == SHUFFLED:
        return ""
    if training.images is not None:
        return f"budget {training.images}"
    if training.variant == EQUALISED:
        return "equalised" if perturbation == EQUALISED else ""
    seen = set(training.generators)
    if perturbation != CLEAN:
        return "robust"
    if tested_on in seen:
        return "same" if len(seen) == 1 else "union" if seen == generators else ""
    if seen == generators - {tested_on}:
        return "leave-one-out"
    if not seen & generators:  # trained elsewhere: every generator is one that was left out
        return "leave-one-out"
    return "cross" if len(seen) == 1 else ""


def leaderboard(scores: pd.DataFrame, *, primary: str | None = None) -> Leaderboard:
    """Rank detectors.

    Args:
        scores: rows of scores.parquet of any number of seeds.
        primary: column that ranks; by default the first of `PRIMARIES` there is.

    Raises:
        InputError: no test rows, or no such column.
    """
    return ranked(cells_of(scores), primary=primary)


def ranked(cells: Mapping[str, Mapping[str, Sequence[Scored]]], *, primary: str | None = None) -> Leaderboard:
    """`leaderboard` of what `cells_of` returned."""
    known = _ordered({column for of in cells.values() for column in of})
    if not known:
        raise InputError("the scores have no test rows of real and forged images; nothing can be ranked")
    chosen = primary or _primary(cells, known)
    if chosen not in known:
        raise InputError(f"the scores have no column {chosen!r}; they have: {', '.join(known)}")
    expected = {name: _expected(name, cells) for name in known}
    standings = {
        detector: {name: _standing(of.get(name, []), expected[name]) for name in known}
        for detector, of in cells.items()
    }
    complete = [detector for detector in cells if standings[detector][chosen].value is not None]
    duels, errors = _duels({detector: cells[detector][chosen] for detector in complete})
    lines = _lines(complete, standings, chosen, duels)
    rest = sorted(set(cells) - set(complete))
    lines += [Line(detector=name, rank=None, rank_low=None, rank_high=None, columns=standings[name]) for name in rest]
    return Leaderboard(
        primary=chosen,
        seeds=sorted({where.seed for where in expected[chosen]}),
        columns={name: COLUMNS.get(name, f"trained on {name.partition(' ')[2]} images a class") for name in known},
        lines=lines,
        duels=duels,
        many=_many({detector: cells[detector][chosen] for detector in complete}),
        detectable=averages.detectable(errors) if errors else None,
    )


def _primary(cells: Mapping[str, Mapping[str, Sequence[Scored]]], known: Sequence[str]) -> str:
    """The first of `PRIMARIES` that at least half of the detectors have."""
    common = [name for name in PRIMARIES if 2 * sum(name in of for of in cells.values()) >= len(cells)]
    return next(iter([name for name in common if name in known]), known[0])


def _ordered(columns: set[str]) -> list[str]:
    """Columns in the order of the protocol; budgets last, the smallest first."""
    order = {name: i for i, name in enumerate(COLUMNS)}
    return sorted(columns - {""}, key=lambda name: (order.get(name, 99), len(name), name))


def cells_of(scores: pd.DataFrame) -> dict[str, dict[str, list[Scored]]]:
    """Detector -> column -> its cells."""
    test = scores[scores["split"] == "test"]
    trainings = {text: Training.parse(text) for text in test["trained_on"].unique()}
    tested = set(test["generator"].unique()) - {""}
    generators = frozenset(tested & {name for one in trainings.values() for name in one.generators}) or frozenset(
        tested
    )
    test = test.assign(unit=_units(test))
    found: dict[str, dict[str, list[Scored]]] = {}
    for key, rows in test.groupby(["detector", "trained_on", "seed", "perturbation"], sort=True):
        detector, trained_on, seed, perturbation = map(str, key)
        for tested_on, pair in _pairs(rows):
            column = column_of(trainings[trained_on], tested_on, perturbation, generators)
            if column:
                cell = _cell(pair, column, trained_on, Where("", tested_on, perturbation, int(seed)))
                found.setdefault(detector, {}).setdefault(column, []).append(cell)
    return found


def _units(test: pd.DataFrame) -> NDArray[np.int64]:
    """One number an identity, or an image where the identity is unknown; forgeries of two seeds are two images."""
    forged = test["generator"].to_numpy() != ""
    image = test["generator"].astype(str) + "\0" + test["source"].astype(str) + "\0" + test["sample_id"].astype(str)
    image += np.where(forged, "\0" + test["seed"].astype(str), "")
    who = identities(test)
    names = np.where(pd.isna(who), "image\0" + image, "person\0" + pd.Series(who, index=test.index).astype(str))
    return np.asarray(pd.factorize(names)[0], dtype=np.int64)


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    real = rows[rows["generator"] == ""]
    for tested_on, forged in rows[rows["generator"] != ""].groupby("generator", sort=True):
        if len(real):
            yield str(tested_on), pd.concat([real, forged])


def _cell(rows: pd.DataFrame, column: str, trained_on: str, where: Where) -> Scored:
    if column == "cross":
        where = where._replace(trained_on=trained_on)
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    units = rows["unit"].to_numpy()
    interval = statistics.auc_interval(label, score, groups=units)
    found = statistics.components(label, score)
    return Scored(where, trained_on, found.auc, interval, averages.influence(label, score), units)


def _expected(column: str, cells: Mapping[str, Mapping[str, Sequence[Scored]]]) -> list[Where]:
    """Every cell that any detector has in a column."""
    return sorted({cell.where for of in cells.values() for cell in of.get(column, [])})


def _estimates(cells: Sequence[Scored]) -> Estimates:
    covariance = averages.covariance([cell.units for cell in cells], [cell.influence for cell in cells])
    return averages.estimates_of([cell.auc for cell in cells], [cell.interval for cell in cells], covariance)


def _by_seed(cells: Sequence[Scored]) -> Floats:
    """Weights of the mean in each seed, shape [seeds, cells]."""
    seeds = np.array([cell.where.seed for cell in cells])
    rows = (np.unique(seeds)[:, None] == seeds).astype(np.float64)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def _standing(cells: Sequence[Scored], expected: Sequence[object]) -> Standing:
    missing = len(expected) - len(cells)
    if missing:
        return Standing(value=None, low=None, high=None, sd=None, cells=len(cells), missing=missing)
    mean = averages.over_seeds(_estimates(cells), _by_seed(cells))
    value, low, high = (round(number, 12) for number in (mean.value, mean.low, mean.high))  # a mean of ones is one
    return Standing(value=value, low=low, high=high, sd=mean.sd, cells=len(cells), missing=0)


def _duels(cells: Mapping[str, Sequence[Scored]]) -> tuple[list[Duel], list[float]]:
    """Every two detectors in a column, and the standard errors of their differences."""
    pairs, errors = [], []
    for a, b in itertools.combinations(sorted(cells), 2):
        difference = difference_of(cells[a], cells[b])
        pairs.append((a, b, difference))
        errors.append((difference.high - difference.low) / (2 * 1.959964))
    if not pairs:
        return [], []
    adjusted = holm([difference.p for _, _, difference in pairs])
    duels = [
        Duel(a=a, b=b, difference=one.value, low=one.low, high=one.high, p_holm=float(p))
        for (a, b, one), p in zip(pairs, adjusted, strict=True)
    ]
    return duels, errors


def difference_of(of_a: Sequence[Scored], of_b: Sequence[Scored]) -> averages.SeedMean:
    """Mean AUC of one detector minus that of another over the same cells, with interval and p."""
    weights = np.hstack([_by_seed(of_a), -_by_seed(of_b)])
    return averages.over_seeds(_estimates([*of_a, *of_b]), weights)


def _lines(
    detectors: Sequence[str], standings: Mapping[str, Mapping[str, Standing]], primary: str, duels: Sequence[Duel]
) -> list[Line]:
    values = [float(standings[name][primary].value or math.nan) for name in detectors]
    place = {name: i for i, name in enumerate(detectors)}
    differ = np.zeros((len(detectors), len(detectors)), dtype=bool)
    for duel in duels:
        i, j = place[duel.a], place[duel.b]
        differ[i, j] = differ[j, i] = duel.p_holm < ALPHA
    ranks, intervals = shared_ranks(values, differ), rank_intervals(values, differ)
    lines = [
        Line(detector=name, rank=rank, rank_low=low, rank_high=high, columns=dict(standings[name]))
        for name, rank, (low, high) in zip(detectors, ranks, intervals, strict=True)
    ]
    return [line for _, line in sorted(zip(values, lines, strict=True), key=lambda pair: (-pair[0], pair[1].detector))]


def _many(cells: Mapping[str, Sequence[Scored]]) -> ManyTest | None:
    """Friedman and Nemenyi over the cells of a column; None with fewer than three detectors or two cells."""
    if len(cells) < 3:
        return None
    tables = [{cell.where: cell.auc for cell in of} for of in cells.values()]
    blocks = sorted(tables[0])
    if len(blocks) < 2:
        return None
    found: Friedman = friedman([[table[block] for table in tables] for block in blocks])
    return ManyTest(
        sets=len(blocks),
        p=found.p_f,
        critical_difference=critical_difference(len(cells), len(blocks), alpha=ALPHA),
        mean_ranks=dict(zip(cells, map(float, found.mean_ranks), strict=True)),
    )
