"""AUC, FPR and TPR of each detector per group of people, and the largest gap between groups.

A group is a value of a label column of the real faces (gender, age, race). Its AUC sets the real faces of the group
against all forgeries; FPR is the share of its real faces called forged at the threshold fixed on validation data; TPR
the share of forgeries called forged that carry the same label, where a generator was conditioned on it. All are means
over the detector's clean tests; a person or an image in several tests counts once. Intervals are at 95 %; those of a
gap are widened for having picked the largest of all pairs (Bonferroni) and take the groups as independent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.evaluation.cells import units_of_images
from benchmarks.evaluation.evaluate import fits_of
from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.pooled import mean_auc_at
from benchmarks.evaluation.proportions import proportion_interval
from benchmarks.evaluation.results import Gap, GroupFact, TestResult
from benchmarks.evaluation.roc import Bools, Floats, Ints
from benchmarks.protocol import CLEAN, TrainSet
from detect.scoring import SCORE_COLUMNS

MIN_IMAGES = 30  # real images of a group; smaller groups are left out
MAX_GROUPS = 12  # values of a label column; columns with more are left out
LEVEL = 0.95
# FairFace: the photos on which its authors tested commercial services; and the clip that a frame is of
_TECHNICAL = ("service_test", "clip")


def groups(scores: pd.DataFrame, cells: Sequence[TestResult]) -> tuple[list[GroupFact], list[Gap]]:
    """Evaluate each detector per group, over the clean tests of generators that it was not trained on (else of all).

    Args:
        scores: rows of scores.parquet with the label columns of the real faces.
        cells: of the same rows, for their thresholds.

    Returns:
        One fact per detector, column and group; one gap per detector, column and measure; empty without labels.
    """
    test = scores[(scores["split"] == "test") & (scores["perturbation"] == CLEAN)]
    columns = _columns(test)
    # the threshold of a fit, fixed on val: groups are never given thresholds of their own
    thresholds = {(cell.detector, cell.trained_on, cell.seed): cell.threshold for cell in cells}
    facts: list[GroupFact] = []
    gaps: list[Gap] = []
    if not columns:
        return facts, gaps
    rows = _Rows.of(test, columns)
    for detector, pairs in _tests(test, rows, thresholds).items():
        for column, values in columns.items():
            measured = [_fact(rows, detector, column, values, i, pairs) for i in range(len(values))]
            facts += [fact for fact, _ in measured]
            gaps += _gaps(str(detector), column, measured)
    return facts, gaps


def _columns(test: pd.DataFrame) -> dict[str, list[str]]:
    """Return the label columns of the real faces with at least two groups of sufficient size -> those groups."""
    # each real photo once: score rows repeat it for every detector
    real = test[test["generator"] == ""].drop_duplicates(["source", "sample_id"])
    groups_of = {}
    for column in test.columns:
        if column in SCORE_COLUMNS or column in _TECHNICAL or not 1 < real[column].nunique() <= MAX_GROUPS:
            continue
        counts = real[column].value_counts()
        values = sorted(str(value) for value, count in counts.items() if count >= MIN_IMAGES)
        if len(values) > 1:
            groups_of[str(column)] = values
    return groups_of


class _Rows(NamedTuple):
    """Columns of the rows of clean tests as numbers, [n]: each group of each detector is a selection of many rows.

    Attributes:
        real: whether the face is real.
        label: 1 forged, 0 real.
        score: of the detector.
        called: whether it is called forged; filled in by `_tests`.
        person: of `units_of_images`.
        image: number of its id.
        group: label column -> place of its label among the groups, -1: none of them.
    """

    real: Bools
    label: Ints
    score: Floats
    called: Bools
    person: Ints
    image: Ints
    group: dict[str, Ints]

    @classmethod
    def of(cls, test: pd.DataFrame, columns: Mapping[str, Sequence[str]]) -> _Rows:
        return cls(
            real=(test["generator"] == "").to_numpy(dtype=bool),
            label=test["label"].to_numpy(),
            score=test["score"].to_numpy(),
            called=np.zeros(len(test), bool),
            person=units_of_images(test),
            image=np.asarray(test["sample_id"].astype("category").cat.codes),
            group={name: _places(test[name], values) for name, values in columns.items()},
        )


def _places(column: pd.Series[Any], values: Sequence[str]) -> Ints:
    """Return the place of each label among the values, -1: none of them; in a byte each."""
    labels = column.astype("category").array
    # -1, of what is absent, takes the last place
    places = np.append(pd.Index(values).get_indexer(pd.Index(labels.categories.astype(str))), -1)
    return np.asarray(places.astype(np.int8)[labels.codes])


Pairs = Sequence[tuple[Ints, Ints]]  # of each test set the places of its real and of its forged rows


def _tests(
    test: pd.DataFrame, rows: _Rows, thresholds: Mapping[tuple[str, str, int], float]
) -> dict[str, list[tuple[Ints, Ints]]]:
    """Return detector -> its test sets, those of unseen generators where there are any; fill in its decisions."""
    unseen: dict[str, list[tuple[Ints, Ints]]] = {}
    seen: dict[str, list[tuple[Ints, Ints]]] = {}
    generator, names = pd.factorize(test["generator"], sort=True)
    for (detector, trained_on, seed), fit in fits_of(test):
        training, threshold = TrainSet.parse(trained_on), thresholds.get((detector, trained_on, seed))
        if training.variant or threshold is None:
            continue
        # decisions first: afterwards rows of several fits with different thresholds are joined
        rows.called[fit] = rows.score[fit] >= threshold
        real, forged = fit[rows.real[fit]], fit[~rows.real[fit]]
        for number in np.unique(generator[forged][generator[forged] >= 0]):
            of = seen if str(names[number]) in training.generators else unseen
            of.setdefault(detector, []).append((real, forged[generator[forged] == number]))
    # unseen generators where there are any: on seen ones nearly every detector is perfect and gaps vanish
    return dict(sorted((seen | unseen).items()))


Measured = Mapping[str, tuple[float, Interval, Interval]]  # measure -> value, interval at 95 %, and one for gaps


def _fact(
    rows: _Rows, detector: str, column: str, values: Sequence[str], chosen: int, pairs: Pairs
) -> tuple[GroupFact, Measured]:
    count, of_group = len(values), rows.group[column] == chosen
    # Bonferroni over the pairs of groups, since the largest of their differences is what is reported
    wide = 1 - (1 - LEVEL) / max(1, count * (count - 1) // 2)
    # the group's reals against all forgeries: forgeries have labels only where the generator was conditioned
    selected = [(real[of_group[real]], forged) for real, forged in pairs]
    measured: dict[str, tuple[float, Interval, Interval]] = {
        "AUC": _mean_auc(rows, [np.concatenate(pair) for pair in selected], wide)
    }
    of_real = np.concatenate([real for real, _ in selected])
    of_forged = np.concatenate([forged[of_group[forged]] for _, forged in selected])
    for name, part in (("FPR", of_real), ("TPR", of_forged)):
        if len(part) >= MIN_IMAGES:
            hits, persons = rows.called[part], rows.person[part]
            # people appear in several tests: they are the units of the interval
            usual, gap = (proportion_interval(hits, groups=persons, level=level) for level in (LEVEL, wide))
            measured[name] = (float(hits.mean()), usual, gap)
    numbers: dict[str, float | None] = {}
    for name in ("AUC", "FPR", "TPR"):
        mean, interval = measured[name][:2] if name in measured else (None, None)
        ends = (interval.low, interval.high) if interval else (None, None)
        numbers |= dict(zip((name.lower(), f"{name.lower()}_low", f"{name.lower()}_high"), (mean, *ends), strict=True))
    fact = GroupFact(
        detector=detector,
        column=column,
        group=values[chosen],
        n_real=np.unique(rows.image[of_real]).size,
        n_forged=np.unique(rows.person[of_forged]).size,
        **numbers,
    )
    return fact, measured


def _mean_auc(rows: _Rows, tests: Sequence[Ints], wide: float) -> tuple[float, Interval, Interval]:
    levels = (LEVEL, wide)
    labels, persons = ([column[of] for of in tests] for column in (rows.label, rows.person))
    means = mean_auc_at(labels, [rows.score[of] for of in tests], persons, levels)
    usual, gap = (Interval(mean.low, mean.high, "mean", level) for level, mean in zip(levels, means, strict=True))
    return means[0].value, usual, gap


def _gaps(detector: str, column: str, measured: Sequence[tuple[GroupFact, Measured]]) -> list[Gap]:
    """Return the pair of groups with the largest difference in each measure."""
    gaps = []
    for measure in ("AUC", "FPR", "TPR"):
        known = [(fact.group, *values[measure]) for fact, values in measured if measure in values]
        if len(known) < 2:
            continue
        # ordered pair (lower, higher) with the largest difference
        low, high = max(itertools.permutations(known, 2), key=lambda pair: pair[1][1] - pair[0][1])
        size = high[1] - low[1]
        # MOVER (Zou and Donner 2008), groups taken as independent: distances to the facing ends, added in squares
        below = math.hypot(high[1] - high[3].low, low[3].high - low[1])
        above = math.hypot(high[3].high - high[1], low[1] - low[3].low)
        gaps.append(
            Gap(
                detector=detector,
                column=column,
                measure=measure,
                lowest=low[0],
                highest=high[0],
                gap=size,
                low=size - below,
                high=min(1.0, size + above),
            )
        )
    return gaps
