"""Trainings worth keeping: as long as the time allows, kept as half-precision generators with what describes them."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import torch

from benchmarks.speed.gpu.record import GpuFigure, Recorder
from benchmarks.speed.gpu.scale import training_of
from benchmarks.zoo.archive import pack
from benchmarks.zoo.publish import Origin, default_name, publish_generator, quality_rows
from forge.core.errors import InputError
from forge.core.files import read_json, write_json
from forge.core.progress import ProgressEvent, silent
from forge.faces.faceset import FaceSet
from forge.faces.prepare import prepare
from forge.faces.sources.base import Source
from forge.faces.sources.fairface import FairFaceSource
from forge.faces.sources.rendered import RenderedSource
from forge.generators.artifact import TrainedGenerator
from forge.generators.sample import synthesize
from forge.quality.measure import Quality
from forge.quality.sets import Ask, measure_floor, measure_set
from forge.training.task import hold_out
from forge.training.train import train

PUBLISHING = 6.0  # seconds that are left at the end of a part, when its training is stopped
START_UP = 14.0  # seconds of a part that are not training: preparing faces, starting, publishing
SAFETY = 0.75  # of the measured speed, which has no health monitor, sample grids or checkpoints in it
SPLITS = {"forge": 0.6, "train": 0.2, "val": 0.06, "test": 0.14}  # those of `bench run`
# a few thousand photos are seen hundreds of times: augmentation adapts to how much the discriminator has memorised
AUGMENT = {"augment": ("colour", "translation"), "augment_target": 0.6}
SNAPSHOTS = (0.25, 0.5, 0.75, 0.9)  # shares of a training after which a generator is kept
QUALITY_N, FACE_N = 1000, 200


def prepare_faces(pack: Path, work: Path, resolution: int, device: torch.device, workers: int) -> FaceSet:
    """Faces of the GPU pack at a resolution, made once; rendered ones where the pack is not there, or on a CPU.

    Args:
        pack: folder of `benchmarks.speed.pack`.
        work: where the set is made.
        resolution: in pixels.
        device: that trains.
        workers: processes.
    """
    out = work / f"faces-{resolution}"
    if (out / "card.json").is_file():  # made by the part before of the same resolution
        return FaceSet.open(out)
    archive, count = pack / "faces.zip", None
    if archive.is_file() and device.type == "cuda":
        photos = work / "fairface"
        if not photos.is_dir():  # unpacked once for all resolutions
            with ZipFile(archive) as file:
                file.extractall(photos)
        source: Source = FairFaceSource(photos)
    else:
        source, count = RenderedSource(), 8000 if device.type == "cuda" else 160
    return prepare(source, out, resolution=resolution, count=count, splits=SPLITS, workers=workers)


def kimg_for(rate: float, seconds: float) -> float:
    """Thousands of images that a training shows in a time, rounded to two digits.

    Args:
        rate: images per second that were measured.
        seconds: of the part, with all that is not training.
    """
    images = max(64.0, rate * SAFETY * max(1.0, seconds - START_UP))
    digits = 1 - math.floor(math.log10(images))
    return round(images, digits) / 1000


def best_rate(figures: Sequence[GpuFigure], name: str, resolution: int) -> float | None:
    """Return the highest speed that was measured for a training as it is shipped: bf16, eager or as a graph."""
    shipped_modes = ("eager bf16", "graph bf16", "eager fp32")
    # modes that `bench run` would choose
    rates = [f.value for f in figures if f.key == ("train", name, resolution) and f.mode in shipped_modes]
    return max(rates, default=None)


def train_for(
    recorder: Recorder, device: torch.device, name: str, faces: FaceSet, *, kimg: float, work: Path, until: float
) -> Path:
    """Train a generator at the preset of the device's scale.

    Args:
        recorder: told how far it is.
        device: that trains.
        name: of the generator.
        faces: real ones.
        kimg: length in thousands of images.
        work: for the checkpoint and the result.
        until: when the training is stopped, by the clock of `time.monotonic`; the newest snapshot is kept then.

    Returns:
        The directory of the generator.
    """
    resolution = faces.resolution
    # photos have labels of people, the rendered faces others
    label = "gender" if "gender" in faces.card.attributes else faces.card.attributes[0]
    # Snapshots, since a training that is stopped is kept at the newest of them.
    training = training_of(
        name, resolution, faces, device, work / f"{name}-{resolution}-work", label=label,
        kimg=kimg, snapshots_kimg=tuple(round(kimg * share, 3) for share in SNAPSHOTS),
        sample_every_kimg=max(kimg / 8, 0.5), **AUGMENT,
    )  # fmt: skip
    out = work / f"{name}-{resolution}"
    shutil.rmtree(out, ignore_errors=True)  # of a call of the same part before: nothing is continued here
    out.mkdir(parents=True)
    last = [0]

    def on_progress(event: ProgressEvent) -> None:
        # A note at each twentieth, so that the record is not written with every step.
        if event.done * 20 // event.total > last[0]:
            last[0] = event.done * 20 // event.total
            recorder.fact("progress", {"images": event.done, "of": event.total, "readings": dict(event.values)})
            print(f"{event.done:,} of {event.total:,} images; {event.note}", flush=True)

    with _interrupted_at(until):
        try:
            train(hold_out(training), out, on_progress)
        except KeyboardInterrupt:  # raised by `_interrupted_at`; the checkpoint is saved by then
            recorder.lacks("whole training", f"stopped by the clock before {kimg:g} thousand images")
    made = finished_or_newest(out)
    card = read_json(made / "generator.json")
    recorder.fact("training", {"kimg": card["kimg"], "parameters": card["parameters"], "precision": card["precision"]})
    # Of a finished training, else of the one that was stopped.
    for file in (out / "health.json", training.work / "health.json"):
        if file.is_file():
            recorder.fact("health", [{key: look[key] for key in ("kimg", "state")} for look in read_json(file)])
            break
    return made


@contextmanager
def _interrupted_at(until: float) -> Iterator[None]:
    """Ctrl-C at a time, which a training answers by saving its checkpoint."""
    # SIGALRM becomes SIGINT, so that the training ends on the path that Ctrl-C takes.
    previous = signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, max(0.1, until - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # off before the handler is given back, so that none fires in between
        signal.signal(signal.SIGALRM, previous)


def finished_or_newest(training: Path) -> Path:
    """Return the directory of a finished training, or the newest snapshot of one that was stopped.

    Raises:
        InputError: neither is there.
    """
    if (training / "generator.json").is_file():
        return training
    snapshots = (training.parent / f"{training.name}-work" / "snapshots").glob("*k")
    # numerically: "100k" after "24k"
    ordered = sorted(snapshots, key=lambda snapshot: float(snapshot.name.removesuffix("k")))
    if not ordered:
        raise InputError(f"{training} is neither a finished training nor has it a snapshot")
    return ordered[-1]


def keep(training: Path, work: Path, out: Path, *, command: str, citation: str = "", device: str = "cpu") -> Path:
    """Pack what is worth keeping of a training into one archive: the member of the zoo that it makes.

    Args:
        training: directory of the generator.
        work: for the folder that is packed.
        out: where the archive goes; `bench zoo add` takes it.
        command: that trains it again.
        citation: of the real faces.
        device: where samples are made.

    Returns:
        The archive, `<generator>-<resolution>.tar`.
    """
    trained = TrainedGenerator.open(training)
    name = default_name(trained.card.name, trained.card.resolution)
    folder = work / "kept" / name
    shutil.rmtree(folder, ignore_errors=True)
    # its quality is measured while the next one is trained; a large one is kept all the same
    member = publish_generator(
        trained, folder, name=name, origin=Origin(command, citation), largest_mb=math.inf, device=device
    )
    path = out / f"{name}.tar"
    pack([member], path)
    return path


def measure_quality(recorder: Recorder, training: Path, faces: FaceSet, device: torch.device, work: Path) -> None:
    """Quality of a generator's forgeries beside its reference: what held-out real faces reach."""
    n, face_n = (QUALITY_N, FACE_N) if device.type == "cuda" else (32, 8)
    trained = TrainedGenerator.open(training)
    forged = synthesize(
        trained, work / f"quality-{trained.card.name}-{faces.resolution}", counts={"test": n}, seed=1,
        on_progress=silent, device=str(device),
    )  # fmt: skip
    # a dry run on a CPU trains no classifiers on 32 forgeries
    ask = Ask(n=n, face_n=face_n, usefulness=device.type == "cuda", device=str(device))
    # the reference depends on the faces alone: measured once per resolution
    reference = work / f"reference-{faces.resolution}.json"
    if reference.is_file():
        floor = Quality.model_validate(read_json(reference))
    else:
        floor = measure_floor(faces, ask)
        write_json(reference, floor.model_dump(mode="json"))
    comparison = measure_set(forged, faces, ask, floor=floor)
    recorder.fact("quality", quality_rows(comparison.rows()))
