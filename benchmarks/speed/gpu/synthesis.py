"""Speed of synthesis on a device: whole sets with their files, and the generator's network alone."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.speed.gpu.record import GpuFigure, Recorder
from benchmarks.speed.gpu.scale import noise_set, scale_of, training_of
from benchmarks.speed.gpu.timing import counting_memory, default_tf32, rate
from forge.core.progress import silent
from forge.faces.tensors import to_uint8
from forge.generators.artifact import TrainedGenerator, write_generator
from forge.generators.sample import synthesize
from forge.training.task import Training

PLAIN_BATCH = 64


def measure_synthesis(recorder: Recorder, device: torch.device) -> None:
    """Every generator: `synthesize` into a FaceSet in fp32, and beside it the network alone in batches of 64."""
    scale = scale_of(device)
    for name, resolution in scale.generators:
        faces = noise_set("real", resolution, 128, ("forge",))
        training = training_of(name, resolution, faces, device, Path(tempfile.mkdtemp()))
        trained = untrained(training)
        # a counter, since each call needs a folder that is not there
        whole = partial(_synthesized, trained, Path(tempfile.mkdtemp()), itertools.count(), scale.samples, device)
        network = trained.generator(device=str(device))
        # Drawn once: the plain figure is of the network alone.
        latents = trained.architecture.latents(PLAIN_BATCH, device)
        labels = () if training.codes is None else (torch.from_numpy(training.codes[:PLAIN_BATCH]).to(device),)
        plain = partial(_fetched, network, latents, *labels)
        with counting_memory(device) as memory:
            value = rate(whole, device, images=scale.samples, seconds=scale.seconds, steps=1, warm_up=1)
            recorder.figure(
                GpuFigure(
                    task="synthesize", network=name, resolution=resolution, mode="eager fp32", value=value, batch=64,
                    memory_mb=memory(), note=f"{scale.samples:,} images into a FaceSet with its files and digests",
                )
            )  # fmt: skip
        with default_tf32(), counting_memory(device) as memory:
            value = rate(plain, device, images=PLAIN_BATCH, seconds=scale.seconds)
            recorder.figure(
                GpuFigure(
                    task="synthesize", network=name, resolution=resolution, mode="plain fp32", value=value,
                    batch=PLAIN_BATCH, memory_mb=memory(), note="the network alone, fetched batch by batch",
                )
            )  # fmt: skip


def _synthesized(
    trained: TrainedGenerator, folder: Path, numbers: Iterator[int], count: int, device: torch.device
) -> None:
    path = folder / str(next(numbers))
    synthesize(trained, path, counts={"test": count}, seed=0, on_progress=silent, device=str(device))


@torch.no_grad()
def _fetched(network: torch.nn.Module, *inputs: torch.Tensor) -> None:
    to_uint8(network(*inputs)).cpu()


def untrained(training: Training) -> TrainedGenerator:
    """Return a generator as its training would leave it, from random weights: its speed is that of a trained one."""
    folder = Path(tempfile.mkdtemp())
    architecture = training.architecture
    write_generator(
        folder,
        raw=architecture.generator(),
        averaged=architecture.generator(),
        discriminator=architecture.discriminator(),
        # What loading reads; a training fills in more.
        card={
            "name": training.name, "architecture": training.reference,
            "settings": architecture.settings.model_dump(mode="json"), "resolution": architecture.resolution,
            "condition": training.condition.to_json() if training.condition else None, "seed": 0, "kimg": 1.0,
            "training": {}, "data": {"licence": "none"}, "precision": "fp32", "parameters": {},
        },
    )  # fmt: skip
    return TrainedGenerator.open(folder)
