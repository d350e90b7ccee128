"""Detectors on images larger than they were fitted at: scores of crops in the image's own pixels, pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forge.core.errors import InputError
from forge.faces.imaging.crops import crops_of, pooled

if TYPE_CHECKING:
    from detect.detectors.base import Detector, FittedDetector, Scores
    from detect.training.calibration import Calibration
    from forge.core.compute import Compute, Precision
    from forge.faces.faceset import Images


def refusal(name: str, view: str) -> str:
    """Return why a detector that takes no crops has no such view."""
    return (
        f"detector {name} has no view {view}: it is fitted to whole images of one size (values at fixed places or "
        "frequencies), of which a crop is another picture; use the view resize, or a convolutional detector, e.g. npr"
    )


class CropScorer:
    """A fitted detector that scores images of another resolution by their crops.

    Args:
        detector: a fitted one.
        view: name of a view other than "resize".
        resolution: height and width of the images that it is given.
    """

    def __init__(self, detector: Detector[Any], view: str, resolution: int) -> None:
        self.detector, self.view, self.resolution = detector, view, resolution
        self.family = detector.family

    def score(self, images: Images, compute: Compute) -> Scores:
        """Return one score an image, float64 [n]; images are uint8 [n, H, W, 3]."""
        # one image at a time: its crops are a batch, whose size does not depend on its company
        return np.array([self.score_one(image, compute) for image in images], np.float64)

    def score_one(self, image: Images, compute: Compute) -> float:
        """Return the score of an image [H, W, 3] of any size that holds a crop."""
        crops = crops_of(image, self.detector.resolution, self.view)
        return pooled(self.detector.score(crops, compute), self.view)

    def scoring_precision(self, compute: Compute) -> Precision:
        """Return that of the detector."""
        return self.detector.scoring_precision(compute)


class Viewed:
    """A fitted detector whose images are shown by crops; probabilities are those of its calibration on whole images.

    Args:
        trained: the detector as it was fitted.
        view: name of a view other than "resize".
        resolution: of the images that it is given.

    Raises:
        InputError: the detector takes no crops.
    """

    def __init__(self, trained: FittedDetector, view: str, resolution: int) -> None:
        if not trained.detector.takes_crops:
            raise InputError(refusal(trained.name, view))
        self.detector = CropScorer(trained.detector, view, resolution)
        self.name, self.trained_on, self.seed = trained.name, trained.trained_on, trained.seed
        self.calibration: Calibration = trained.calibration
