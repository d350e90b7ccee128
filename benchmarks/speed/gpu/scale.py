"""Sizes of the measured work: presets of a GPU, or small enough for a dry run on a CPU in a minute."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.experiment.configs import shipped
from benchmarks.speed.gpu.record import Mode
from forge.core.compute import Compute
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.generators.labels import Condition
from forge.training.settings import TrainingSettings
from forge.training.task import Training

LABEL = "letter"  # label column of the noise sets


@dataclass(frozen=True)
class Scale:
    """Sizes of the measurements on a device.

    Attributes:
        preset: whose networks and batches are used.
        generators: architecture and resolution of each training.
        modes: how trainings and fits run, beside the plain loop.
        detectors: names.
        resolutions: of the detectors' images.
        images: per class, by resolution.
        seconds: of each measurement.
        samples: forged images of the synthesis measurement.
        compiled: which of the trainings and fits are tried with torch.compile.
        kimg: length of the trainings that are kept; None: what their time allows.
    """

    preset: Literal["smoke", "standard"]
    generators: tuple[tuple[str, int], ...]
    modes: tuple[Mode, ...]
    detectors: tuple[str, ...]
    resolutions: tuple[int, ...]
    images: Mapping[int, int]
    seconds: float
    samples: int
    compiled: tuple[tuple[str, int], ...]
    kimg: float | None


GPU = Scale(
    preset="standard",
    generators=(("dcgan", 64), ("cgan", 64), ("stylegan-lite", 64), ("stylegan-lite", 128)),
    modes=("eager bf16", "graph bf16"),
    detectors=("xception", "resnet50", "npr", "disc-finetune"),
    resolutions=(64, 256),
    images={64: 8192, 256: 1024},
    seconds=0.5,
    samples=8192,
    compiled=(("dcgan", 64), ("stylegan-lite", 64), ("xception", 64), ("npr", 64)),
    kimg=None,
)
# Enough to call every function once.
CPU = Scale(
    preset="smoke",
    generators=(("cgan", 32), ("stylegan-lite", 32)),
    modes=("eager bf16", "graph bf16"),
    detectors=("disc-finetune",),
    resolutions=(32,),
    images={32: 32},
    seconds=0.0,
    samples=64,
    compiled=(),  # which would take longer than all else together
    kimg=0.064,
)


def scale_of(device: torch.device) -> Scale:
    """Return the sizes of the measurements on a device."""
    return GPU if device.type == "cuda" else CPU


def noise_set(kind: Literal["real", "forged"], resolution: int, count: int, splits: tuple[str, ...]) -> FaceSet:
    """Return a set of random pixels in a temporary folder: speed does not depend on what the images show."""
    # Written through `FaceSetWriter`: reading is timed as it is in a run.
    folder = Path(tempfile.mkdtemp()) / kind
    pixels = np.random.default_rng(0).integers(0, 256, (count, resolution, resolution, 3), dtype=np.uint8)
    with FaceSetWriter(
        folder, kind, kind, resolution, licence="none", provenance={}, attributes={LABEL: "string"}
    ) as writer:
        for split in splits:  # each split holds the same pixels under other ids
            writer.append(
                pixels, [{"id": f"{split}{i}", "split": split, LABEL: "ab"[i % 2]} for i in range(len(pixels))]
            )
    return FaceSet.open(folder)


def training_of(
    name: str,
    resolution: int,
    faces: FaceSet,
    device: torch.device,
    work: Path,
    *,
    label: str = LABEL,
    **settings: object,
) -> Training:
    """Return a training of a shipped generator at the scale of the device.

    Args:
        name: of the generator.
        resolution: in pixels.
        faces: real images with a split `forge`.
        device: that trains.
        work: for its checkpoint.
        label: column of the conditional generator.
        settings: of the loop, over those of the preset.
    """
    chosen, architecture_class = shipped("generators", name, scale_of(device).preset), GENERATORS.load(name)
    view, condition, codes = faces.view("forge"), None, None
    classes: tuple[tuple[int, ...], ...] = ()
    # The conditional generator alone takes labels.
    if name == "cgan":
        condition, view, codes = Condition.of(view, [label])
        classes = (condition.classes,)
    return Training(
        name=name,
        reference=name,
        architecture=architecture_class(architecture_class.Settings(**chosen["network"]), resolution, *classes),
        settings=TrainingSettings(**chosen["training"] | settings),  # settings of the call win over the preset's
        view=view,
        seed=0,
        compute=Compute(str(device)),
        work=work,
        condition=condition,
        codes=codes,
    )
