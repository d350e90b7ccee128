"""Attribution of the images of a run by one detector's frozen features: views, features, learners, measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evaluation.attribution import confusion
from benchmarks.evaluation.attribution_facts import Attribution, Estimated, FewShot, Unknown
from benchmarks.evaluation.attribution_rows import CLOSED, COLUMNS, FEW, OPEN, measured, write_attributions
from benchmarks.evaluation.evaluate import identities
from benchmarks.workflow.stages.fit import drawn
from detect.attribution import DRAWS, SHOTS, Labelled, embed, from_few, learn, reject

__all__ = ["attribute", "write_attributions"]

if TYPE_CHECKING:
    from benchmarks.workflow.stage import Job
    from benchmarks.workflow.stages.fit import Fit
    from detect.artifact import TrainedDetector
    from forge.faces.faceset import FaceSet, FaceView

_LATER = Estimated(value=0.0, low=0.0, high=0.0)  # computed from the rows
Views = dict[str, dict[int, "FaceView"]]  # split -> class -> images


def attribute(
    fit: Fit, without: Mapping[str, Fit], sets: Mapping[str, FaceSet], counts: Mapping[str, int], seed: int, job: Job
) -> tuple[Attribution, pd.DataFrame]:
    """Measure how well a detector's features tell the generators of a run.

    Args:
        fit: of the detector, on all generators.
        without: generator -> the fit whose features are used where it is left out.
        sets: class -> its images; real ones first.
        counts: split -> images of each class, at most.
        seed: of the draws of few images.
        job: of the stage.

    Returns:
        The numbers, and the rows of attribution.parquet that they are computed from.
    """
    names, views = list(sets), _views(list(sets.values()), counts)
    described: dict[str, Any] = {"detector": fit.detector, "trained_on": str(fit.training), "seed": seed}
    features = _features(fit.load(job), views, job)
    if features is None:
        return Attribution(**described, missing="its score is made of no features"), pd.DataFrame(columns=list(COLUMNS))
    train, test = features["train"], features["test"]
    labels = np.array(names, dtype=object)
    answers, _ = learn(train)(test.features)
    closed = _rows(
        {"question": CLOSED, "split": "test", "class": labels[test.classes], "answer": labels[answers]},
        identity=_people(views["test"]),
    )
    left_out, of_unknown = _unknown(without, job, labels, views, features)
    shots, of_few = _few(train, test, labels, seed)
    rows = pd.concat([closed, *of_unknown, *of_few], ignore_index=True).assign(**described)
    # numbers that are filled in are replaced: those of the rows alone count, as `bench reproduce` computes them
    facts = Attribution(**described, classes=names, unknown=left_out, few=shots)
    return measured(facts, rows), rows


def _rows(columns: Mapping[str, object], *, identity: object) -> pd.DataFrame:
    """Return rows with what they have not: one image each, no score, no draw."""
    empty = {"of": "", "answer": "", "score": np.nan, "images": 0, "draw": 0, "count": 1}
    return pd.DataFrame({**empty, **columns, "identity": identity}).astype({"score": "float64"})


def _people(views: Mapping[int, FaceView]) -> NDArray[np.object_]:
    return np.concatenate([identities(view.rows) for view in views.values()])


def _views(sets: Sequence[FaceSet], counts: Mapping[str, int]) -> Views:
    """Return as many images of each class in a split, the same ones that detectors are fitted and tested on."""
    views: Views = {}
    for split, count in counts.items():
        whole = [faces.view(split) for faces in sets]
        size = min(count, *map(len, whole))
        views[split] = {number: drawn(view, size, split) for number, view in enumerate(whole)}
    return views


def _features(trained: TrainedDetector, views: Views, job: Job) -> dict[str, Labelled] | None:
    made = {split: embed(trained.detector, of_split, job.context.compute) for split, of_split in views.items()}
    kept = {split: labelled for split, labelled in made.items() if labelled is not None}
    return kept if len(kept) == len(made) else None


def _unknown(
    without: Mapping[str, Fit],
    job: Job,
    labels: NDArray[np.object_],
    views: Views,
    features: Mapping[str, Labelled],
) -> tuple[list[Unknown], list[pd.DataFrame]]:
    """Leave out each generator in turn; features are those of the fit without it where there is one."""
    if len(labels) < 3:  # the only generator cannot be left out: real images alone are no choice
        return [], []
    left_out, rows = [], []
    known_features: dict[str, dict[str, Labelled] | None] = {}  # key of a fit -> features
    for number, name in enumerate(labels[1:], 1):
        fit = without.get(name)
        if fit is not None and fit.key not in known_features:
            known_features[fit.key] = _features(fit.load(job), views, job)
        of_fit = (fit and known_features[fit.key]) or features
        for split in ("val", "test"):
            used, people = of_fit[split], _people(views[split])
            # of validation images the known ones alone fix the threshold
            chosen = used.classes != number if split == "val" else np.ones(len(used.classes), bool)
            scores = reject(of_fit["train"], used.features[chosen], number)
            columns = {"question": OPEN, "of": name, "split": split, "class": labels[used.classes[chosen]]}
            # float32, of which half takes no room in the file
            columns["score"] = scores.astype(np.float32).astype(np.float64)
            rows.append(_rows(columns, identity=people[chosen]))
        left_out.append(Unknown(generator=name, auc=_LATER, rejected=_LATER, kept=_LATER, unseen=fit is not None))
    return left_out, rows


def _few(
    train: Labelled, test: Labelled, labels: NDArray[np.object_], seed: int
) -> tuple[list[FewShot], list[pd.DataFrame]]:
    """Classify by few images; rows count the test images of each class and answer, a draw at a time."""
    few, rows = [], []
    for shots in SHOTS:
        draws = [from_few(train, test.features, shots, draw, seed) for draw in range(DRAWS)]
        kept = [draw for draw in draws if draw is not None]
        for learner in kept[0] if kept else ():
            few.append(FewShot(images=shots, learner=learner, draws=len(kept), accuracy=_LATER, macro_f1=_LATER))
            for number, draw in enumerate(kept):
                counts = confusion(test.classes, draw[learner], len(labels))
                truth, answer = np.nonzero(counts)
                columns: dict[str, Any] = {"question": FEW, "of": learner, "split": "test", "class": labels[truth]}
                columns |= {"answer": labels[answer], "images": shots, "draw": number, "count": counts[truth, answer]}
                rows.append(_rows(columns, identity=None))
    return few, rows
