"""Training speed of each network in fp32 and bf16 on this CPU, for `bench doctor --measure`."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.experiment.configs import shipped
from benchmarks.speed.gpu.scale import noise_set
from benchmarks.speed.gpu.synthesis import untrained
from benchmarks.speed.gpu.timing import rate
from detect.detectors.base import FitContext, FitData
from detect.detectors.discriminator import DiscriminatorNetwork
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.discriminator_source import Blueprint, DiscriminatorSource
from detect.training.loop import Fit
from forge.core.compute import Compute, Precision
from forge.core.execution import Networks, execution_table
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.generators import GENERATORS
from forge.generators.labels import Condition
from forge.training.steps import method_of
from forge.training.task import Training

RESOLUTION, IMAGES = 64, 128
WORTHWHILE = 1.2  # bf16 must be this much faster to be worth its coarser arithmetic


@dataclass(frozen=True)
class Gain:
    """Speed of a network's training steps in bf16 and fp32 on this device.

    Attributes:
        networks: "generators" or "detectors".
        name: of the network.
        fp32: images per second of its training steps.
        bf16: likewise.
        shipped: what the table makes of it on this CPU.
    """

    networks: Networks
    name: str
    fp32: float
    bf16: float
    shipped: Precision

    @property
    def proposed(self) -> Precision:
        """The precision that is worth it here."""
        return "bf16" if self.bf16 >= WORTHWHILE * self.fp32 else "fp32"


def measure_gains(compute: Compute, *, seconds: float = 1.0) -> Iterator[Gain]:
    """Time the training steps of every network of the table at preset quick in both precisions.

    Args:
        compute: a CPU.
        seconds: of each measurement.
    """
    # One set for all networks: its splits serve generators and detectors.
    faces = noise_set("real", RESOLUTION, IMAGES, ("forge", "train", "val"))
    for group, entries in execution_table().items():
        for name, entry in entries.items():
            batch, step = (_generator if group == "generators" else _detector)(name, faces, compute)
            speeds = {
                precision: rate(partial(step, precision), compute.torch_device, images=batch, seconds=seconds, steps=2)
                for precision in ("fp32", "bf16")
            }
            yield Gain(group, name, speeds["fp32"], speeds["bf16"], compute.decide(entry))


def _training(name: str, faces: FaceSet, compute: Compute) -> Training:
    chosen, architecture_class = shipped("generators", name, "quick"), GENERATORS.load(name)
    view, condition, codes = faces.view("forge"), None, None
    classes: tuple[tuple[int, ...], ...] = ()
    if name == "cgan":  # the conditional generator takes labels
        condition, view, codes = Condition.of(view, faces.card.attributes[:1])
        classes = (condition.classes,)
    network, loop = (
        architecture_class.Settings(**chosen["network"]),
        method_of(architecture_class).Settings(**chosen["training"]),
    )
    work = Path(tempfile.mkdtemp())
    return Training(
        name,
        name,
        architecture_class(network, RESOLUTION, *classes),
        loop,
        view,
        0,
        compute,
        work,
        condition=condition,
        codes=codes,
    )


def _generator(name: str, faces: FaceSet, compute: Compute) -> tuple[int, Callable[[Precision], object]]:
    training = _training(name, faces, compute)
    return training.settings.batch, method_of(training.architecture).trial_step(training)


def _detector(name: str, faces: FaceSet, compute: Compute) -> tuple[int, Callable[[Precision], object]]:
    detector_class = DETECTORS.load(name)
    detector: NetworkDetector[Any] = detector_class(
        detector_class.Settings(**shipped("detectors", name, "quick")), RESOLUTION
    )
    # also where it is not used: the context of every fit is made alike
    trained = untrained(_training("dcgan", faces, compute))
    if isinstance(detector, DiscriminatorNetwork):
        detector.source, detector.blueprint = trained, Blueprint.of(trained, RESOLUTION)
    torch.manual_seed(0)  # the same weights in both precisions
    network = detector.build().to(memory_format=torch.channels_last)
    # noise on both sides: real and forged are the same pixels
    data = FitData(*(faces.view(split) for split in ("train", "train", "val", "val")))
    context = FitContext(0, compute, Path(tempfile.mkdtemp()), silent, discriminator=DiscriminatorSource(trained.path))
    # a copy each: steps of one must not train the other
    fits = {precision: Fit(detector, copy.deepcopy(network), data, context) for precision in ("fp32", "bf16")}

    def step(precision: Precision) -> None:
        fits[precision].precision = precision
        fits[precision].advance()

    return detector.settings.batch, step
