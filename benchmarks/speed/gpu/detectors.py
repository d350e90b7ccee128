"""Speed of detectors on a device: fits and scoring beside the plain fp32 loop, eager, as graphs and compiled."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks.experiment.configs import shipped
from benchmarks.speed import textbook_detector
from benchmarks.speed.gpu.record import GpuFigure, Mode, Recorder, Task
from benchmarks.speed.gpu.scale import noise_set, scale_of, training_of
from benchmarks.speed.gpu.synthesis import untrained
from benchmarks.speed.gpu.timing import counting_memory, default_tf32, profiled, rate
from detect.detectors.base import FitContext, FitData
from detect.detectors.discriminator import DiscriminatorNetwork
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.discriminator_source import Blueprint, DiscriminatorSource
from detect.scoring import score_view
from detect.training.loop import Fit
from forge.core.compute import Compute, Precision
from forge.core.progress import silent

SHIPPED: Mode = "graph bf16"  # alone at the larger resolutions, where a measurement takes long
COMPILED: tuple[Mode, ...] = ("compile bf16", "compile graph bf16")


def measure_detectors(recorder: Recorder, device: torch.device) -> None:
    """Every detector at every resolution, in every mode but the compiled ones."""
    for resolution in scale_of(device).resolutions:
        measured = _Measured(recorder, device, resolution)
        for name in scale_of(device).detectors:
            with default_tf32():  # the settings that people run plain code with
                measured.fit(name, "plain fp32")
                measured.score(name, "plain fp32")
            for mode in scale_of(device).modes if resolution == scale_of(device).resolutions[0] else (SHIPPED,):
                measured.fit(name, mode)
            measured.score(name, "eager bf16")


def measure_compiled_detectors(recorder: Recorder, device: torch.device) -> None:
    """The detectors whose compilation is tried."""
    scale = scale_of(device)
    for resolution in scale.resolutions:
        measured = _Measured(recorder, device, resolution)
        for name in scale.detectors:
            if (name, resolution) in scale.compiled:
                for mode in COMPILED:
                    measured.fit(name, mode)
                measured.score(name, "compile bf16")


class _Measured:
    """Detectors on random images of one resolution."""

    def __init__(self, recorder: Recorder, device: torch.device, resolution: int) -> None:
        self.recorder, self.device, self.resolution = recorder, device, resolution
        count = scale_of(device).images[resolution]
        splits = ("train", "val")
        real, forged = noise_set("real", resolution, count, splits), noise_set("forged", resolution, count, splits)
        self.data = FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))
        faces = noise_set("real", resolution, 16, ("forge",))
        # One untrained discriminator for all detectors that start from one.
        self.adversary = DiscriminatorSource(
            untrained(training_of("dcgan", resolution, faces, device, Path(tempfile.mkdtemp()))).path
        )

    def fit(self, name: str, mode: Mode) -> None:
        """Training steps, data and augmentation included."""
        detector, context = self._detector(name), self._context()
        network = self._built(detector)
        batch = detector.settings.batch
        if mode == "plain fp32":
            self._record("fit", name, mode, batch, lambda: self._plain_fit(network, batch))
            return

        def make() -> Callable[[], object]:
            # The constructor decides the precision by the shipped table; the mode overrides it.
            step = Fit(detector, network, self.data, context, graph="graph" in mode)
            step.precision = cast(Precision, mode.rpartition(" ")[2])
            if "compile" in mode:
                network.compile()
            return step.advance

        self._record("fit", name, mode, batch, make)

    def score(self, name: str, mode: Mode) -> None:
        """Whole views of a set, reading included; plain: from a tensor on the device."""
        detector = self._detector(name)
        network = self._built(detector).eval()
        view = self.data.val_forged
        if mode == "plain fp32":
            images = torch.from_numpy(view.read())

            def plain() -> None:
                with torch.no_grad():
                    for part in torch.split(images, 256):
                        # uint8 [n, H, W, 3] to float32 [n, 3, H, W] in -1..1
                        inputs = part.permute(0, 3, 1, 2).contiguous().to(self.device).float().div(127.5).sub(1)
                        detector.logits(network, inputs).cpu()

            self._record("score", name, mode, len(view), lambda: plain)
            return
        if "compile" in mode:
            network.compile()
        detector.network, detector.precision = network, cast(Precision, mode.rpartition(" ")[2])
        compute = Compute(str(self.device))
        self._record("score", name, mode, len(view), lambda: lambda: score_view(detector, view, compute))

    def _plain_fit(self, network: torch.nn.Module, batch: int) -> Callable[[], object]:
        network.to(memory_format=torch.contiguous_format)  # PyTorch's default layout; ours is channels last
        sides = (self.data.train_real, self.data.train_forged)
        pixels = np.concatenate([side.read(np.arange(batch // 2)) for side in sides])
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(self.device).float().div(127.5).sub(1)
        # as many of each class, as in a batch of ours
        labels = torch.repeat_interleave(torch.tensor([0.0, 1.0]), batch // 2).to(self.device)
        return textbook_detector.training_step(network, inputs, labels)

    def _detector(self, name: str) -> NetworkDetector[Any]:
        detector_class = DETECTORS.load(name)
        detector: NetworkDetector[Any] = detector_class(
            detector_class.Settings(**shipped("detectors", name, scale_of(self.device).preset)), self.resolution
        )
        return detector

    def _built(self, detector: NetworkDetector[Any]) -> torch.nn.Module:
        if isinstance(detector, DiscriminatorNetwork):
            detector.source = self.adversary.open()
            detector.blueprint = Blueprint.of(detector.source, self.resolution)
        torch.manual_seed(0)  # the same weights in every mode
        network: torch.nn.Module = detector.build().to(self.device)
        return network.to(memory_format=torch.channels_last)

    def _context(self) -> FitContext:
        return FitContext(0, Compute(str(self.device)), Path(tempfile.mkdtemp()), silent, discriminator=self.adversary)

    def _record(self, task: Task, name: str, mode: Mode, images: int, make: Callable[[], Callable[[], object]]) -> None:
        gc.collect()  # memory of the mode before must not count in this one's peak
        begin = time.perf_counter()
        try:
            with counting_memory(self.device) as memory:
                step = make()
                on_gpu = self.device.type == "cuda"
                first = 16 if on_gpu and task == "fit" else 1  # momenta of batch norm have settled; a graph is captured
                for _ in range(first):
                    step()
                prepared = time.perf_counter() - begin
                seconds = scale_of(self.device).seconds
                # A whole round between two waits for the device, so that launches are not timed one by one.
                steps = (16 if task == "fit" else 1) if on_gpu else 1
                value = rate(step, self.device, images=images, seconds=seconds, steps=steps, warm_up=1)
                # After the rates: the profiler slows the steps.
                seen = profiled(step, self.device, steps=steps)
                self.recorder.figure(
                    GpuFigure(
                        task=task, network=name, resolution=self.resolution, mode=mode, value=value,
                        batch=images, busy=seen and seen.busy, memory_mb=memory(),
                        note=f"first {first} steps with all that is made once: {prepared:.1f} s",
                    )
                )  # fmt: skip
                if seen and mode in ("graph bf16", "eager bf16"):
                    self.recorder.fact(f"kernels of {task} {name} {self.resolution} px, {mode}", seen.kernels)
        except Exception as error:  # noqa: BLE001 - one mode that fails is no reason to lose the others
            what = f"{task} {name} {self.resolution} px {mode}"
            self.recorder.lacks(what, f"{type(error).__name__}: {error}"[:300])
