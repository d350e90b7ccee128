"""Photos that were read to answers: a row per face, from its score, those of its re-encodings, and its traits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.inference.familiarity import Photo, sharpness
from benchmarks.inference.reencodings import REENCODINGS
from forge.faces.imaging.crops import pooled
from forge.faces.imaging.views import RESIZE, VIEWS
from forge.faces.sources.base import printable

if TYPE_CHECKING:
    from benchmarks.inference.inspection import FaceView, Inspection
    from benchmarks.inference.photos import Faces
    from benchmarks.inference.verdict import Judge
    from forge.core.compute import Compute
    from forge.faces.faceset import Images

Row = dict[str, Any]


class _Seen(NamedTuple):
    """A face that is judged: its row, the traits of its file, and what `FaceView` has."""

    row: Row
    source: dict[str, Any]
    image: Images
    reencoded: Images | None
    crops: Images | None


def judged(judge: Judge, faces: Faces, compute: Compute, view: str = RESIZE) -> tuple[list[Row], Images]:
    """Judge photos that were read together.

    Args:
        judge: of the detector.
        faces: photos, inspected or not.
        compute: the device.
        view: how the scores of crops are pooled, where the photos were read as crops.

    Returns:
        A row per face, photos in their order, those that cannot be used with `problem`; and the images of the faces
        that were judged, uint8 [n, R, R, 3], in the order of their rows.
    """
    rows: list[Row] = []
    seen: list[_Seen] = []
    usable = iter(range(len(faces.images)))
    for file, problem, note in zip(faces.files, faces.problems, faces.notes, strict=True):
        row: Row = {"file": printable(str(file))}  # control characters of a file name are spelled out: it is printed
        row |= {"face": faces.track} if faces.track else {}
        row |= {"left_out": faces.left_out} if faces.left_out else {}
        rows.append(row)
        if problem:
            row["problem"] = problem
            continue
        row |= {"note": note} if note else {}
        i = next(usable)
        source = faces.sources[i] if faces.sources else {}
        crops = faces.crops[i] if faces.crops else None
        if not faces.inspections:
            seen.append(_Seen(row, source, faces.images[i], None, crops))
            continue
        inspection = faces.inspections[i]
        seen.append(_Seen(row, source, faces.images[i], inspection.reencoded, crops))
        others = _others(row, inspection)
        rows += [other for other, _ in others]
        seen += [_Seen(other, source, at.image, at.reencoded, at.crops) for other, at in others if at.image is not None]
    if not seen:
        return rows, faces.images
    images = np.stack([face.image for face in seen])
    _answer(judge, seen, images, compute, view)
    return rows, images


def of_view(view: str) -> str:
    """Return a sentence on answers for crops; "" of whole photos."""
    if view == RESIZE:
        return ""
    return (
        f"View {view}: {VIEWS[view]}; threshold and probabilities are those of whole images, and so are error rates, "
        "which need not hold for crops. Re-encodings and the comparison with training photos are left out."
    )


def _others(row: Row, inspection: Inspection) -> list[tuple[Row, FaceView]]:
    """Number the faces of a photo, and return a row for each but the main one."""
    if inspection.box is None:
        if inspection.faces is not None and inspection.faces != 1:
            several = f"{inspection.faces} faces, judged as one picture (--crop face judges each)"
            row["unlike"] = several if inspection.faces else "no face found"
        return []
    row["box"] = inspection.box
    if not inspection.others:
        return []
    total = 1 + len(inspection.others)
    row["face"] = f"1 of {total}"
    out = []
    for number, view in enumerate(inspection.others, 2):
        other: Row = {"file": row["file"], "face": f"{number} of {total}", "box": view.box}
        out.append((other | ({"problem": view.problem} if view.problem else {}), view))
    return out


def _answer(judge: Judge, seen: Sequence[_Seen], images: Images, compute: Compute, view: str) -> None:
    """Put scores and answers into the rows."""
    predictor = judge.predictor
    detector = predictor.trained.detector
    crops = [face.crops for face in seen if face.crops is not None]  # of every face, or of none
    if crops:
        scores = np.array([pooled(detector.score(each, compute), view) for each in crops])
    else:
        scores = detector.score(images, compute)
    changed = [face.reencoded for face in seen if face.reencoded is not None]
    # [n * 6]: all in one call, which suits a detector better than six
    others = iter(detector.score(np.concatenate(changed), compute).reshape(-1, len(REENCODINGS)) if changed else ())
    measured = sharpness(images)
    # training photos were seen whole: of crops neither their size nor their sharpness can be compared
    familiarity = predictor.validation.familiarity if predictor.validation and not crops else None
    for (row, source, _, variants, _), score, value in zip(seen, scores, measured, strict=True):
        reencoded = {} if variants is None else dict(zip(REENCODINGS, map(float, next(others)), strict=True))
        verdict = judge.answer(float(score), reencoded)
        row |= {
            "score": float(score),
            "probability": float(predictor.calibration.probability(np.array([score]))[0]),
            "verdict": verdict.verdict,
            "called": verdict.called,
        }
        row |= {"reason": verdict.reason} if verdict.reason else {}
        if verdict.p_real is not None:
            row |= {"p_real": verdict.p_real, "p_forged": verdict.p_forged}
        if reencoded:
            row["reencoded"] = reencoded
        if familiarity and source:
            photo = Photo(
                min(source["source_width"], source["source_height"]),
                images.shape[1],
                source["source_jpeg_quality"],
                float(value),
            )
            unlike = [row["unlike"]] if "unlike" in row else []
            row |= {"unlike": "; ".join(unlike)} if (unlike := unlike + familiarity.unlike(photo)) else {}
