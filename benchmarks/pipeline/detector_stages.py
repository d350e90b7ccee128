"""The thin glue between detect and the stages of detectors: fit, score, explain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pipeline.job import Facts, Job
from forge.compute import derive_seed
from forge.faces.faceset import FaceView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detect.adversary import Adversary
    from detect.detectors.base import Detector
    from detect.trained import TrainedDetector

EXPLAINED = 8  # forgeries of each generator in which a detector shows where it looks


def _drawn(view: FaceView, count: int, split: str) -> FaceView:
    """The same images for every detector and every seed of a run, so that scores can be paired."""
    return view.sample(count, derive_seed(0, "draw", split))


def fit(job: Job) -> Facts:
    """Real and forged FaceSet to a fitted detector; both classes of a split are cut to the same size."""
    if "adopted" in job.stage.settings:
        return _adopt(job)
    from benchmarks.pipeline.settings import short_name, validated
    from detect.detectors import DETECTORS
    from detect.detectors.base import FitContext, FitData
    from detect.trained import fit_detector

    settings = job.stage.settings
    real, forged = job.faces("real"), job.faces("forged")
    views: dict[str, FaceView] = {}
    for split in ("train", "val"):
        whole = real.view(split), forged.view(split)
        size = min(settings["images"][split], *(len(view) for view in whole))
        views |= {f"{split}_real": _drawn(whole[0], size, split), f"{split}_forged": _drawn(whole[1], size, split)}
    reference = settings["detector"]
    typed = validated(DETECTORS.load(reference).Settings, settings["settings"], where=f"detectors.{reference}")
    context = FitContext(
        seed=job.stage.seed,
        compute=job.context.compute,
        work=job.work,
        report=job.context.report,
        adversary=_adversary(job),
        fitted=_members(job),
    )
    label = f"{short_name(reference)}@{settings['adversary']}" if settings["adversary"] else ""
    trained = fit_detector(reference, typed, FitData(**views), context, trained_on=forged.card.name, label=label)
    trained.save(job.out / "detector")
    return {"parameters": trained.card.parameters}


def _adopt(job: Job) -> Facts:
    """Take a detector that was fitted elsewhere as it is, under the name of its folder."""
    from detect.trained import adopted, load_trained

    settings = job.stage.settings
    trained = adopted(load_trained(Path(settings["adopted"])), settings["name"], settings["resolution"])
    trained.save(job.out / "detector")
    return {"parameters": trained.card.parameters}


def _adversary(job: Job) -> Adversary | None:
    """The training whose discriminator a detector starts from."""
    from detect.adversary import Adversary
    from forge.networks import GENERATORS

    if "adversary" not in job.inputs:
        return None
    kind = GENERATORS.load(job.stage.inputs["adversary"].settings["architecture"])
    return Adversary(job.inputs["adversary"], job.stage.settings["snapshot"], kind)


def _members(job: Job) -> dict[str, TrainedDetector]:
    """The fitted detectors that an ensemble joins."""
    from detect.trained import load_trained

    named = {name.removeprefix("member "): place for name, place in job.inputs.items() if name.startswith("member ")}
    return {name: load_trained(place / "detector") for name, place in named.items()}


def _detector_class(job: Job) -> type[Detector] | None:
    """The class of the detector among the inputs, None where it was fitted elsewhere and its name is enough."""
    from detect.detectors import DETECTORS

    reference = job.stage.inputs["detector"].settings.get("detector")
    return DETECTORS.load(reference) if reference else None


def score(job: Job) -> Facts:
    """Fitted detector and FaceSet to score rows of `val` and `test`."""
    import pandas as pd

    from detect.scoring import score_table, write_scores
    from detect.trained import load_trained

    faces = job.faces("faces")
    trained = load_trained(job.inputs["detector"] / "detector", implementation=_detector_class(job))
    tables, seconds, count = [], 0.0, 0
    for split in ("val", "test"):
        view = _drawn(faces.view(split), job.stage.settings["images"][split], split)
        start = time.perf_counter()
        tables.append(score_table(trained, view, job.context.compute, report=job.context.report))
        seconds += time.perf_counter() - start
        count += len(view)
    write_scores(pd.concat(tables, ignore_index=True), job.out / "scores.parquet")
    return {"images_per_second": round(count / seconds, 1)}


def explain(job: Job) -> Facts:
    """Where a fitted detector looks in the first test forgeries of every generator, and at which frequencies."""
    from safetensors.numpy import save_file

    from detect.explain import method
    from detect.trained import load_trained

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
