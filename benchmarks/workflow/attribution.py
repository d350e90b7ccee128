"""Attribution of the images of a run by one detector's frozen features: views, features, learners, measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.attribution import closed_set, few_shot, unknown_generator
from benchmarks.evaluation.attribution_facts import Attribution, FewShot, Unknown
from benchmarks.evaluation.evaluate import identities
from benchmarks.workflow.stages.fit import drawn
from detect.attribution import DRAWS, KEPT, SHOTS, Labelled, embed, from_few, learn, reject

if TYPE_CHECKING:
    from benchmarks.workflow.stage import Job
    from benchmarks.workflow.stages.fit import Fit
    from detect.artifact import TrainedDetector
    from forge.faces.faceset import FaceSet, FaceView

Views = dict[str, dict[int, "FaceView"]]  # split -> class -> images


def attribute(
    fit: Fit, without: Mapping[str, Fit], sets: Mapping[str, FaceSet], counts: Mapping[str, int], seed: int, job: Job
) -> Attribution:
    """Measure how well a detector's features tell the generators of a run.

    Args:
        fit: of the detector, on all generators.
        without: generator -> the fit whose features are used where it is left out.
        sets: class -> its images; real ones first.
        counts: split -> images of each class, at most.
        seed: of the draws of few images.
        job: of the stage.
    """
    names, views = list(sets), _views(list(sets.values()), counts)
    described = {"detector": fit.detector, "trained_on": str(fit.training), "seed": seed}
    features = _features(fit.load(job), views, job)
    if features is None:
        return Attribution(**described, missing="its score is made of no features")
    train, test = features["train"], features["test"]
    groups = np.concatenate([identities(view.rows) for view in views["test"].values()])
    told, _ = learn(train)(test.features)
    table, accuracy, f1 = closed_set(test.classes, told, names, groups)
    return Attribution(
        **described,
        classes=names,
        confusion=table,
        accuracy=accuracy,
        macro_f1=f1,
        unknown=_unknown(without, job, names, views, features),
        few=_few(train, test, len(names), seed),
    )


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
    without: Mapping[str, Fit], job: Job, names: list[str], views: Views, features: Mapping[str, Labelled]
) -> list[Unknown]:
    """Leave out each generator in turn; features are those of the fit without it where there is one."""
    if len(names) < 3:  # the only generator cannot be left out: real images alone are no choice
        return []
    measured = []
    known_features: dict[str, dict[str, Labelled] | None] = {}  # key of a fit -> features
    people = np.concatenate([identities(view.rows) for view in views["test"].values()])
    for number, name in enumerate(names[1:], 1):
        fit = without.get(name)
        if fit is not None and fit.key not in known_features:
            known_features[fit.key] = _features(fit.load(job), views, job)
        of_fit = (fit and known_features[fit.key]) or features
        val, test = of_fit["val"], of_fit["test"]
        both = np.concatenate([val.features[val.classes != number], test.features])
        scores = reject(of_fit["train"], both, number)
        count = int((val.classes != number).sum())
        unknown = test.classes == number
        tested = scores[count:]
        groups = np.concatenate([people[~unknown], people[unknown]])
        measured.append(
            unknown_generator(
                name, scores[:count], tested[~unknown], tested[unknown], groups, kept=KEPT, unseen=fit is not None
            )
        )
    return measured


def _few(train: Labelled, test: Labelled, classes: int, seed: int) -> list[FewShot]:
    rows = []
    for shots in SHOTS:
        draws = [from_few(train, test.features, shots, draw, seed) for draw in range(DRAWS)]
        told = [draw for draw in draws if draw is not None]
        if told:
            rows += [
                few_shot(test.classes, [draw[learner] for draw in told], classes, images=shots, learner=learner)
                for learner in told[0]
            ]
    return rows
