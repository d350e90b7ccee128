"""The measurements behind `bench speed`: each figure is taken here and now; ratios come from one run on one machine."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.experiment.configs import shipped
from benchmarks.speed import textbook
from benchmarks.speed.attacks import attacks
from benchmarks.speed.autoencoders import autoencoder_training
from benchmarks.speed.clusters import clusters
from benchmarks.speed.detectors import families, networks, perturbations
from benchmarks.speed.diffusion import flow_training
from benchmarks.speed.figure import REPEATS, Figure, prepared, run_bench, timed
from benchmarks.speed.many_images import many_images
from benchmarks.speed.many_stages import many_stages
from benchmarks.speed.reports import reports
from benchmarks.speed.serving import serving
from benchmarks.speed.statistics import bootstrap, paired_tests, tables
from benchmarks.speed.tampering import localisation, tampering
from benchmarks.speed.translators import translator_training
from benchmarks.speed.workers import workers
from forge.core.compute import Compute
from forge.core.execution import execution_of
from forge.faces.faceset import FaceSet, Images
from forge.faces.tensors import to_float
from forge.faces.writer import FaceSetWriter
from forge.generators.base import Architecture
from forge.generators.dcgan import DCGAN, DCGANSettings
from forge.generators.stylegan_lite import StyleGANLite
from forge.generators.stylegan_settings import StyleGANSettings
from forge.training.settings import TrainingSettings
from forge.training.task import Training
from forge.training.trainer import Trainer


def startup(photos: str | None) -> list[Figure]:
    """`bench --help`."""
    seconds = statistics.median(run_bench("--help") for _ in range(5))
    return [Figure("bench --help", seconds, "s", "median of 5 processes")]


def smoke(photos: str | None) -> list[Figure]:
    """A whole smoke run, and the same command again."""
    with tempfile.TemporaryDirectory() as folder:
        # folders of its own: nothing cached, nothing left behind
        folders = ("--store", f"{folder}/runs", "--reports", f"{folder}/reports", "--quiet")
        run = ("run", "--generator", "dcgan", "--detector", "xception", "--preset", "smoke", *folders)
        first, again = run_bench(*run), run_bench(*run)  # the second run finds all results
    return [
        Figure("run --preset smoke", first, "s", "whole process, empty store"),
        Figure("the same again, all cached", again, "s", "whole process"),
    ]


def rendering(photos: str | None) -> list[Figure]:
    """Ten thousand rendered faces through the whole prepare pipeline."""
    return [_prepare("rendered", 10_000)]


def preparing(photos: str | None) -> list[Figure]:
    """Photos through the prepare pipeline, without face search."""
    return [_prepare(photos, None)] if photos else []


def _prepare(source: str, count: int | None) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        faces = prepared(source, Path(folder) / "set", count)
        seconds = time.perf_counter() - begin
    how = f"{len(faces)} images at 64 px in {seconds:.1f} s, whole process"
    return Figure(f"prepare {Path(source).name}", len(faces) / seconds, "images/s", how)


def training(photos: str | None) -> list[Figure]:
    """DCGAN training steps, against the plain fp32 loop that tutorials show."""
    figures: list[Figure] = []
    for width in (32, 64):
        network = DCGANSettings(latent=100, generator_width=width, discriminator_width=width, discriminator_norm="none")
        # no mirroring: the plain loop has none
        loop = TrainingSettings(**{**shipped("generators", "dcgan", "full")["training"], "batch": 64, "flip": False})
        images = torch.randint(0, 256, (512, 64, 64, 3), dtype=torch.uint8)  # noise, uint8 [n, H, W, 3]
        ours = _game_rate(DCGAN(network, 64), loop, images.numpy())
        plain = _rate(textbook.dcgan_step(DCGAN(network, 64), to_float(images[:64]).contiguous()), 64)
        how = "whole steps of 64, 64 px, R1 every 16, averaged weights"
        figures += [
            Figure(f"DCGAN width {width} training", ours, "images/s", how),
            Figure(f"DCGAN width {width} against plain fp32", ours / plain, "x", f"plain loop: {plain:.0f} images/s"),
        ]
    return figures


def style_training(photos: str | None) -> list[Figure]:
    """StyleGAN-lite training steps, against grouped convolutions and zero insertion in fp32."""
    chosen = shipped("generators", "stylegan-lite", "quick")
    network = StyleGANSettings(**chosen["network"])
    images = torch.randint(0, 256, (512, 64, 64, 3), dtype=torch.uint8)
    figures = []
    for batch in (chosen["training"]["batch"], 32):
        loop = TrainingSettings(**{**chosen["training"], "flip": False, "batch": batch})
        ours = _game_rate(StyleGANLite(network, 64), loop, images.numpy())
        real = to_float(images[:batch]).contiguous()
        plain = _rate(textbook.stylegan_step(network, real, loop.penalty_every), batch)
        how = "whole steps, 64 px, networks of preset quick, R1 every 16, averaged weights"
        beside = f"grouped convolutions: {plain:.0f} images/s"
        figures += [
            Figure(f"stylegan-lite training, batch {batch}", ours, "images/s", how),
            Figure(f"stylegan-lite batch {batch} against grouped fp32", ours / plain, "x", beside),
        ]
    return figures


def _game_rate(architecture: Architecture, settings: TrainingSettings, images: Images) -> float:
    folder = Path(tempfile.mkdtemp())
    try:
        with FaceSetWriter(
            folder / "set", name="noise", kind="real", resolution=64, licence="none", provenance={}
        ) as writer:
            writer.append(images, [{"id": str(i), "split": "forge"} for i in range(len(images))])
        view = FaceSet.open(folder / "set").view("forge")
        training = Training("dcgan", "dcgan", architecture, settings, view, 0, Compute(), folder / "work")
        trainer = Trainer(training, training.compute.decide(execution_of("generators", "dcgan")))
        return _rate(trainer.advance, settings.batch)
    finally:
        shutil.rmtree(folder)


def _rate(step: Callable[[], object], batch: int, steps: int = 16) -> float:
    step()  # the first step allocates and chooses kernels
    # each of REPEATS rounds times `steps` steps
    seconds = [timed(lambda: [step() for _ in range(steps)]) for _ in range(REPEATS)]
    return batch * steps / statistics.median(seconds)


def detectors(photos: str | None) -> list[Figure]:
    """Trainings and scoring of a network against plain loops over PNG files; fits without a network."""
    return networks(photos) + families(photos)


def measures(photos: str | None) -> list[Figure]:
    """Bootstraps, paired tests and leaderboards."""
    return [*bootstrap(photos), *paired_tests(photos), *tables(photos)]


def scale(photos: str | None) -> list[Figure]:
    """A plan of 100,000 stages, a million images, what surrounds stages in a pool, and suites on simulated clusters."""
    return [*many_stages(), *many_images(), *workers(), *clusters()]


# Each takes the source of photos, whether it uses it or not, so that they are called alike.
MEASUREMENTS: dict[str, Callable[[str | None], list[Figure]]] = {
    "startup": startup,
    "smoke": smoke,
    "rendering": rendering,
    "preparing": preparing,
    "training": training,
    "style-training": style_training,
    "autoencoder-training": autoencoder_training,
    "translator-training": translator_training,
    "flow-training": flow_training,
    "tampering": tampering,
    "attacks": attacks,
    "localisation": localisation,
    "detectors": detectors,
    "perturbing": perturbations,
    "statistics": measures,
    "report": reports,
    "serve": serving,
    "scale": scale,
}
