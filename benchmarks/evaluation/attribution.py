"""Measures of attribution to generators: confusion, macro F1, rejection of unknown generators, few images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from benchmarks.evaluation import delong, roc
from benchmarks.evaluation.attribution_facts import Estimated, FewShot, Unknown
from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.proportions import proportion_interval
from benchmarks.evaluation.resampling import codes, percentile
from benchmarks.evaluation.roc import Floats, Ints
from benchmarks.protocol import FEW_UNITS

_RESAMPLES = 2000
_AT_ONCE = 2**22  # weights of units at a time


def confusion(truth: Ints, told: Ints, classes: int) -> Ints:
    """Count images by their class and the one told, [classes, classes].

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return np.bincount(truth * classes + told, minlength=classes * classes).reshape(classes, classes)


def macro_f1(counts: NDArray[np.generic]) -> Floats:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN); of a class that is nowhere it is 0.

    Args:
        counts: confusion matrices, [..., classes, classes].
    """
    table = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    both = table.sum(axis=-1) + table.sum(axis=-2)  # TP + FN and TP + FP
    return np.asarray(np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0).mean(axis=-1))


def closed_set(
    truth: Ints, told: Ints, classes: Sequence[str], groups: NDArray[np.object_]
) -> tuple[list[list[int]], Estimated, Estimated]:
    """Return the confusion matrix, the accuracy and the macro F1 with their intervals.

    The accuracy has Wilson's interval where no person repeats, else a bootstrap over people; the macro F1 always has
    the bootstrap, and that of the accuracy where all images or none are told rightly, or people are few.

    Args:
        truth: class of each image, [n], as many of each class.
        told: the one told, [n].
        classes: their names.
        groups: person of each image, None where unknown.
    """
    counts, hits = confusion(truth, told, len(classes)), truth == told
    accuracy, f1 = float(hits.mean()), float(macro_f1(counts))
    of_accuracy = proportion_interval(hits, groups=groups)
    units = np.unique(codes(groups, truth.size)).size
    if accuracy in (0.0, 1.0) or units < FEW_UNITS:
        # a bootstrap has no width there, or covers too little: as far from F1 as from the accuracy
        shift = f1 - accuracy
        of_f1 = Interval(
            max(0.0, of_accuracy.low + shift), min(1.0, of_accuracy.high + shift), of_accuracy.method, 0.95
        )
    else:
        recalls, f1s = resampled(truth, told, len(classes), groups)
        of_f1 = percentile(f1s, 0.95, "bootstrap")
        if units < truth.size:  # the mean recall: numbers of images of each class do not vary, but people do
            of_accuracy = percentile(recalls, 0.95, "bootstrap over identities")
    return counts.tolist(), _estimated(accuracy, of_accuracy), _estimated(f1, of_f1)


def resampled(
    truth: Ints, told: Ints, classes: int, groups: NDArray[np.object_], *, seed: int = 0
) -> tuple[Floats, Floats]:
    """Return the mean recall and the macro F1 of resamples of people, or of images where the person is unknown.

    Args:
        truth: class of each image, [n].
        told: the one told, [n].
        classes: number of classes.
        groups: person of each image, None where unknown.
        seed: of the resamples.
    """
    _, unit = np.unique(codes(groups, truth.size), return_inverse=True)
    count = int(unit.max()) + 1
    # confusion of each unit alone, [units, classes^2]: that of a resample is their weighted sum
    place = unit * classes**2 + truth * classes + told
    alone = np.bincount(place, minlength=count * classes**2).reshape(count, classes**2).astype(np.float64)
    rng, chunk = np.random.default_rng(seed), max(1, _AT_ONCE // count)
    tables = []
    for start in range(0, _RESAMPLES, chunk):
        size = min(chunk, _RESAMPLES - start)
        weights = np.stack([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(size)])
        tables.append((weights @ alone).reshape(size, classes, classes))
    table = np.concatenate(tables)
    hits, of_class = np.diagonal(table, axis1=1, axis2=2), table.sum(axis=2)
    # a class that a resample lacks is left out of its mean
    recall = np.divide(hits, of_class, out=np.full_like(hits, np.nan), where=of_class > 0)
    return np.nanmean(recall, axis=1), macro_f1(table)


def unknown_generator(
    name: str, val: Floats, known: Floats, unknown: Floats, groups: NDArray[np.object_], *, kept: float, unseen: bool
) -> Unknown:
    """Measure the rejection of one generator.

    Args:
        name: of the generator.
        val: rejection scores of validation images of known classes, which fix the threshold.
        known: of their test images, [m].
        unknown: of its test images, [n].
        groups: person of each test image, known ones first, [m + n].
        kept: share of `val` at or below the threshold, at least.
        unseen: whether features were learned without it.
    """
    threshold = np.quantile(val, kept, method="higher")
    label = np.repeat([0, 1], [known.size, unknown.size])
    score = np.concatenate([known, unknown])
    inside, outside = known <= threshold, unknown > threshold
    return Unknown(
        generator=name,
        auc=_estimated(roc.auc(label, score), delong.auc_interval(label, score, groups=groups)),
        rejected=_estimated(float(outside.mean()), proportion_interval(outside, groups=groups[known.size :])),
        kept=_estimated(float(inside.mean()), proportion_interval(inside, groups=groups[: known.size])),
        unseen=unseen,
    )


def over_draws(values: Sequence[float]) -> Estimated:
    """Return the mean over draws of training images and its 95 % t interval, within 0 and 1."""
    mean = fmean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))
    return Estimated(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))


def few_shot(truth: Ints, told: Sequence[Ints], classes: int, *, images: int, learner: str) -> FewShot:
    """Measure draws of few training images.

    Args:
        truth: class of each test image, [n].
        told: of each draw, [n].
        classes: number of classes.
        images: training images of each class.
        learner: its name.
    """
    return FewShot(
        images=images,
        learner=learner,
        draws=len(told),
        accuracy=over_draws([float((each == truth).mean()) for each in told]),
        macro_f1=over_draws([float(macro_f1(confusion(truth, each, classes))) for each in told]),
    )


def _estimated(value: float, interval: Interval) -> Estimated:
    return Estimated(value=value, low=interval.low, high=interval.high)
