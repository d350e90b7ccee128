"""The answer for a photo: forged, real, or cannot say, and why.

Three things must agree before a photo is called forged or real: the score is on that side of the threshold; of the
classes that conformal prediction leaves at the error rate it is the only one; and none of six re-encodings of the photo
falls on the other side. A prior, where one is given, must leave that class the more probable one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.evaluation.interval import wilson
from benchmarks.evaluation.numbers import percent_range
from benchmarks.inference.conformal import Bools, Floats, check_error_rate, images_needed
from benchmarks.inference.predictor import Predictor, predictor_at, predictor_of
from benchmarks.inference.reencodings import TITLES
from forge.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.inference.validation import Validation

ERROR_RATE = 0.05  # a larger one lets good detectors abstain: they then rule out both classes
CANNOT_SAY = "cannot say"
VERDICTS = ("forged", "real", CANNOT_SAY)

_TYPICAL = {
    (True, True): "its score is usual for real and for forged faces",
    (False, False): "its score lies between those usual for real and for forged faces",
    (True, False): "its score is usual for real faces only, yet reaches the threshold",
    (False, True): "its score is usual for forged faces only, yet stays below the threshold",
}


@dataclass(frozen=True)
class Verdict:
    """The answer for one face.

    Attributes:
        verdict: of `VERDICTS`.
        reason: why it cannot be said; "" where it can.
        called: side of the threshold, "forged" or "real".
        p_real: conformal p-value of "real"; None without validation scores.
        p_forged: that of "forged".
    """

    verdict: str
    reason: str
    called: str
    p_real: float | None = None
    p_forged: float | None = None


@dataclass(frozen=True)
class Coverage:
    """Answers on test images of one class, as they are: without re-encodings.

    Attributes:
        name: "real", or the generator of the forgeries.
        images: their number.
        wrong: called by the other class's name.
        unsaid: no answer.
        missed: own class left out by conformal prediction, which the error rate bounds.
    """

    name: str
    images: int
    wrong: int
    unsaid: int
    missed: int


def check_prior(prior: float) -> None:
    """Refuse a prior of which no photo could change anything.

    Raises:
        InputError: it is 0, 1, beyond them, or no number.
    """
    if not 0 < prior < 1:  # also refuses NaN
        raise InputError(
            f"--prior is the share of forgeries among such photos, between 0 and 1, got {prior:g}; at 0 or 1 no photo "
            "could change the answer"
        )


@dataclass(frozen=True)
class Judge:
    """What turns scores of a detector into answers.

    Attributes:
        predictor: the detector, with its prior.
        error_rate: share of the photos of each class whose class conformal prediction may leave out.
        validation: scores that it needs; None: the detector cannot abstain because of its score.
        cannot_abstain: why, one sentence; "" where it can.
        prior: whether a prior was given.
    """

    predictor: Predictor
    error_rate: float = ERROR_RATE
    validation: Validation | None = None
    cannot_abstain: str = ""
    prior: bool = False

    @classmethod
    def of_run(
        cls,
        run: str,
        detector: str | None,
        trained_on: str | None,
        store: Path,
        reports: Path,
        *,
        max_fpr: float | None = None,
        error_rate: float | None = None,
        prior: float | None = None,
    ) -> Judge:
        """Return the judge of a detector of a finished run; the first arguments are those of `predictor_of`.

        Args:
            run: name or path of its report.
            detector: name in the run.
            trained_on: its training.
            store: where results lie.
            reports: where reports lie.
            max_fpr: largest share of real validation images that may be called forged.
            error_rate: see `of`.
            prior: share of forgeries among the photos; None: a half, which is not held against a verdict.

        Raises:
            InputError: as of `predictor_of`, or a rate or prior cannot be used.
        """
        share = _checked(error_rate, prior)
        predictor = predictor_of(run, detector, trained_on, store, reports, max_fpr=max_fpr, prior=share)
        return cls.of(predictor, error_rate, prior)

    @classmethod
    def at(
        cls,
        folder: Path,
        detector: str | None = None,
        trained_on: str | None = None,
        *,
        max_fpr: float | None = None,
        error_rate: float | None = None,
        prior: float | None = None,
    ) -> Judge:
        """Return the judge of a detector in a folder; the first arguments are those of `predictor_at`.

        Args:
            folder: the folder.
            detector: path/to/file.py:Class, where its class comes from a file.
            trained_on: must not be given.
            max_fpr: largest share of real validation images that may be called forged.
            error_rate: see `of`.
            prior: share of forgeries among the photos; None: a half, which is not held against a verdict.

        Raises:
            InputError: as of `predictor_at`, or a rate or prior cannot be used.
        """
        share = _checked(error_rate, prior)
        return cls.of(predictor_at(folder, detector, trained_on, max_fpr=max_fpr, prior=share), error_rate, prior)

    @classmethod
    def of(cls, predictor: Predictor, error_rate: float | None = None, prior: float | None = None) -> Judge:
        """Return the judge of a detector.

        Args:
            predictor: the detector.
            error_rate: None: `ERROR_RATE` where the validation images suffice for it.
            prior: share of forgeries among such photos, already in the predictor's calibration; None: not given.

        Raises:
            InputError: a rate was given that the validation images do not allow, or there are none.
        """
        rate = ERROR_RATE if error_rate is None else error_rate
        why = _cannot(predictor, rate)
        if why and error_rate is not None:
            raise InputError(f"--error-rate {rate:g}: {why}")
        validation = None if why else predictor.validation
        sentence = f"It cannot abstain because of a score: {why}." if why else ""
        return cls(predictor, rate, validation, sentence, prior is not None)

    def answer(self, score: float, reencoded: Mapping[str, float]) -> Verdict:
        """Answer for one face.

        Args:
            score: of the face.
            reencoded: key of a re-encoding -> its score; empty where there are none.
        """
        p_real, p_forged = self._p_values(np.array([score]))
        known = self.validation is not None
        return self.decide(score, (float(p_real[0]), float(p_forged[0])) if known else None, reencoded)

    def decide(self, score: float, p_values: tuple[float, float] | None, reencoded: Mapping[str, float]) -> Verdict:
        """Answer for one face whose p-values are known.

        Args:
            score: of the face.
            p_values: of "real" and of "forged"; None: no class can be ruled out by them.
            reencoded: key of a re-encoding -> its score; empty where there are none.
        """
        threshold = self.predictor.threshold.score
        called = "forged" if score >= threshold else "real"
        reasons = []
        changing = [TITLES[key] for key, value in reencoded.items() if (value >= threshold) != (score >= threshold)]
        if changing:
            reasons.append(f"called {'real' if called == 'forged' else 'forged'} after {_listed(changing)}")
        if p_values is not None:
            usual = p_values[0] > self.error_rate, p_values[1] > self.error_rate
            reasons += [_TYPICAL[usual]] if usual != (called == "real", called == "forged") else []
        if self.prior and self._improbable(np.array([score]))[0]:
            reasons.append(f"at the prior of {self.predictor.prior:.3g} the other class is more probable")
        return Verdict(CANNOT_SAY if reasons else called, "; ".join(reasons), called, *(p_values or (None, None)))

    def coverage(self) -> list[Coverage]:
        """Return what the same rules, without re-encodings, answer on the run's test images; empty without them."""
        if self.validation is None:
            return []
        return [self._coverage(name, scores) for name, scores in self.validation.test.items() if len(scores)]

    def sentences(self) -> list[str]:
        """Return sentences that explain the answers: the rule, its measured errors, or why there is no rule."""
        if self.validation is None:
            return [self.cannot_abstain] if self.cannot_abstain else []
        real, forged = len(self.validation.conformal.real), len(self.validation.conformal.forged)
        rule = (
            f"Cannot say: the score does not single out one class at an error rate of {100 * self.error_rate:.3g} % "
            f"per class ({real:,} real, {forged:,} forged validation images), or a re-encoding changes the side of the "
            "threshold."
        )
        return [rule, *self.measured()]

    def measured(self) -> list[str]:
        """Return a sentence on the errors that were measured; none without test images."""
        measured = self.coverage()
        if not measured:
            return []
        shares = [
            f"{_share(part.wrong, part.images)} of {part.images:,} {part.name} (no answer: "
            f"{_share(part.unsaid, part.images)})"
            for part in measured
        ]
        return [f"On test images of the run its answer is wrong for {'; '.join(shares)}."]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: the rule and its measured errors."""
        able = self.validation is not None
        return {
            "error_rate": self.error_rate if able else None,
            "prior": self.predictor.prior,
            "sentences": self.sentences(),
            "on_test_images": [vars(part) for part in self.coverage()],
        }

    def _p_values(self, scores: Floats) -> tuple[Floats, Floats]:
        if self.validation is None:
            return np.ones(len(scores)), np.ones(len(scores))
        return self.validation.conformal.p_values(scores)

    def _improbable(self, scores: Floats) -> Bools:
        """Return whether the class on each score's side of the threshold is the less probable one, bool [n]."""
        probability = self.predictor.calibration.probability(scores)
        forged = scores >= self.predictor.threshold.score
        return np.asarray(np.where(forged, probability < 0.5, probability > 0.5), dtype=np.bool_)

    def _coverage(self, name: str, scores: Floats) -> Coverage:
        p_real, p_forged = self._p_values(scores)
        usual_real, usual_forged = p_real > self.error_rate, p_forged > self.error_rate
        forged = scores >= self.predictor.threshold.score
        answered = (usual_forged == forged) & (usual_real == ~forged)
        if self.prior:
            answered &= ~self._improbable(scores)
        missed = ~usual_real if name == "real" else ~usual_forged
        wrong = answered & (forged == (name == "real"))
        return Coverage(name, len(scores), int(wrong.sum()), int((~answered).sum()), int(missed.sum()))


def _checked(error_rate: float | None, prior: float | None) -> float:
    """Refuse values that cannot be used, before a detector is loaded; return the prior."""
    if error_rate is not None:
        check_error_rate(error_rate)
    if prior is None:
        return 0.5
    check_prior(prior)
    return prior


def _cannot(predictor: Predictor, rate: float) -> str:
    """Return why a detector cannot abstain at a rate; "" where it can."""
    if predictor.validation is None:
        return predictor.no_validation
    conformal = predictor.validation.conformal
    images, needed = min(len(conformal.real), len(conformal.forged)), images_needed(rate)
    if images < needed:
        return (
            f"at {rate:g} it needs {needed:,} validation images of each class, and has {images:,}; a run with "
            f"--set images.val={needed} has them"
        )
    return ""


def _share(count: int, images: int) -> str:
    interval = wilson(count, images)
    return percent_range(count / images, interval.low, interval.high, images)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
