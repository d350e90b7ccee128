"""Check that a score depends on its image alone: images scored one by one agree with their scores within a batch.

Every batch of a scoring stage holds images of one set, hence of one class. A score that depends on the other images of
its batch (batch norm left in training mode, a cue averaged over the batch) would therefore carry the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from detect.data.views import View
from detect.detectors.base import Scores
from detect.scorers import Scorer
from forge.core.compute import Compute, derive_seed
from forge.core.errors import BenchError, DetectorError, quoted
from forge.faces.faceset import Images

SAMPLE = 4  # images scored one by one: a dependence on the batch changes nearly every score, so that few suffice
# Largest difference of an honest detector, as a share of the score and as a share of the standard deviation of the
# view's scores: convolutions add in another order in a batch of another size. In fp32 they differ by 1 % of this.
RELATIVE, SPREAD = 1e-4, 0.05


def check_batch_independence(
    detector: Scorer,
    view: View,
    scores: Scores,
    compute: Compute,
    *,
    name: str,
    perturb: Callable[[Images], Images] | None = None,
) -> None:
    """Score a few images of a view in batches of one and compare them with their scores within a batch.

    The images are drawn by a fixed seed from the view, so that the same images are checked in every run; the scores
    themselves are not touched. In bf16 rounding can exceed the spread of scores, so that a network that scores in bf16
    is checked in fp32: the images together in one batch against each alone.

    Args:
        detector: a fitted one.
        view: the images.
        scores: what `score_view` returned for them, float64 [len(view)].
        compute: device and precision of `scores`.
        name: the detector in the message.
        perturb: what happened to the images before they were scored.

    Raises:
        DetectorError: an image alone has another score than within its batch, or cannot be scored alone.
    """
    drawn = np.sort(np.random.default_rng(derive_seed(0, "alone")).permutation(len(view))[:SAMPLE])
    images = view.read(drawn)
    images = perturb(images) if perturb else images
    together = scores[drawn]
    # `scores` were computed in bf16, where rounding may exceed `allowed`: all are scored again in fp32
    if detector.scoring_precision(compute) == "bf16":
        compute = replace(compute, precision="fp32")
        together = detector.score(images, compute)
    for i, position in enumerate(drawn):
        alone, within = _alone(detector, images[i : i + 1], compute, name), float(together[i])
        # relative part: rounding grows with the score; spread part: what matters for ranks
        allowed = RELATIVE * max(abs(alone), abs(within)) + SPREAD * float(scores.std())
        # negated, so that NaN is refused too
        if not abs(alone - within) <= allowed:
            image = quoted(str(view.rows["id"].iloc[position]))
            raise DetectorError(
                f"detector {quoted(name)} gives image {image} the score {alone:.6g} alone and {within:.6g} within a "
                "batch; a score must depend on its image alone: a batch norm in training mode and a mean over the "
                "batch are the usual causes"
            )


def _alone(detector: Scorer, images: Images, compute: Compute, name: str) -> float:
    try:
        scores = detector.score(images, compute)
        if scores.shape != (1,):
            raise ValueError(f"returned scores of shape {scores.shape}")
    except BenchError:
        raise
    except Exception as error:  # a batch norm in training mode raises for a batch of one: the detector is at fault
        raise DetectorError(
            f"detector {quoted(name)} cannot score a batch of one image ({type(error).__name__}: "
            f"{quoted(str(error))}); a score must depend on its image alone: is a batch norm in training mode?"
        ) from error
    return float(scores[0])
