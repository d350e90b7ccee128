"""The thin glue between detect and the stages of detectors: fit, score, explain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pipeline.job import Facts, Job
from benchmarks.protocol import CLEAN, SHUFFLED, TrainSet
from forge.compute import derive_seed
from forge.faces.faceset import FaceView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detect.artifact import TrainedDetector
    from detect.data.views import View
    from detect.detectors.base import Detector
    from detect.discriminator_source import DiscriminatorSource

EXPLAINED = 8  # forgeries of each generator in which a detector shows where it looks


def _drawn(view: FaceView, count: int, split: str) -> FaceView:
    """The same images for every detector and every seed of a run, so that scores can be paired."""
    return view.sample(count, derive_seed(0, "draw", split))


def fit(job: Job) -> Facts:
    """Real and forged FaceSet to a fitted detector; both classes of a split are cut to the same size.

    A fixed scorer, which learns nothing, is given real faces in the place of forged ones.
    """
    if "adopted" in job.stage.settings:
        return _adopt(job)
    from benchmarks.pipeline.compose import short_name
    from benchmarks.pipeline.configs import validated
    from detect.artifact import fit_detector
    from detect.detectors.base import FitContext, FitData
    from detect.detectors.registry import DETECTORS

    settings = job.stage.settings
    training = TrainSet.parse(settings["trained_on"])
    views: dict[str, View] = {}
    for split in ("train", "val"):
        count = min(settings["images"][split], training.images or settings["images"][split])
        views[f"{split}_real"], views[f"{split}_forged"] = _pair(job, training, split, count)
    data = FitData(**views)
    if training.variant == SHUFFLED:
        data = data.with_shuffled_labels(0)
    reference = settings["detector"]
    typed = validated(DETECTORS.load(reference).Settings, settings["settings"], where=f"detectors.{reference}")
    context = FitContext(
        seed=job.stage.seed,
        compute=job.compute,
        work=job.work,
        report=job.context.report,
        discriminator=_adversary(job),
        fitted=_members(job),
    )
    label = f"{short_name(reference)}@{settings['adversary']}" if settings["adversary"] else ""
    trained = fit_detector(reference, typed, data, context, trained_on=str(training), label=label)
    trained.save(job.out / "detector")
    return {"parameters": trained.card.parameters}


def _pair(job: Job, training: TrainSet, split: str, count: int) -> tuple[View, View]:
    """Real and forged images of a split, as many of each class, at most `count`; generators have equal shares."""
    from detect.data.views import join

    real = job.faces("real").view(split)
    if not any(name.startswith("forged ") for name in job.inputs):  # a fixed scorer: there is nothing to learn
        drawn_real = _drawn(real, min(count, len(real)), split)
        return drawn_real, drawn_real
    forged = [job.faces(f"forged {name}").view(split) for name in training.generators]
    size = min(count, len(real), len(forged) * min(map(len, forged)))
    shares = [size // len(forged) + (number < size % len(forged)) for number in range(len(forged))]
    drawn = [_drawn(view, share, split) for view, share in zip(forged, shares, strict=True) if share]
    return _drawn(real, size, split), drawn[0] if len(drawn) == 1 else join(*drawn)


def _adopt(job: Job) -> Facts:
    """Take a detector that was fitted elsewhere as it is, under the name of its folder."""
    from detect.artifact import load_trained, read_card, use_pretrained

    settings, place = job.stage.settings, Path(job.stage.settings["adopted"])
    loaded = load_trained(place, implementation=_named_class(read_card(place).name))
    trained = use_pretrained(loaded, settings["name"], settings["resolution"], job.stage.seed)
    trained.save(job.out / "detector")
    return {"parameters": trained.card.parameters}


def _adversary(job: Job) -> DiscriminatorSource | None:
    """The training whose discriminator a detector starts from."""
    from detect.discriminator_source import DiscriminatorSource
    from forge.networks import GENERATORS

    if "adversary" not in job.inputs:
        return None
    kind = GENERATORS.load(job.stage.inputs["adversary"].settings["architecture"])
    return DiscriminatorSource(job.inputs["adversary"], job.stage.settings["snapshot"], kind)


def _members(job: Job) -> dict[str, TrainedDetector]:
    """The fitted detectors that an ensemble joins."""
    from detect.artifact import load_trained

    named = {name.removeprefix("member "): place for name, place in job.inputs.items() if name.startswith("member ")}
    return {name: load_trained(place / "detector") for name, place in named.items()}


def _detector_class(job: Job) -> type[Detector[Any]] | None:
    """The class of the detector among the inputs, None where it was fitted elsewhere and its name is enough."""
    from detect.detectors.registry import DETECTORS

    settings = job.stage.inputs["detector"].settings
    if "adopted" in settings:
        from detect.artifact import read_card

        return _named_class(read_card(Path(settings["adopted"])).name)
    return DETECTORS.load(settings["detector"])  # type: ignore[no-any-return]


def _named_class(name: str) -> type[Detector[Any]] | None:
    """The class of a fitted detector that comes from a file which this command names; None: its name is enough."""
    from detect.detectors.registry import DETECTORS
    from forge.registry import is_file_reference, named_file

    reference = named_file(name) if is_file_reference(name) else None
    return DETECTORS.load(reference) if reference else None


def score(job: Job) -> Facts:
    """Fitted detector and FaceSet to score rows of `val` and `test`.

    Every batch holds images of one set, hence of one class; some images are scored one by one too: see
    `detect.batch_independence`.

    Raises:
        DetectorError: a score is not finite or too large, or depends on the batch.
    """
    import pandas as pd

    from detect.artifact import load_trained
    from detect.batch_independence import check_batch_independence
    from detect.data.perturb import perturbation
    from detect.scoring import score_table, write_scores

    faces = job.faces("faces")
    trained = load_trained(job.inputs["detector"] / "detector", implementation=_detector_class(job))
    tables, seconds, count = [], 0.0, 0
    for asked in job.stage.settings["asked"]:
        view, name = _drawn(faces.view(asked["split"]), asked["count"], asked["split"]), asked["perturbation"]
        change = None if name == CLEAN else perturbation(asked.get("reference", name))
        start = time.perf_counter()
        tables.append(
            score_table(
                trained, view, job.context.compute, perturbation=name, perturb=change, report=job.context.report
            )
        )
        elapsed = time.perf_counter() - start
        if len(tables) == 1:
            scores = tables[0]["score"].to_numpy()
            check_batch_independence(
                trained.detector, view, scores, job.context.compute, name=trained.name, perturb=change
            )
        if change is None:  # the speed of the detector, not of what is done to images
            seconds += elapsed
            count += len(view)
    write_scores(pd.concat(tables, ignore_index=True), job.out / "scores.parquet")
    return {"images_per_second": round(count / seconds, 1) if count else None}


def explain(job: Job) -> Facts:
    """Where a fitted detector looks in the first test forgeries of every generator, and at which frequencies."""
    from safetensors.numpy import save_file

    from detect.artifact import load_trained
    from detect.explain import method

    detector = load_trained(job.inputs["detector"] / "detector", implementation=_detector_class(job)).detector
    found: dict[str, NDArray[np.float32]] = {}
    for name in job.inputs:
        if name.startswith("forged "):
            images = job.faces(name).view("test").head(EXPLAINED).read()
            maps = detector.saliency(images, job.context.compute)
            found |= {name: maps} if maps is not None else {}
    weights = detector.frequency_weights()
    found |= {"frequency weights": weights} if weights is not None else {}
    save_file(found, job.out / "maps.safetensors")
    return {"method": method()}
