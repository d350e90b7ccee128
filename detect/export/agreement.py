"""Greatest differences between an exported detector and the detector itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detect.artifact import TrainedDetector
from detect.detectors.base import Scores
from detect.training.calibration import validation_auc
from forge.core.compute import Compute
from forge.core.errors import DetectorError
from forge.faces.faceset import Images

# greatest difference of a probability, and of a score in units of the largest score (or of 1): the logarithm of a DCT
# coefficient that is zero up to rounding differs by 2e-3 between two libraries, every network by less than 1e-5
TOLERANCE = 5e-3
# greatest root mean square difference of an int8 file's scores, as a share of the standard deviation of the scores:
# independent noise of that size makes the distance of two classes with that deviation 0.5 % smaller in units of it,
# 1 / sqrt(1 + 0.1^2), and an AUC of .9 by .001, of which tests of some hundred images see nothing
SPREAD = 0.1
BATCHES = (1, 7, 64)  # images of a call, in turn: the graph must not depend on their number


class Outputs(NamedTuple):
    """Outputs of an exported detector: probability of being forged and raw score, float [n] each."""

    probability: NDArray[np.floating]
    score: NDArray[np.floating]


@dataclass(frozen=True)
class Shift:
    """How much scores in int8 differ from those in fp32.

    Attributes:
        mean: mean absolute difference.
        share: root mean square difference, as a share of the standard deviation of the scores in fp32.
        calibrated: images on which ranges of activations were measured.
        auc: in fp32 and in int8, with the number of images; None: not both classes are known among them.
    """

    mean: float
    share: float
    calibrated: int
    auc: tuple[float, float, int] | None = None

    @classmethod
    def of(cls, scores: Scores, exported: Scores, forged: NDArray[np.int8] | None, calibrated: int) -> Shift:
        """Measure it.

        Args:
            scores: in fp32, float [n].
            exported: in int8, float [n].
            forged: 1 for forged, 0 for real, -1 where it is not known, [n]; None: of none.
            calibrated: images on which ranges were measured.
        """
        difference = exported - scores
        sides = [] if forged is None else [forged == label for label in (0, 1)]
        auc = None
        if all(side.any() for side in sides) and sides and np.isfinite(exported).all():
            before, after = (validation_auc(*(made[side] for side in sides)) for made in (scores, exported))
            auc = before, after, int(sum(side.sum() for side in sides))
        spread = max(float(scores.std()), float(np.finfo(np.float32).tiny))
        return cls(
            float(np.abs(difference).mean()), float(np.sqrt(np.square(difference).mean())) / spread, calibrated, auc
        )

    def sentence(self) -> str:
        """Return it in a sentence."""
        text = (
            f" It computes in int8, with ranges measured on {self.calibrated} other images: the mean difference of a "
            f"score is {self.mean:.2g}, the root mean square {self.share:.1%} of the scores' standard deviation"
        )
        if self.auc is None:
            return text + "."
        before, after, images = self.auc
        return text + f"; AUC on {images} labelled images {after:.4f}, in fp32 {before:.4f}."


@dataclass(frozen=True)
class Agreement:
    """Greatest differences between an exported detector and the detector itself.

    Attributes:
        images: number of images that both scored.
        score: greatest absolute difference of a score.
        largest: largest absolute score of the detector itself.
        probability: greatest absolute difference of a calibrated probability.
        verdicts: images on another side of the threshold than by the bench, in the precision that it uses.
        at_precision: greatest absolute difference of a score to the precision of the fit, where that is not fp32.
        int8: how much an int8 file differs on average; None: the file computes in fp32.
    """

    images: int
    score: float
    largest: float
    probability: float
    verdicts: int
    at_precision: float | None = None
    int8: Shift | None = None

    def sentence(self) -> str:
        """Return the agreement in a sentence."""
        changed = f"{self.verdicts} are called otherwise" if self.verdicts else "all are called the same"
        text = (
            f"on {self.images} images its scores differ from the bench's in fp32 by at most {self.score:.2g} (largest "
            f"score {self.largest:.3g}), its probabilities by at most {self.probability:.2g}; {changed}."
        )
        if self.at_precision is not None:
            form = "fp32" if self.int8 is None else "int8"
            text += f" The bench scores it in bf16 and the file in {form}: bf16 alone is up to {self.at_precision:.2g}."
        return text if self.int8 is None else text + self.int8.sentence()

    def check(self, name: str) -> None:
        """Refuse differences above `TOLERANCE`, in int8 above `SPREAD`.

        Raises:
            DetectorError: a probability or a score differs by more, or is not finite.
        """
        if self.int8 is not None:
            # written so that NaN fails, here too
            if not self.int8.share <= SPREAD:
                raise DetectorError(
                    f"{name} in int8 is too coarse and was not written: on {self.images} images its scores differ by "
                    f"{self.int8.share:.0%} of their standard deviation (root mean square), {self.verdicts} are called "
                    f"otherwise, and {SPREAD:.0%} is allowed; use --precision fp32"
                )
            return
        # written so that NaN fails
        if not (self.probability <= TOLERANCE and self.score <= TOLERANCE * max(1.0, self.largest)):
            raise DetectorError(
                f"{name} exported is not the detector itself and was not written: its scores differ by up to "
                f"{self.score:.3g} (largest score {self.largest:.3g}), its probabilities by up to "
                f"{self.probability:.3g}, and {TOLERANCE:g} is allowed"
            )


def compare(
    trained: TrainedDetector,
    run: Callable[[Images], Outputs],
    images: Images,
    threshold: float,
    *,
    forged: NDArray[np.int8] | None = None,
    calibrated: int = 0,
) -> Agreement:
    """Score images by both, the exported detector in calls of different sizes.

    Args:
        trained: the detector itself.
        run: the exported one.
        images: uint8 [n, H, W, 3] of the fitted resolution, at least one.
        threshold: score from which an image counts as forged.
        forged: 1 for forged, 0 for real, -1 where it is not known, [n]; None: of none.
        calibrated: images on which the ranges of an int8 file were measured; 0: it computes in fp32.
    """
    scores = trained.detector.score(images, Compute("cpu", "fp32"))
    parts, start = list[Outputs](), 0
    while start < len(images):
        size = BATCHES[len(parts) % len(BATCHES)]
        parts.append(run(np.ascontiguousarray(images[start : start + size])))
        start += size
    probability, score = (np.concatenate(values).astype(np.float64) for values in zip(*parts, strict=True))
    precise = trained.detector.scoring_precision(Compute("cpu")) == "fp32"
    usual = scores if precise else trained.detector.score(images, Compute("cpu"))
    return Agreement(
        images=len(images),
        score=float(np.abs(score - scores).max()),
        largest=float(np.abs(scores).max()),
        probability=float(np.abs(probability - trained.calibration.probability(scores)).max()),
        verdicts=int(((score >= threshold) != (usual >= threshold)).sum()),
        at_precision=None if precise else float(np.abs(usual - scores).max()),
        int8=Shift.of(scores, score, forged, calibrated) if calibrated else None,
    )
