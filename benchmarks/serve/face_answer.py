"""The answer for one face of an uploaded photo: score, verdict and reason, scores of its re-encodings, its picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.inference.reencodings import TITLES
from benchmarks.serve.photo_map import png

if TYPE_CHECKING:
    from benchmarks.inference.predictor import Predictor
    from forge.faces.faceset import Images


@dataclass(frozen=True)
class Reencoded:
    """One re-encoding of a photo.

    Attributes:
        title: what was done, e.g. "JPEG 70".
        score: after it.
        probability: of being forged, after it.
        called: side of the threshold, "forged" or "real".
    """

    title: str
    score: float
    probability: float
    called: str


@dataclass(frozen=True)
class FaceAnswer:
    """Answer for one face.

    Attributes:
        score: of the face.
        probability: of being forged.
        verdict: "forged", "real" or "cannot say".
        reason: why it cannot be said; "" where it can.
        called: side of the threshold, "forged" or "real".
        face: "1 of 2"; "" for a single one.
        box: left, top, right and bottom edge in pixels of the photo; None where no face was searched.
        unlike: how the photo differs from those of the training; "" where it does not.
        reencoded: the same face after six re-encodings.
        seen: what the detector saw, a data URI (PNG); "" with a problem.
        problem: why this face cannot be judged; "" where it can. The other fields then mean nothing.
    """

    score: float = 0.0
    probability: float = 0.0
    verdict: str = ""
    reason: str = ""
    called: str = ""
    face: str = ""
    box: tuple[int, int, int, int] | None = None
    unlike: str = ""
    reencoded: list[Reencoded] = field(default_factory=list)
    seen: str = ""
    problem: str = ""


def face_answer(predictor: Predictor, row: dict[str, Any], image: Images | None) -> FaceAnswer:
    """Return the answer of a row of `judged`.

    Args:
        predictor: the detector.
        row: of the face.
        image: of the face, uint8 [R, R, 3]; None with a problem.
    """
    names = ("score", "probability", "verdict", "reason", "called", "face", "box", "unlike", "problem")
    changed = row.get("reencoded", {})
    scores = np.array(list(changed.values()), dtype=np.float64)
    return FaceAnswer(
        **{name: row[name] for name in names if name in row},
        reencoded=[
            Reencoded(TITLES[key], float(score), float(p), "forged" if score >= predictor.threshold.score else "real")
            for key, score, p in zip(changed, scores, predictor.calibration.probability(scores), strict=True)
        ],
        seen="" if image is None else png(image),
    )
