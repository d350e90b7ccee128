"""The thin glue between a stage of the plan and forge, detect and the measures."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pipeline.plan import Stage
from forge.compute import Compute, derive_seed
from forge.errors import CorruptError, InputError
from forge.faces.faceset import FaceSet, FaceView
from forge.files import read_json, write_json
from forge.progress import Report

if TYPE_CHECKING:
    from pydantic import BaseModel

    from forge.faces.sources import Source
    from forge.quality.sets import Ask

FACES = "faces"  # where a stage that makes a FaceSet puts it


@dataclass(frozen=True)
class Context:
    """Where and how a stage runs; none of it changes what is asked for.

    Attributes:
        source: the real faces.
        compute: device and precision.
        workers: processes that read photos.
        report: told about progress.
        track: folder for TensorBoard events, if any are wanted.
    """

    source: Source | FaceSet
    compute: Compute
    workers: int
    report: Report
    track: Path | None = None


@dataclass(frozen=True)
class Job:
    """One call of a stage.

    Attributes:
        stage: what is asked for.
        inputs: directories of the results it reads, by name.
        out: an empty directory for the result.
        work: a directory that stays between calls until the result is published.
        context: where and how.
    """

    stage: Stage
    inputs: Mapping[str, Path]
    out: Path
    work: Path
    context: Context

    def faces(self, name: str) -> FaceSet:
        """The FaceSet among the inputs."""
        return FaceSet.open(self.inputs[name] / FACES)


Facts = dict[str, Any]


def prepare(job: Job) -> Facts:
    """Photos to a FaceSet; a FaceSet given as data is taken as it is."""
    settings, source = job.stage.settings, job.context.source
    if isinstance(source, FaceSet):
        if source.resolution != settings["resolution"]:
            raise InputError(
                f"{source.path} has {source.resolution} px; run with --resolution {source.resolution}, "
                "or prepare the photos again at the size you want"
            )
        if wrong := source.verify():
            raise CorruptError(f"{source.path} is damaged: {'; '.join(wrong)}; prepare it again")
        shutil.copytree(source.path, job.out / FACES)
        return {"images": len(source)}
    from forge.faces.prepare import prepare as prepare_faces

    faces = prepare_faces(
        source,
        job.out / FACES,
        resolution=settings["resolution"],
        count=settings["count"],
        crop=settings["crop"],
        dedupe=settings["dedupe"],
        splits=settings["splits"],
        seed=job.stage.seed,
        workers=job.context.workers,
        report=job.context.report,
    )
    return {"images": len(faces), "rejected": faces.card.rejected}


def train(job: Job) -> Facts:
    """FaceSet to generator; the other processes of a `torchrun` are told to join in."""
    from forge.distributed import World

    world = World.join(job.context.compute.torch_device)
    world.same((job.stage, dict(job.inputs), job.out, job.work))
    _train(job)
    return {"precision": read_json(job.out / "generator.json")["precision"], "processes": world.size}


def follow(context: Context) -> None:
    """Take part in every training that the first process begins, until it says that there are no more."""
    from forge.distributed import World

    world = World.join(context.compute.torch_device)
    while (told := world.same(None)) is not None:
        stage, inputs, out, work = told
        _train(Job(stage, inputs, out, work, context))


def dismiss(context: Context) -> None:
    """Tell the other processes, if there are any, that there are no more trainings."""
    if processes() > 1:
        from forge.distributed import World

        World.join(context.compute.torch_device).same(None)


def processes() -> int:
    """How many processes `torchrun` or `accelerate launch` started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _train(job: Job) -> None:
    from benchmarks.pipeline.settings import validated
    from forge.condition import Condition
    from forge.networks import GENERATORS
    from forge.training.loop import train as train_generator
    from forge.training.settings import TrainingSettings
    from forge.training.task import Training, hold_out

    settings, name = job.stage.settings, job.stage.subject
    faces = job.faces("data")
    kind = GENERATORS.load(settings["architecture"])
    network = validated(kind.Settings, settings["network"], where=f"generators.{name}.network")
    loop = validated(TrainingSettings, settings["training"], where=f"generators.{name}.training")
    view = faces.view("forge")
    condition, codes = None, None
    classes: tuple[tuple[int, ...], ...] = ()  # one-file architectures need not know of labels
    if settings["condition"]:
        condition, view, codes = Condition.of(view, settings["condition"])
        classes = (condition.classes,)
    track = job.context.track
    training = Training(
        name=name,
        reference=settings["architecture"],
        architecture=kind(network, faces.resolution, *classes),
        settings=loop,
        view=view,
        seed=job.stage.seed,
        compute=job.context.compute,
        work=job.work,
        condition=condition,
        codes=codes,
        track=track / f"{name}-{job.stage.key[:8]}" if track else None,
    )
    train_generator(hold_out(training), job.out, job.context.report)


def synthesize(job: Job) -> Facts:
    """Generator to forged FaceSet."""
    from forge.generator import TrainedGenerator, generator_place
    from forge.networks import GENERATORS
    from forge.synthesis import synthesize as synthesize_faces

    settings = job.stage.settings
    kind = GENERATORS.load(job.stage.inputs["generator"].settings["architecture"])
    trained = TrainedGenerator.open(generator_place(job.inputs["generator"], settings["snapshot"]), implementation=kind)
    faces = synthesize_faces(
        trained,
        job.out / FACES,
        counts=settings["counts"],
        seed=job.stage.seed,
        averaged=settings["weights"] == "averaged",
        truncation=settings["truncation"],
        mix=settings["mix"],
        report=job.context.report,
        device=job.context.compute.device,
    )
    return {"images": len(faces)}


def floor(job: Job) -> Facts:
    """What held-out reals get in every quality metric."""
    from forge.quality.sets import measure_floor

    return _measured(job, lambda: measure_floor(job.faces("data"), _ask(job)))


def quality(job: Job) -> Facts:
    """How good a generator's forgeries are, beside the floor."""
    from forge.quality.measure import Quality
    from forge.quality.sets import measure_set

    def compared() -> BaseModel:
        known = read_json(job.inputs["floor"] / "quality.json")
        if "missing" in known:
            raise InputError(known["missing"])
        return measure_set(job.faces("forged"), job.faces("data"), _ask(job), floor=Quality.model_validate(known))

    return _measured(job, compared)


def _ask(job: Job) -> Ask:
    from forge.quality.sets import Ask

    asked = job.stage.settings
    return Ask(
        n=asked["n"],
        face_n=asked["face_n"],
        seed=job.stage.seed,
        device=job.context.compute.device,
        report=job.context.report,
    )


def _measured(job: Job, call: Callable[[], BaseModel]) -> Facts:
    """Write what was measured; sets too small to measure are no reason to fail a run."""
    try:
        found = call().model_dump(mode="json")
    except InputError as error:
        found = {"missing": str(error)}
    write_json(job.out / "quality.json", found)
    return {}


def _drawn(view: FaceView, count: int, split: str) -> FaceView:
    """The same images for every detector and every seed of a run, so that scores can be paired."""
    return view.sample(count, derive_seed(0, "draw", split))


def fit(job: Job) -> Facts:
    """Real and forged FaceSet to a fitted detector; both classes of a split are cut to the same size."""
    from benchmarks.pipeline.settings import validated
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
    kind = DETECTORS.load(settings["detector"])
    name = job.stage.subject.partition("@")[0]
    typed = validated(kind.Settings, settings["settings"], where=f"detectors.{name}")
    context = FitContext(seed=job.stage.seed, compute=job.context.compute, work=job.work, report=job.context.report)
    trained = fit_detector(settings["detector"], typed, FitData(**views), context, trained_on=forged.card.name)
    trained.save(job.out / "detector")
    return {"parameters": trained.card.parameters}


def score(job: Job) -> Facts:
    """Fitted detector and FaceSet to score rows of `val` and `test`."""
    import pandas as pd

    from detect.detectors import DETECTORS
    from detect.scoring import score_table, write_scores
    from detect.trained import load_trained

    faces = job.faces("faces")
    reference = job.stage.inputs["detector"].settings["detector"]
    trained = load_trained(job.inputs["detector"] / "detector", implementation=DETECTORS.load(reference))
    tables, seconds, count = [], 0.0, 0
    for split in ("val", "test"):
        view = _drawn(faces.view(split), job.stage.settings["images"][split], split)
        start = time.perf_counter()
        tables.append(score_table(trained, view, job.context.compute, report=job.context.report))
        seconds += time.perf_counter() - start
        count += len(view)
    write_scores(pd.concat(tables, ignore_index=True), job.out / "scores.parquet")
    return {"images_per_second": round(count / seconds, 1)}


def evaluate(job: Job) -> Facts:
    """All score rows of the run to cells and comparisons."""
    import pandas as pd

    from benchmarks.measures.evaluate import compare
    from benchmarks.measures.evaluate import evaluate as evaluate_cells
    from detect.scoring import read_scores, write_scores

    rows = pd.concat([read_scores(path / "scores.parquet") for path in job.inputs.values()], ignore_index=True)
    write_scores(rows, job.out / "scores.parquet")
    cells, comparisons = evaluate_cells(rows), compare(rows)
    write_json(
        job.out / "evaluation.json",
        {
            "cells": [cell.model_dump(mode="json") for cell in cells],
            "comparisons": [item.model_dump(mode="json") for item in comparisons],
        },
    )
    return {"cells": len(cells)}


def report(job: Job) -> Facts:
    """Everything of the run to a folder that a person reads."""
    from benchmarks.pipeline.assemble import assemble

    return assemble(job)


STAGES: dict[str, Callable[[Job], Facts]] = {
    "prepare": prepare,
    "train": train,
    "synthesize": synthesize,
    "floor": floor,
    "quality": quality,
    "fit": fit,
    "score": score,
    "evaluate": evaluate,
    "report": report,
}
