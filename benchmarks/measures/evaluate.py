"""From score rows to cells: one cell a detector, training and test generator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from benchmarks.measures import averages, calibration, metrics, resampling, statistics
from benchmarks.measures.interval import Interval, two_sided
from benchmarks.measures.metrics import Floats, Ints
from benchmarks.measures.resampling import codes, units_of
from benchmarks.measures.results import Cell, Comparison
from benchmarks.protocol import CLEAN, EXTERNAL_PREFIX, SHUFFLED, TestGrid, TrainSet, choose_interval, condition_of
from detect.views import coins
from forge.errors import InputError

RESAMPLES = 2000


def evaluate(scores: pd.DataFrame) -> list[Cell]:
    """Compute every cell that the rows allow.

    Args:
        scores: rows of scores.parquet, splits `val` and `test`; real rows have an empty generator.

    Returns:
        Cells in the order of detector, trained_on, seed, perturbation, tested_on.

    Raises:
        InputError: a detector has no val rows of its training forgeries, or scores are not usable.
    """
    cells = []
    tests = TestGrid.of_scores(scores)
    for key, rows in scores.groupby(["detector", "trained_on", "seed"], sort=True):
        detector, trained_on, seed = map(str, key)
        training = TrainSet.parse(trained_on)
        if training.variant == SHUFFLED:
            rows = rows.assign(label=coins(rows, 0).astype("int8"))
        val = rows[(rows["split"] == "val") & (rows["perturbation"] == training.perturbation)]
        threshold = _threshold(val, detector, training)
        for perturbation, test in rows[rows["split"] == "test"].groupby("perturbation", sort=True):
            reals = test[test["generator"] == ""]
            elsewhere = reals["source"].str.startswith(EXTERNAL_PREFIX)
            for tested_on, forged in test[test["generator"] != ""].groupby("generator", sort=True):
                own = reals["source"] == tested_on if str(tested_on).startswith(EXTERNAL_PREFIX) else ~elsewhere
                if not own.any():
                    continue  # its real photos could not be scored
                pair = pd.concat([reals[own], forged], ignore_index=True)
                names = {
                    "detector": detector,
                    "trained_on": trained_on,
                    "tested_on": str(tested_on),
                    "perturbation": str(perturbation),
                    "condition": str(condition_of(training, str(tested_on), str(perturbation), tests)),
                    "seed": int(seed),
                }
                cells.append(_cell(pair, names, threshold))
    return cells


def grid(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of tests that means over generators take: without snapshots and external pairs."""
    return scores[
        ~scores["generator"].isin(TestGrid.of_scores(scores).beside) & ~scores["source"].str.startswith(EXTERNAL_PREFIX)
    ]


def _threshold(val: pd.DataFrame, detector: str, training: TrainSet) -> float:
    known = val["generator"].isin(training.generators)
    if len(val) and not known.any():  # trained elsewhere: its own probabilities are all that was fixed beforehand
        certain = val["score"][val["probability"] >= 0.5]
        return float(certain.min()) if len(certain) else float(np.nextafter(val["score"].max(), np.inf))
    seen = val[(val["generator"] == "") | known]
    if seen["label"].nunique() < 2:
        raise InputError(f"{detector} trained on {training} has no val scores of both classes; score val too")
    return metrics.best_threshold(seen["label"].to_numpy(), seen["score"].to_numpy())


def identities(rows: pd.DataFrame) -> NDArray[np.object_]:
    """The person of each row, None where unknown (such a row is a person of its own)."""
    column = rows["identity"]
    return np.array([None if pd.isna(name) or name == "" else name for name in column], dtype=object)


def _cell(rows: pd.DataFrame, names: dict[str, Any], threshold: float) -> Cell:
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    probability = rows["probability"].to_numpy()
    groups = identities(rows)
    interval = statistics.auc_interval(label, score, groups=groups, resamples=RESAMPLES, seed=0)
    # a tenth of a second a cell: not where hundreds of perturbed ones stand beside a clean one
    wanted = names["perturbation"] == CLEAN
    eer = resampling.eer_bootstrap(label, score, groups=groups, resamples=RESAMPLES, seed=0) if wanted else None
    right = (probability >= 0.5) == (label == 1)
    accuracy = balanced_interval(right, label, groups=groups)
    return Cell(
        **names,
        n_real=int((label == 0).sum()),
        n_forged=int((label == 1).sum()),
        auc=metrics.auc(label, score),
        auc_low=interval.low,
        auc_high=interval.high,
        auc_method=interval.method,
        ap=metrics.average_precision(label, score),
        ap_balanced=metrics.average_precision(label, score, prevalence=0.5),
        eer=metrics.eer(label, score),
        eer_low=eer.low if eer else None,
        eer_high=eer.high if eer else None,
        tpr_at_fpr_1pct=metrics.tpr_at_fpr(label, score, 0.01),
        tpr_at_fpr_01pct=metrics.tpr_at_fpr(label, score, 0.001),
        pauc=metrics.partial_auc(label, score),
        accuracy=metrics.balanced_accuracy(label, probability, 0.5),
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        threshold=threshold,
        balanced_accuracy=metrics.balanced_accuracy(label, score, threshold),
        brier=calibration.brier(label, probability),
        ece=calibration.ece(label, probability),
        log_loss=calibration.log_loss(label, probability),
        brier_balanced=calibration.brier(label, probability, balanced=True),
        ece_balanced=calibration.ece(label, probability, balanced=True),
        log_loss_balanced=calibration.log_loss(label, probability, balanced=True),
    )


def balanced_interval(
    hit: ArrayLike, label: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Interval of a balanced accuracy, the mean of the shares of hits among real and among forged images.

    Both shares have the interval of `proportion_interval`; their distances to the ends are added in squares (Newcombe
    1998, method 10, for a mean instead of a difference).

    Args:
        hit: whether each image is on its own side of the threshold, shape [n].
        label: 1 forged, 0 real, shape [n]; both classes must be there.
        groups: identity of each row, shape [n].
        level: nominal coverage.
    """
    hits, forged = np.asarray(hit, dtype=bool), np.asarray(label) == 1
    people = None if groups is None else np.asarray(groups)
    shares, ends = [], []
    for of_class in (forged, ~forged):
        shares.append(float(hits[of_class].mean()))
        ends.append(
            resampling.proportion_interval(
                hits[of_class], groups=None if people is None else people[of_class], level=level
            )
        )
    middle = sum(shares) / 2
    low, high = (
        math.hypot(*(share - getattr(end, name) for share, end in zip(shares, ends, strict=True))) / 2
        for name in ("low", "high")
    )
    return Interval(max(0.0, middle - low), min(1.0, middle + high), ends[0].method, level)


def compare(scores: pd.DataFrame) -> list[Comparison]:
    """Compare every two detectors with the same training on the same test images.

    Args:
        scores: rows of scores.parquet.

    Returns:
        Paired differences, Holm-adjusted over all of them: DeLong's test where the protocol's intervals of both are
        DeLong's, else the same test with the intervals that the protocol has for small or perfectly separated sets
        (`averages.combine`), as in the leaderboard.
    """
    usual = ~scores["trained_on"].str.endswith(f":{SHUFFLED}")
    test = scores[(scores["split"] == "test") & (scores["perturbation"] == CLEAN) & usual]
    found: list[tuple[tuple[str, str, int], str, str, averages.Mean]] = []
    for duel, forged in test[test["label"] == 1].groupby(["trained_on", "generator", "seed"], sort=True):
        trained_on, tested_on, seed = map(str, duel)
        real = (test["label"] == 0) & (test["trained_on"] == trained_on) & (test["seed"] == int(seed))
        both = pd.concat([test[real], forged])
        wide = both.pivot(index=["label", "sample_id"], columns="detector", values="score")
        wide = wide.dropna(axis=1)  # a detector that was not scored on these forgeries has no test
        label = wide.index.get_level_values("label").to_numpy()
        people = both.drop_duplicates(["label", "sample_id"]).set_index(["label", "sample_id"]).loc[wide.index]
        names = sorted(map(str, wide.columns))
        estimates = _estimates(label, [wide[name].to_numpy() for name in names], identities(people))
        for i, j in itertools.combinations(range(len(names)), 2):
            difference = averages.combine(estimates.of([i, j]), [1, -1])
            found.append(((trained_on, tested_on, int(seed)), names[i], names[j], difference))
    if not found:
        return []
    adjusted = statistics.holm([paired.p for *_, paired in found])
    return [
        Comparison(
            trained_on=trained_on,
            tested_on=tested_on,
            seed=seed,
            a=a,
            b=b,
            difference=paired.value,
            low=max(-1.0, paired.low),
            high=min(1.0, paired.high),
            p_holm=float(p),
        )
        for ((trained_on, tested_on, seed), a, b, paired), p in zip(found, adjusted, strict=True)
    ]


def _estimates(label: Ints, scores: Sequence[Floats], people: NDArray[np.object_]) -> averages.Estimates:
    """AUCs of detectors on the same images, with the protocol's intervals and their covariance."""
    units = units_of(label == 1, codes(people, label.size))
    placed = [statistics.components(label, score) for score in scores]
    added = [averages.influence_of(label, one) for one in placed]
    covariance = averages.covariance([units.of_row] * len(placed), added)
    m = int(np.count_nonzero(label == 1))
    ends = []
    for i, one in enumerate(placed):
        method = choose_interval(label.size - m, m, variance=one.variance, repeated=False, people=0)
        if method == "Newcombe":  # the covariance is over people where they repeat, so only counts are adapted
            ends.append(statistics.auc_newcombe(one.auc, units.in_forged, units.in_real))
        else:
            half = two_sided(0.95) * math.sqrt(covariance[i, i])  # DeLong's, over people where they repeat
            ends.append(Interval(max(0.0, one.auc - half), min(1.0, one.auc + half), "DeLong", 0.95))
    return averages.estimates_of([one.auc for one in placed], ends, covariance)
