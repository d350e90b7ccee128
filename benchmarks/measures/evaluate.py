"""From score rows to cells: one cell a detector, training and test generator."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.measures import metrics, statistics
from benchmarks.measures.results import Cell, Comparison
from forge.errors import InputError

RESAMPLES = 2000


def evaluate(scores: pd.DataFrame) -> list[Cell]:
    """Compute every cell that the rows allow.

    Args:
        scores: rows of scores.parquet, splits `val` and `test`; real rows have an empty generator.

    Returns:
        Cells in the order of detector, trained_on, tested_on.

    Raises:
        InputError: a detector has no val rows of its training forgeries, or scores are not usable.
    """
    cells = []
    for key, rows in scores.groupby(["detector", "trained_on", "seed"], sort=True):
        detector, trained_on, seed = map(str, key)
        clean = rows[rows["perturbation"] == "none"]
        threshold = _threshold(clean[clean["split"] == "val"], detector, trained_on)
        test = clean[clean["split"] == "test"]
        real = test[test["label"] == 0]
        for tested_on, forged in test[test["label"] == 1].groupby("generator", sort=True):
            pair = pd.concat([real, forged], ignore_index=True)
            cells.append(_cell(pair, (str(detector), str(trained_on), str(tested_on), int(seed)), threshold))
    return cells


def _threshold(val: pd.DataFrame, detector: str, trained_on: str) -> float:
    known = val["generator"].isin(trained_on.split("+"))
    if len(val) and not known.any():  # trained elsewhere: its own probabilities are all that was fixed beforehand
        certain = val["score"][val["probability"] >= 0.5]
        return float(certain.min()) if len(certain) else float(np.nextafter(val["score"].max(), np.inf))
    seen = val[(val["label"] == 0) | known]
    if seen["label"].nunique() < 2:
        raise InputError(f"{detector} trained on {trained_on} has no val scores of both classes; score val too")
    return metrics.best_threshold(seen["label"].to_numpy(), seen["score"].to_numpy())


def identities(rows: pd.DataFrame) -> NDArray[np.object_]:
    """The person of each row, None where unknown (such a row is a person of its own)."""
    column = rows["identity"]
    return np.array([None if pd.isna(name) or name == "" else name for name in column], dtype=object)


def _cell(rows: pd.DataFrame, names: tuple[str, str, str, int], threshold: float) -> Cell:
    detector, trained_on, tested_on, seed = names
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    probability = rows["probability"].to_numpy()
    groups = identities(rows)
    interval = statistics.auc_interval(label, score, groups=groups, resamples=RESAMPLES, seed=0)
    eer = statistics.bootstrap_interval(metrics.eer, label, score, groups=groups, resamples=RESAMPLES, seed=0)
    right = (probability >= 0.5) == (label == 1)
    accuracy = statistics.proportion_interval(right, groups=groups)
    return Cell(
        detector=detector,
        trained_on=trained_on,
        tested_on=tested_on,
        condition="same" if tested_on in trained_on.split("+") else "cross",
        seed=seed,
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
        accuracy=float(right.mean()),
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        threshold=threshold,
        balanced_accuracy=metrics.balanced_accuracy(label, score, threshold),
        brier=metrics.brier(label, probability),
        ece=metrics.ece(label, probability),
        log_loss=metrics.log_loss(label, probability),
    )


def compare(scores: pd.DataFrame) -> list[Comparison]:
    """Compare every two detectors with the same training on the same test images.

    Args:
        scores: rows of scores.parquet.

    Returns:
        Paired DeLong differences, Holm-adjusted over all of them.
    """
    test = scores[(scores["split"] == "test") & (scores["perturbation"] == "none")]
    found: list[tuple[tuple[str, str, int], str, str, statistics.PairedDifference]] = []
    for duel, forged in test[test["label"] == 1].groupby(["trained_on", "generator", "seed"], sort=True):
        trained_on, tested_on, seed = map(str, duel)
        real = (test["label"] == 0) & (test["trained_on"] == trained_on) & (test["seed"] == int(seed))
        both = pd.concat([test[real], forged])
        wide = both.pivot(index=["label", "sample_id"], columns="detector", values="score")
        label = wide.index.get_level_values("label").to_numpy()
        for a, b in itertools.combinations(sorted(wide.columns), 2):
            paired = statistics.delong_paired(label, wide[a].to_numpy(), wide[b].to_numpy())
            found.append(((trained_on, tested_on, int(seed)), str(a), str(b), paired))
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
            difference=paired.difference,
            low=paired.interval.low,
            high=paired.interval.high,
            p_holm=float(p),
        )
        for ((trained_on, tested_on, seed), a, b, paired), p in zip(found, adjusted, strict=True)
    ]
