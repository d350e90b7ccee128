"""Controls: detectors that must fail where a benchmark has no shortcuts, and the baseline that others must beat."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field
from torch import Tensor

from detect.classifiers.base import Classifier
from detect.classifiers.bayes import TableClassifier
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from detect.detectors.feature_based import FeatureDetector, FeatureSettings, RegressionDetector, RegressionSettings
from detect.features.cues import trivial_cues
from detect.features.jpeg import QUALITIES, visible_quality
from detect.features.matrix import Scaling
from forge.core.compute import Compute
from forge.core.errors import CorruptError
from forge.core.files import read_json, write_json
from forge.faces.faceset import Images

OURS = "a control of this benchmark, 2026"


class Random(Detector[DetectorSettings]):
    """A score that knows nothing: uniform in 0..1 and fixed by the image's bytes and the seed."""

    family = "random"
    citation = OURS

    def __init__(self, settings: DetectorSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        self.seed = 0

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Learn nothing but the seed."""
        self.seed = context.seed
        return FitSummary(facts={"precision": "fp64", "device": "cpu"})

    def score(self, images: Images, compute: Compute) -> Scores:
        """Return a hash of each image as a number, float64 [n]."""
        # keyed by the seed: another seed is another random scorer, the same seed the same one
        key = self.seed.to_bytes(8, "big", signed=True)
        # of the bytes of the image: two copies of a photo get one score, a re-encoded copy another
        digests = [hashlib.blake2b(image.tobytes(), key=key, digest_size=8).digest() for image in images]
        # the 53 bits that a float64 holds exactly
        return np.array([(int.from_bytes(digest, "big") >> 11) / 2**53 for digest in digests], dtype=np.float64)

    def save(self, directory: Path) -> None:
        """Write seed.json."""
        write_json(directory / "seed.json", {"seed": self.seed})

    @classmethod
    def load(cls, directory: Path, settings: DetectorSettings, resolution: int) -> Self:
        """Read what `save` wrote."""
        detector, file = cls(settings, resolution), directory / "seed.json"
        stored = read_json(file)
        if not isinstance(stored, dict) or not isinstance(stored.get("seed"), int):
            raise CorruptError(f"{file} has no whole number `seed`; fit the detector again")
        detector.seed = stored["seed"]
        return detector


class TrivialCuesSettings(RegressionSettings):
    """Settings of the regression on trivial cues."""

    l2: float = Field(1e-4, ge=0, description="weight of the squared norm of the coefficients beside the mean log loss")


class TrivialCues(RegressionDetector[TrivialCuesSettings]):
    """Logistic regression on mean colour, contrast and sharpness: the floor that a detector must beat."""

    family = "trivial-cues"
    citation = OURS

    def features(self, pixels: Tensor) -> Tensor:
        """Return the mean and standard deviation of each channel, log variance of the Laplacian, [N, 7]."""
        return trivial_cues(pixels)


class Metadata(FeatureDetector[FeatureSettings]):
    """JPEG quality that the pixels still show as a comb of DCT coefficients on the 8 x 8 grid.

    Images of one fit have one size and no file, so format, bytes and dimensions are gone. The score is how much more
    often forged than real training images had the image's quality; without a visible quality anywhere it is 0 for all.
    """

    family = "metadata"
    citation = OURS
    scaling: ClassVar[Scaling] = "none"

    def features(self, pixels: Tensor) -> Tensor:
        """Return the visible JPEG quality, 0 for none, [N, 1]."""
        # TableClassifier counts integers 0..98 and reads the first feature
        return visible_quality(pixels)[:, None].double()

    def classifier(self) -> Classifier:
        """Make a table of the frequency of each quality in each class."""
        return TableClassifier(values=QUALITIES.stop)  # one entry per quality and one for none (0)
