"""Some small trainings and fits, by one process or by several."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detect.detectors.base import FitContext, FitData
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings
from forge.core.compute import Compute
from forge.core.distributed import ProcessGroup
from forge.core.progress import silent
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


class Plain(NetworkDetector[NetworkSettings]):
    """A network whose logit of an image depends on that image alone, also in training."""

    family = "plain"
    citation = "none"
    inner: tuple[type[nn.Module], ...] = ()
    interrupted_at = 0  # step in which Ctrl-C comes
    seen = 0

    def build(self, *, blank: bool = False) -> nn.Module:
        inner = [layer() for layer in self.inner]
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), *inner, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
        )

    def loss(self, network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        if self.seen == self.interrupted_at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().loss(network, inputs, labels)


class Noisy(Plain):
    """One with batch norm and dropout, which see the share of their process."""

    family = "noisy"
    inner = (lambda: nn.BatchNorm2d(4), nn.Dropout)


Curve = tuple[list[dict[str, float]], list[list[float]], dict[str, Any]]


def fit(kind: type[Plain], real: Path, forged: Path, work: Path, processes: ProcessGroup, *, cut: int = 0) -> Curve:
    """Return the history of a fit, the weights and the facts.

    Args:
        kind: of the detector.
        real: set of real faces.
        forged: set of forgeries.
        work: folder of the checkpoint.
        processes: that fit together.
        cut: step in which Ctrl-C comes; the fit is then continued. 0: it does not.
    """
    views = (FaceSet.open(path).view(split) for split in ("train", "val") for path in (real, forged))
    # sgd: Adam divides by the size of a gradient, and where that is rounding error, the order of sums decides
    settings = NetworkSettings(batch=8, epochs=3, optimizer="sgd", learning_rate=0.1, crop=0.9, jpeg=0.5)
    context = FitContext(3, Compute("cpu", "fp32"), work, silent, processes=processes)
    data = FitData(*views)
    detector = kind(settings, 16)
    if cut:
        detector.interrupted_at = cut
        try:
            detector.fit(data, context)
        except KeyboardInterrupt:
            detector = kind(settings, 16)
        processes.broadcast(None)  # the first one has written
    summary = detector.fit(data, context)
    assert detector.seen == (20 if cut else 30)  # a pass has 10 steps, after the 10th they ask for Ctrl-C
    values = detector.network.state_dict().values()
    return summary.history, [value.double().flatten().tolist() for value in values], summary.facts


def fit_all(real: Path, forged: Path, out: Path, processes: ProcessGroup) -> dict[str, Curve]:
    """Name -> what `fit` gives."""
    fits = {"plain": (Plain, 0), "noisy": (Noisy, 0), "noisy, continued": (Noisy, 7)}
    return {
        name: fit(kind, real, forged, out / f"{name} {processes.size}", processes, cut=cut)
        for name, (kind, cut) in fits.items()
    }


def train_jointly(real: Path, forged: Path, out: Path) -> None:
    """As one process of a group: `train_all` and `fit_all` into OUT/SIZE.json."""
    joined = ProcessGroup.join(torch.device("cpu"))
    result = {"trainings": train_all(real, out, joined), "fits": fit_all(real, forged, out, joined)}
    # all hold the same networks
    assert joined.broadcast(result["fits"]) == result["fits"]
    if joined.first:
        (out / f"{joined.size}.json").write_text(json.dumps(result))
