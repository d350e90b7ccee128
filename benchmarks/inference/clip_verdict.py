"""The answer for a clip, from the scores of its frames: calibrated on validation clips, else valid with single images.

The mean score of a clip's frames is on one side of the threshold. Where the validation images of a fit are frames of
clips, threshold, probabilities and the calibration sets of conformal prediction are their means, a clip a score.

Otherwise all that is known are scores of single images, whose quantiles do not bound the error of a mean: 4 % of the
real images may score high and every sixteen frames still hold one of them, which lifts the mean above the 95 % quantile
for half of the clips. What holds whatever the scores and however frames depend on each other is twice the mean of the
frames' p-values (Vovk and Wang: Combining p-values via averaging. Biometrika 2020). It rules out a class less often
than the error rate allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.evaluation.roc import best_threshold, threshold_at_fpr
from benchmarks.inference.conformal import Conformal, images_needed
from benchmarks.inference.threshold import Threshold
from benchmarks.inference.validation import ClipScores, Validation
from benchmarks.inference.verdict import Judge, Verdict
from detect.training.calibration import Calibration, fit_platt

Row = dict[str, Any]
_MEAN = (
    "Of a clip the mean score of its frames is judged, where faces are searched that of each face which is followed "
    "through it"
)


@dataclass(frozen=True)
class ClipJudge:
    """What turns the scores of a clip's frames into an answer.

    Attributes:
        judge: of means: its threshold, probabilities and calibration sets are those of clips where there are enough.
        clips: validation clips that it was calibrated on; None: on single images.
        why: there are none, half a sentence; "" where there are.
        unbounded: why single images are too few to bound the errors, the end of a sentence; "" otherwise.
    """

    judge: Judge
    clips: ClipScores | None = None
    why: str = ""
    unbounded: str = ""

    @classmethod
    def of(cls, judge: Judge) -> ClipJudge:
        """Return the judge of clips that goes with one of photos."""
        validation, threshold = judge.predictor.validation, judge.predictor.threshold
        clips = validation.clips if validation else None
        why = _without_clips(clips, judge.error_rate)
        if clips is None or why:
            return cls._of_images(judge, why)
        conformal = Conformal(clips.real, clips.forged)
        calibration = fit_platt(clips.real, clips.forged).at_prior(judge.predictor.prior)
        label = np.repeat([0, 1], [len(clips.real), len(clips.forged)])
        scores = np.concatenate([clips.real, clips.forged])
        score = best_threshold(label, scores)
        rule = "highest balanced accuracy on the validation clips"
        if threshold.max_fpr is not None:
            bounded = threshold_at_fpr(label, scores, threshold.max_fpr)
            if bounded is None:
                return cls._of_images(judge, f"{len(clips.real)} are too few for --max-fpr {threshold.max_fpr:g}")
            score, rule = bounded, f"at most {100 * threshold.max_fpr:g} % of the real validation clips are above it"
        of_clips = Threshold(score, float(calibration.probability(np.array([score]))[0]), rule)
        predictor = replace(
            judge.predictor,
            threshold=of_clips,
            calibrated=calibration,
            validation=Validation(conformal, None, clips.test),
        )
        return cls(replace(judge, predictor=predictor, validation=predictor.validation), clips)

    @classmethod
    def _of_images(cls, judge: Judge, why: str) -> ClipJudge:
        if judge.validation is None:
            return cls(judge, None, why)
        conformal = judge.validation.conformal
        needed, images = images_needed(judge.error_rate / 2), min(len(conformal.real), len(conformal.forged))
        few = f"at {judge.error_rate:g} it needs {needed:,} validation images of each class, and has {images:,}"
        return cls(judge, None, why, few if images < needed else "")

    @property
    def threshold(self) -> float:
        """Mean score from which on a clip is called forged."""
        return self.judge.predictor.threshold.score

    @property
    def calibration(self) -> Calibration:
        """From mean scores to probabilities."""
        return self.judge.predictor.calibration

    def answer(self, frames: Sequence[Row], reencoded: Mapping[str, float]) -> Verdict:
        """Answer for one face of a clip.

        Args:
            frames: rows of its frames, with `score` and, where single images are calibrated, `p_real` and `p_forged`.
            reencoded: key of a re-encoding -> the mean score of the frames; empty where there are none.
        """
        mean = float(np.mean([row["score"] for row in frames]))
        if self.clips is not None or self.judge.validation is None or self.unbounded:
            return self.judge.answer(mean, reencoded)
        p_values = [min(1.0, 2 * float(np.mean([row[name] for row in frames]))) for name in ("p_real", "p_forged")]
        return self.judge.decide(mean, (p_values[0], p_values[1]), reencoded)

    def sentences(self) -> list[str]:
        """Return sentences on what is judged, what it was calibrated on, and how often it errs."""
        if self.clips is not None:
            real, forged = len(self.clips.real), len(self.clips.forged)
            threshold = self.judge.predictor.threshold
            lines = [
                f"{_MEAN}. A clip is called forged from a mean of {threshold.score:.4g} (probability "
                f"{threshold.probability:.3f}): {threshold.rule} ({real:,} real, {forged:,} forged, a "
                f"median of {self.clips.frames:g} frames each), whose means also calibrate probabilities and the error "
                f"rate of {100 * self.judge.error_rate:.3g} % per class."
            ]
            return lines + [line.replace("test images", "test clips") for line in self.judge.measured()]
        images = f"{_MEAN}. Its threshold and probabilities were calibrated on single images: {self.why}."
        if self.judge.validation is None:
            return [images]
        if self.unbounded:
            return [
                f"{images} The mean is held against them as a photo is, which does not bound its errors: to bound "
                f"them {self.unbounded}."
            ]
        return [
            f"{images} These do not bound the errors of a mean, so a class is ruled out where twice the mean of the "
            f"frames' p-values is at most {self.judge.error_rate:g}, which keeps the error rate however frames depend "
            "on each other and abstains more often than it had to."
        ]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: on what clips were calibrated, threshold, and sentences."""
        score = self.threshold
        return {
            "calibrated_on": "images" if self.clips is None else "clips",
            "threshold": score if np.isfinite(score) else None,
            "sentences": self.sentences(),
        }


def _without_clips(clips: ClipScores | None, rate: float) -> str:
    """Return why validation clips cannot be used, half a sentence; "" where they can."""
    if clips is None:
        return "the validation images of the fit are not frames of clips in both classes"
    needed, real, forged = images_needed(rate), len(clips.real), len(clips.forged)
    if min(real, forged) < needed:
        return f"at {rate:g} it needs {needed} validation clips of each class, and has {real} real and {forged} forged"
    return ""
