"""The threshold of a detector: from which score a photo is called forged, by which rule, with which error rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.evaluation.interval import wilson
from benchmarks.evaluation.numbers import percent_range
from benchmarks.evaluation.results import TestResult
from benchmarks.evaluation.roc import threshold_at_fpr
from benchmarks.protocol import ELSEWHERE, OWN_REALS, TrainSet
from forge.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.evaluation.interval import Interval
    from benchmarks.inference.validation import Validation
    from detect.training.calibration import Calibration


@dataclass(frozen=True)
class Rate:
    """Share of the test images of one class that are called forged.

    Attributes:
        name: "real", or the generator of the forgeries.
        called: images with a score at or above the threshold.
        images: images in all.
    """

    name: str
    called: int
    images: int

    @property
    def interval(self) -> Interval:
        """95 % interval over images (Wilson)."""
        return wilson(self.called, self.images)  # repeated people are not known here


@dataclass(frozen=True)
class Threshold:
    """A threshold and what is known of it.

    Attributes:
        score: a photo is called forged iff its score is at least this.
        probability: calibrated probability of that score, in [0, 1].
        rule: how it was chosen, for a sentence: "Forged means …: {rule}."
        rates: on test images of the run, real ones first; empty where its scores are not there.
        max_fpr: share of real validation images that it keeps; None: it was chosen otherwise.
        even_odds: whether it is where the calibration says one half, and moves with the prior.
    """

    score: float
    probability: float
    rule: str
    rates: tuple[Rate, ...] = ()
    max_fpr: float | None = None
    even_odds: bool = False

    @classmethod
    def at_one_half(cls, calibration: Calibration) -> Threshold:
        """Return the score whose calibrated probability is one half: for detectors that no run gave a threshold."""
        constant = -math.inf if calibration.b >= 0 else math.inf  # every photo is called the same
        # Platt scaling: probability = 1 / (1 + exp(-(a score + b))), one half at -b / a. "0.0 -" avoids a negative
        # zero.
        score = 0.0 - calibration.b / calibration.a if calibration.a else constant
        return cls(score, 0.5, "even odds by its calibration; no run has fixed a threshold for it", even_odds=True)

    def under(self, calibration: Calibration) -> Threshold:
        """Return the threshold with the probabilities of another calibration; the score of a run stays."""
        if self.even_odds:
            return Threshold.at_one_half(calibration)
        return replace(self, probability=_probability(calibration, self.score))

    @classmethod
    def of_run(
        cls,
        calibration: Calibration,
        cell: TestResult,
        scores: pd.DataFrame | None,
        *,
        max_fpr: float | None = None,
    ) -> Threshold:
        """The threshold that a run fixed on validation images, or the one that keeps a false positive rate there.

        Args:
            calibration: of the detector.
            cell: a result of the run, which names detector, training, seed and threshold.
            scores: rows of the run's scores.parquet; None where they are not there.
            max_fpr: largest share of real validation images that may be called forged, in (0, 1).

        Raises:
            InputError: one false positive is more than `max_fpr`, or `max_fpr` is not in (0, 1).
        """
        rows = None if scores is None else rows_of(scores, cell)
        score = cell.threshold  # the run's, which the table uses too
        rule = "highest balanced accuracy on the validation images"
        # Fitted elsewhere: no forgeries of its training are in `val`, so that balanced accuracy was no rule.
        if not _knows(rows, cell):
            rule = "the lowest score on validation images with a probability of 0.5 or more; it was trained elsewhere"
        if max_fpr is not None:
            _check_share(max_fpr)
            val = None if rows is None else rows[rows["split"] == "val"]
            if val is None or val.empty:  # no scores at all, or of another fit
                raise InputError(
                    f"--max-fpr needs the validation scores of {cell.detector}, which the run does not have"
                )
            score, rule = _bounded(val["label"], val["score"], max_fpr)
        # How many images the rule was applied to, since a threshold on few is a rough one.
        elif rows is not None and _knows(rows, cell):
            counts = rows[rows["split"] == "val"]["label"].value_counts()
            rule += f" ({counts.get(0, 0):,} real, {counts.get(1, 0):,} forged)"
        rates = () if rows is None else _rates(rows, score)
        return cls(float(score), _probability(calibration, score), rule, rates, max_fpr)

    @classmethod
    def at_rate(cls, calibration: Calibration, validation: Validation | None, max_fpr: float, folder: str) -> Threshold:
        """Return the threshold of a detector in a folder that keeps a false positive rate.

        Args:
            calibration: of the detector.
            validation: the scores beside it; None: there are none.
            max_fpr: largest share of real validation images that may be called forged, in (0, 1).
            folder: as messages name it.

        Raises:
            InputError: there are no scores, one false positive is more than `max_fpr`, or it is not in (0, 1).
        """
        _check_share(max_fpr)
        if validation is None:
            raise InputError(f"--max-fpr needs validation scores, which the folder {folder} does not have; name a run")
        real, forged = validation.conformal.real, validation.conformal.forged
        label = np.repeat([0, 1], [len(real), len(forged)])
        score, rule = _bounded(label, np.concatenate([real, forged]), max_fpr)
        called = {name: int(np.count_nonzero(scores >= score)) for name, scores in validation.test.items()}
        rates = [Rate(name, called[name], len(scores)) for name, scores in validation.test.items()]
        return cls(score, _probability(calibration, score), rule, _real_first(rates), max_fpr)

    def sentences(self) -> list[str]:
        """Return sentences that explain the threshold to a reader of its predictions."""
        meant = f"a score of {self.score:.4g} or more (probability {self.probability:.3f})"
        if math.isinf(self.score):
            # for a reader an infinite number explains nothing
            meant = "every photo" if self.score < 0 else "no photo, since equal scores allow no other threshold"
        sentences = [f"Forged means {meant}: {self.rule}."]
        if self.rates:
            shares = [
                f"{percent_range(rate.called / rate.images, rate.interval.low, rate.interval.high, rate.images)} "
                f"of {rate.images:,} {rate.name}"
                for rate in self.rates
            ]
            sentences.append(f"On test images of the run it calls forged: {'; '.join(shares)}.")
        return sentences


def _probability(calibration: Calibration, score: float) -> float:
    if math.isinf(score):  # above or below every score: its calibration would be a limit
        return 0.0 if score < 0 else 1.0
    return float(calibration.probability(np.array([score]))[0])


def rows_of(scores: pd.DataFrame, cell: TestResult) -> pd.DataFrame:
    """Return rows of the detector, training and seed of a result, of images as it was trained on them."""
    # A detector trained on equalised images has its threshold on such images.
    change = TrainSet.parse(cell.trained_on).perturbation
    chosen: pd.Series[bool] = scores["perturbation"] == change
    for name in ("detector", "trained_on", "seed"):
        chosen &= scores[name] == getattr(cell, name)
    return scores.loc[chosen]


def _knows(rows: pd.DataFrame | None, cell: TestResult) -> bool:
    """Return whether the validation images hold forgeries of the detector's training; True without scores."""
    if rows is None:
        return bool(cell.trained_on != ELSEWHERE)  # without rows the name decides
    val = rows[rows["split"] == "val"]
    return bool(val["generator"].isin(TrainSet.parse(cell.trained_on).generators).any())


def _bounded(label: ArrayLike, score: ArrayLike, max_fpr: float) -> tuple[float, str]:
    """Return the lowest threshold that keeps a false positive rate on validation images, and its rule in words."""
    reals = int(np.count_nonzero(np.asarray(label) == 0))  # errors among reals alone count
    threshold = threshold_at_fpr(label, score, max_fpr)
    # None: even one false positive is a larger share than was asked for.
    if threshold is None:
        raise InputError(
            f"--max-fpr {max_fpr:g} cannot be kept on {reals:,} real validation images, of which one is "
            f"{1 / reals:.2g}; ask for that much, or name a run with more: --set images.val={math.ceil(1 / max_fpr)}"
        )
    return threshold, f"at most {100 * max_fpr:g} % of the {reals:,} real validation images are called forged"


def _check_share(max_fpr: float) -> None:
    if not 0 < max_fpr < 1:
        raise InputError(f"--max-fpr must lie between 0 and 1, got {max_fpr:g}; 0.01 is usual")


def _rates(rows: pd.DataFrame, score: float) -> tuple[Rate, ...]:
    # External photos and sources of forgeries are left out: their rates are of other images than the real class's.
    test = rows[(rows["split"] == "test") & ~rows["source"].str.startswith(OWN_REALS)]
    rates = [
        Rate(str(name) or "real", int((part["score"] >= score).sum()), len(part))
        for name, part in test.groupby("generator", sort=True)
        if not str(name).startswith(OWN_REALS)
    ]
    return _real_first(rates)


def _real_first(rates: Sequence[Rate]) -> tuple[Rate, ...]:
    # a stable sort: real first, generators in the order of their names
    return tuple(sorted(rates, key=lambda rate: rate.name != "real"))
