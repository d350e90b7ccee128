"""Greatest differences between an exported detector and the detector itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detect.artifact import TrainedDetector
from forge.core.compute import Compute
from forge.core.errors import DetectorError
from forge.faces.faceset import Images

# greatest difference of a probability, and of a score in units of the largest score (or of 1): the logarithm of a DCT
# coefficient that is zero up to rounding differs by 2e-3 between two libraries, every network by less than 1e-5
TOLERANCE = 5e-3
BATCHES = (1, 7, 64)  # images of a call, in turn: the graph must not depend on their number


class Outputs(NamedTuple):
    """Outputs of an exported detector: probability of being forged and raw score, float [n] each."""

    probability: NDArray[np.floating]
    score: NDArray[np.floating]


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
    """

    images: int
    score: float
    largest: float
    probability: float
    verdicts: int
    at_precision: float | None = None

    def sentence(self) -> str:
        """Return the agreement in a sentence."""
        changed = f"{self.verdicts} are called otherwise" if self.verdicts else "all are called the same"
        text = (
            f"on {self.images} images its scores differ from the bench's in fp32 by at most {self.score:.2g} (largest "
            f"score {self.largest:.3g}), its probabilities by at most {self.probability:.2g}; {changed}."
        )
        if self.at_precision is not None:
            text += f" The bench scores it in bf16 and the file in fp32: that alone is up to {self.at_precision:.2g}."
        return text

    def check(self, name: str) -> None:
        """Refuse differences above `TOLERANCE`.

        Raises:
            DetectorError: a probability or a score differs by more, or is not finite.
        """
        # written so that NaN fails
        if not (self.probability <= TOLERANCE and self.score <= TOLERANCE * max(1.0, self.largest)):
            raise DetectorError(
                f"{name} exported is not the detector itself and was not written: its scores differ by up to "
                f"{self.score:.3g} (largest score {self.largest:.3g}), its probabilities by up to "
                f"{self.probability:.3g}, and {TOLERANCE:g} is allowed"
            )


def compare(trained: TrainedDetector, run: Callable[[Images], Outputs], images: Images, threshold: float) -> Agreement:
    """Score images by both, the exported detector in calls of different sizes.

    Args:
        trained: the detector itself.
        run: the exported one.
        images: uint8 [n, H, W, 3] of the fitted resolution, at least one.
        threshold: score from which an image counts as forged.
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
    )
