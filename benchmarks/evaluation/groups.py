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

import pandas as pd

from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.pooled import mean_auc, people
from benchmarks.evaluation.proportions import proportion_interval
from benchmarks.evaluation.results import Gap, GroupFact, TestResult
from benchmarks.protocol import CLEAN, TrainSet
from detect.scoring import SCORE_COLUMNS

MIN_IMAGES = 30  # real images of a group; smaller groups are left out
MAX_GROUPS = 12  # values of a label column; columns with more are left out
LEVEL = 0.95
_TECHNICAL = ("service_test",)  # FairFace: the photos on which its authors tested commercial services


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
    for detector, rows in test.groupby("detector", sort=True) if columns else ():
        pairs = _tests(rows, thresholds)
        for column, values in columns.items():
            measured = [_fact(str(detector), column, value, pairs, len(values)) for value in values if pairs]
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


def _tests(rows: pd.DataFrame, thresholds: Mapping[tuple[str, str, int], float]) -> list[pd.DataFrame]:
    """Return the test sets of a detector with its decisions; of unseen generators where there are any."""
    unseen: list[pd.DataFrame] = []
    seen: list[pd.DataFrame] = []
    for key, fit in rows.groupby(["detector", "trained_on", "seed"], sort=True):
        detector, trained_on, seed = map(str, key)
        training, threshold = TrainSet.parse(trained_on), thresholds.get((detector, trained_on, int(seed)))
        if training.variant or threshold is None:
            continue
        # decisions first: afterwards rows of several fits with different thresholds are joined
        fit = fit.assign(called=fit["score"] >= threshold, person=people(fit))
        real = fit[fit["generator"] == ""]
        for tested_on, forged in fit[fit["generator"] != ""].groupby("generator", sort=True):
            pair = pd.concat([real, forged])
            (seen if str(tested_on) in training.generators else unseen).append(pair)
    # unseen generators where there are any: on seen ones nearly every detector is perfect and gaps vanish
    return unseen or seen


Measured = Mapping[str, tuple[float, Interval, Interval]]  # measure -> value, interval at 95 %, and one for gaps


def _fact(
    detector: str, column: str, value: str, pairs: Sequence[pd.DataFrame], count: int
) -> tuple[GroupFact, Measured]:
    # Bonferroni over the pairs of groups, since the largest of their differences is what is reported
    wide = 1 - (1 - LEVEL) / max(1, count * (count - 1) // 2)
    # the group's reals against all forgeries: forgeries have labels only where the generator was conditioned
    selected = [pair[(pair["generator"] != "") | (pair[column].astype(str) == value)] for pair in pairs]
    rows = pd.concat(selected)
    real = rows[rows["generator"] == ""]
    labelled = rows[(rows["generator"] != "") & (rows[column].astype(str) == value)]
    measured: dict[str, tuple[float, Interval, Interval]] = {"AUC": _mean_auc(selected, wide)}
    for name, part in (("FPR", real), ("TPR", labelled)):
        if len(part) >= MIN_IMAGES:
            hits, people = part["called"].to_numpy(), part["person"].to_numpy(dtype=object)
            # people appear in several tests: they are the units of the interval
            low, high = (proportion_interval(hits, groups=people, level=level) for level in (LEVEL, wide))
            measured[name] = (float(hits.mean()), low, high)
    numbers: dict[str, float | None] = {}
    for name in ("AUC", "FPR", "TPR"):
        mean, interval = measured[name][:2] if name in measured else (None, None)
        ends = (interval.low, interval.high) if interval else (None, None)
        numbers |= dict(zip((name.lower(), f"{name.lower()}_low", f"{name.lower()}_high"), (mean, *ends), strict=True))
    images = real.drop_duplicates("sample_id")
    fact = GroupFact(
        detector=detector,
        column=column,
        group=value,
        n_real=len(images),
        n_forged=labelled["person"].nunique(),
        **numbers,
    )
    return fact, measured


def _mean_auc(pairs: Sequence[pd.DataFrame], wide: float) -> tuple[float, Interval, Interval]:
    means = [(level, mean_auc(pairs, level=level)) for level in (LEVEL, wide)]
    usual, gap = (Interval(mean.low, mean.high, "mean", level) for level, mean in means)
    return means[0][1].value, usual, gap


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
