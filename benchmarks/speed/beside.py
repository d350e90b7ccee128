"""Speed of our training loops beside loops as papers and tutorials write them: fp32, contiguous memory."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.experiment.configs import shipped
from benchmarks.speed.figure import REPEATS, Figure, timed
from benchmarks.speed.gpu.scale import LABEL, noise_set
from forge.core.compute import Compute
from forge.core.execution import execution_of
from forge.faces.faceset import Images
from forge.generators import GENERATORS
from forge.generators.domains import Domains
from forge.training.steps import method_of
from forge.training.task import Training
from forge.training.trainer import Trainer

RESOLUTION, STEPS = 64, 16


def training_at_quick(name: str, resolution: int = RESOLUTION) -> Training:
    """Return the training of a shipped generator at preset quick, on random pixels; domains are two label values."""
    chosen, architecture_class = shipped("generators", name, "quick"), GENERATORS.load(name)
    architecture = architecture_class(architecture_class.Settings(**chosen["network"]), resolution)
    view, domains = noise_set("real", resolution, 512, ("forge",)).view("forge"), None
    if getattr(architecture, "domains", "none") != "none":
        domains, view = Domains.of(view, {LABEL: ("a", "b")})
    settings = method_of(architecture).Settings(**chosen["training"])
    work = Path(tempfile.mkdtemp())
    return Training(name, name, architecture, settings, view, 0, Compute(), work, domains=domains)


def first_batch(training: Training) -> Images:
    """Return a batch of a training's images, uint8 [N, H, W, 3]."""
    return training.view.read(slice(training.settings.batch))


def beside_plain(training: Training, plain: Callable[[], object], title: str, how: str) -> list[Figure]:
    """Time whole steps of a training and of a plain loop; rounds take turns, since other work comes and goes.

    Args:
        training: ours.
        plain: a step of the plain loop, with as many images.
        title: what is trained.
        how: the plain loop differs.
    """
    decided = training.compute.decide(execution_of("generators", training.reference))
    trainer = Trainer(training, decided)
    steps: list[Callable[[], object]] = [trainer.advance, plain]
    for step in steps:
        step()  # the first step allocates and chooses kernels
    rounds = [[timed(partial(_repeat, step)) for step in steps] for _ in range(REPEATS)]
    images = trainer.images_per_step * STEPS  # of both domains, where there are two
    ours, theirs = (images / statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    ratio = statistics.median(plain_seconds / seconds for seconds, plain_seconds in rounds)
    size = f"whole steps of {trainer.images_per_step}, {training.architecture.resolution} px, preset quick"
    return [
        Figure(f"{title} training", ours, "images/s", f"{size}, {decided}, averaged weights"),
        Figure(f"{title} against plain fp32", ratio, "x", f"{how}: {theirs:.0f} images/s"),
    ]


def _repeat(step: Callable[[], object]) -> None:
    for _ in range(STEPS):
        step()


def adam(network: torch.nn.Module) -> torch.optim.Adam:
    """Return the optimiser of a plain loop: one parameter after another."""
    return torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), foreach=False)
