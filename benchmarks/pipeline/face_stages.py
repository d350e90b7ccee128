"""The thin glue between forge and the stages that make faces: prepare, train, synthesize, blend, and their quality."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from benchmarks.pipeline.job import FACES, Context, Facts, Job
from benchmarks.protocol import EXTERNAL_PREFIX
from forge.errors import CorruptError, InputError
from forge.faces.faceset import FaceSet
from forge.files import read_json, write_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from benchmarks.measures.file_cues import FileCues
    from forge.faces.sources import Source
    from forge.quality.sets import Ask

_SAMPLED, _SAMPLED_AT_ONCE = 400, 50  # files of a side of an external pair whose handling is looked at


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
        least=least_photos(settings["splits"]),
        workers=job.context.workers,
        report=job.context.report,
    )
    return {"images": len(faces), "rejected": faces.card.rejected}


def least_photos(splits: Mapping[str, float]) -> int:
    """Return how many usable photos a run needs: enough in split `forge` to train a generator on and to watch it.

    Args:
        splits: split -> share of the photos.
    """
    from forge.faces.prepare import MIN_IMAGES
    from forge.training.monitor import FEWEST

    share = splits.get("forge", 0.0)
    return max(MIN_IMAGES, math.ceil(FEWEST / share) if share > 0 else 0)


def external(job: Job) -> Facts:
    """Photos of one side of an external pair to a FaceSet, all of it for the test."""
    from forge.faces.prepare import prepare as prepare_faces

    settings = job.stage.settings
    pair = job.context.external[settings["name"].removeprefix(EXTERNAL_PREFIX)]
    source = pair[settings["kind"] == "forged"]
    faces = prepare_faces(
        source,
        job.out / FACES,
        resolution=settings["resolution"],
        count=min(settings["count"], len(source)),
        crop=settings["crop"],
        splits={"test": 1.0},
        dedupe=False,  # frames of one clip stay, as one group
        kind=settings["kind"],
        name=settings["name"],
        workers=job.context.workers,
        report=job.context.report,
    )
    _sample_cues(source, faces, job.context.workers).save(job.out)
    return {"images": len(faces), "groups": count_groups(faces), "rejected": faces.card.rejected}


def count_groups(faces: FaceSet) -> int:
    """Number of people and clips of a set: images of one identity or of one photo count once."""
    from benchmarks.measures.evaluate import identities

    known = identities(faces.table)
    return len({name for name in known if name is not None}) + sum(name is None for name in known)


def _sample_cues(source: Source, faces: FaceSet, workers: int) -> FileCues:
    """How the files of a prepared side were handled, of a sample; images of one group share an identity."""
    from benchmarks.measures.evaluate import identities
    from benchmarks.measures.file_cues import FileCues, measure
    from forge.faces.pool import ordered

    rows = faces.view("test").sample(_SAMPLED, 0).rows
    positions = [int(name) for name in rows["id"]]
    chunks = [positions[start : start + _SAMPLED_AT_ONCE] for start in range(0, len(positions), _SAMPLED_AT_ONCE)]
    parts = ordered(measure, [list(source.chunk(chunk)) for chunk in chunks], workers=workers if len(chunks) > 2 else 1)
    cues = FileCues.joined(list(parts))
    cues.table["identity"] = identities(rows)
    return cues


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
    from benchmarks.pipeline.configs import validated
    from forge.condition import Condition
    from forge.networks import GENERATORS
    from forge.training.loop import train as train_generator
    from forge.training.settings import TrainingSettings
    from forge.training.task import Training, hold_out

    settings, name = job.stage.settings, job.stage.plain
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
        compute=job.compute,
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


def blend(job: Job) -> Facts:
    """Real faces to forgeries made from them."""
    from benchmarks.pipeline.configs import validated
    from forge.blending import blend_set
    from forge.networks import GENERATORS

    settings = job.stage.settings
    typed = validated(
        GENERATORS.load(settings["generator"]).Settings,
        settings["settings"],
        where=f"generators.{job.stage.plain}.network",
    )
    faces = blend_set(
        job.faces("data"),
        job.out / FACES,
        counts=settings["counts"],
        seed=job.stage.seed,
        report=job.context.report,
        settings=typed,
    )
    return {"images": len(faces)}


def perturb(job: Job) -> Facts:
    """A FaceSet with every image perturbed, to train on."""
    from detect.data.perturb import perturbation
    from forge.faces.rewriting import rewrite

    name = job.stage.settings["perturbation"]
    faces = rewrite(
        job.faces("faces"),
        job.out / FACES,
        perturbation(name),
        called=name,
        splits=job.stage.settings["splits"],
        report=job.context.report,
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
        more=tuple(asked.get("metrics", ())),
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
