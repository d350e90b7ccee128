"""Speed of generator trainings: the plain fp32 loop, eager steps, CUDA graphs and torch.compile, on one device."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from benchmarks.speed import textbook
from benchmarks.speed.gpu.record import GpuFigure, Mode, Recorder
from benchmarks.speed.gpu.scale import noise_set, scale_of, training_of
from benchmarks.speed.gpu.timing import counting_memory, default_tf32, profiled, rate
from forge.core.compute import Precision
from forge.faces.tensors import to_float
from forge.generators.stylegan_settings import StyleGANSettings
from forge.training.steps.adversarial import Adversarial, adversarial_settings
from forge.training.steps.base import StepContext, TrainingMethod
from forge.training.task import Training
from forge.training.trainer import Trainer

COMPILED: tuple[Mode, ...] = ("compile bf16", "compile graph bf16")


class Compiled(Adversarial):
    """Compiled networks; penalties, which torch.compile cannot differentiate twice, stay eager."""

    def __init__(self, context: StepContext) -> None:
        super().__init__(context)
        # Not `network.compile()`: penalties differentiate twice through the eager network.
        self._compiled = torch.compile(self.generator), torch.compile(self.discriminator)

    def _call(self, network: int, values: Tensor, labels: Tensor | None) -> Tensor:
        given = () if labels is None else (labels,)
        with self.training.compute.autocast(self.context.precision):  # as the eager step does it
            return cast(Tensor, self._compiled[network](values, *given))

    def _forge(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return self._call(0, latents, labels)

    def _logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self._call(1, images, labels).float()


def measure_trainings(recorder: Recorder, device: torch.device) -> None:
    """Every generator in every mode but the compiled ones."""
    for name, resolution in scale_of(device).generators:
        training = _training(name, resolution, device)
        with default_tf32():
            _record(recorder, training, "plain fp32", partial(_plain_step, training, device))
        for mode in scale_of(device).modes:
            _record(recorder, training, mode, partial(_step, training, mode))


def measure_compiled_trainings(recorder: Recorder, device: torch.device) -> None:
    """The generators whose compilation is tried; with the seconds that it takes."""
    scale = scale_of(device)
    for name, resolution in scale.generators:
        if (name, resolution) in scale.compiled:
            training = _training(name, resolution, device)
            for mode in COMPILED:
                _record(recorder, training, mode, partial(_step, training, mode, Compiled))


def _training(name: str, resolution: int, device: torch.device) -> Training:
    faces = noise_set("real", resolution, 2048 if device.type == "cuda" else 128, ("forge",))
    return training_of(name, resolution, faces, device, Path(tempfile.mkdtemp()))


def _record(recorder: Recorder, training: Training, mode: Mode, make: Callable[[], Callable[[], object]]) -> None:
    device, size, batch = training.compute.torch_device, training.architecture.resolution, training.settings.batch
    gc.collect()  # cyclic references of the mode before hold its memory
    every = adversarial_settings(training).penalty_every
    begin = time.perf_counter()
    try:
        with counting_memory(device) as memory:
            step = make()  # networks, optimisers and graphs are made here, within the count of memory
            # whole periods of the lazy penalty; every kind of step has run often enough to be captured
            first = 4 * every if mode.partition(" ")[0] in ("graph", "compile") and device.type == "cuda" else 2
            for _ in range(first):
                step()
            prepared = time.perf_counter() - begin
            seconds = scale_of(device).seconds
            # whole periods of the penalty, else rounds would hold different numbers of it
            value = rate(step, device, images=batch, seconds=seconds, steps=every if seconds else 2, warm_up=1)
            seen = profiled(step, device, steps=every)
            note = f"first {first} steps with all that is made once: {prepared:.1f} s"
            recorder.figure(
                GpuFigure(
                    task="train", network=training.name, resolution=size, mode=mode, value=value, batch=batch,
                    busy=seen and seen.busy, memory_mb=memory(), note=note,
                )
            )  # fmt: skip
            if seen and mode == "graph bf16":
                recorder.fact(f"kernels of train {training.name} {size} px", seen.kernels)
    except Exception as error:  # noqa: BLE001 - one mode that fails is no reason to lose the others
        recorder.lacks(f"train {training.name} {size} px {mode}", f"{type(error).__name__}: {error}"[:300])


def _step(training: Training, mode: Mode, method: type[TrainingMethod] | None = None) -> Callable[[], object]:
    precision = cast(Precision, mode.rpartition(" ")[2])
    return Trainer(training, precision, graph="graph" in mode, method=method).advance


def _plain_step(training: Training, device: torch.device) -> Callable[[], object]:
    batch = training.settings.batch
    # the same batch at each step: reading is not part of the plain loop
    real = to_float(torch.from_numpy(training.view.read(range(batch)))).contiguous().to(device)  # type: ignore[arg-type]
    network = training.architecture.settings
    if isinstance(network, StyleGANSettings):
        return textbook.stylegan_step(network, real, adversarial_settings(training).penalty_every)
    labels = () if training.codes is None else (torch.from_numpy(training.codes[:batch]).to(device),)
    return textbook.dcgan_step(training.architecture, real, *labels)
