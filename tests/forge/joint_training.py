"""Twelve steps of some small trainings, by one process or by several."""

import json
from pathlib import Path
from typing import Any

import torch

from forge.core.compute import Compute
from forge.core.distributed import ProcessGroup
from forge.faces.faceset import FaceSet
from forge.generators import GENERATORS
from forge.training.steps import method_of
from forge.training.task import Training
from forge.training.trainer import Trainer

NETWORKS = {
    "gan": {"latent": 8, "generator_widths": [16], "discriminator_widths": [16], "grey": False},
    "stylegan-lite": {
        "latent": 8, "style": 8, "channels_base": 64, "channels_min": 4, "channels_max": 8, "noise": False, "mixing": 0,
    },
    "flow": {"widths": [8, 8], "embedding": 8},
}  # fmt: skip


def train_all(faces: Path, out: Path, processes: ProcessGroup) -> dict[str, tuple[list[list[float]], list[float]]]:
    """Name -> losses of every step, averaged over the processes, and the sums of the averaged weights."""
    return {name: _train(name, faces, out, processes) for name in NETWORKS}


def _train(name: str, faces: Path, out: Path, processes: ProcessGroup) -> tuple[list[list[float]], list[float]]:
    architecture = GENERATORS.load(name)
    chosen: dict[str, Any] = {"kimg": 1, "batch": 16, "beta1": 0.0, "beta2": 0.99}
    chosen |= {"lr": 2e-3, "warm_up": 2} if name == "flow" else {"r1_gamma": 1.0, "penalty_every": 2}
    settings = method_of(architecture).Settings(**chosen)
    networks = architecture(architecture.Settings(**NETWORKS[name]), 16)
    view = FaceSet.open(faces).view("forge")
    trainer = Trainer(Training(name, name, networks, settings, view, 3, Compute("cpu", "fp32"), out), "fp32", processes)
    losses = []
    for _ in range(12):
        trainer.advance()
        values = [trainer.readings[key].clone() for key in sorted(trainer.readings)]
        processes.average(values)
        losses.append([float(value) for value in values])
    return losses, [float(parameter.double().sum()) for parameter in trainer.averaged.network.parameters()]


def train_jointly(faces: Path, out: Path) -> None:
    """As one process of a group: `train_all` into OUT/SIZE.json."""
    joined = ProcessGroup.join(torch.device("cpu"))
    result = train_all(faces, out, joined)
    if joined.first:
        (out / f"{joined.size}.json").write_text(json.dumps(result))
