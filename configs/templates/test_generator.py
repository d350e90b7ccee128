"""Tests of the generator in my_plugin.py; run with: pytest test_my_plugin.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from forge.core.compute import Compute
from forge.core.progress import silent
from forge.core.registry import allow_files, load_from_file
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter
from forge.generators.artifact import TrainedGenerator
from forge.generators.base import Architecture
from forge.generators.sample import regenerate, synthesize
from forge.training.settings import TrainingSettings
from forge.training.task import Training
from forge.training.train import train

FILE = f"{Path(__file__).with_name('my_plugin.py')}:MyPlugin"
allow_files([FILE])  # a file of code runs only where its user named it
KIND: type[Architecture] = load_from_file("generator", FILE)  # as `bench run -g FILE` loads it


def made(resolution: int) -> Architecture:
    """The architecture with its default settings."""
    torch.manual_seed(0)
    return KIND(KIND.Settings(), resolution)


@pytest.mark.parametrize("resolution", KIND.resolutions)
def test_images_and_logits_have_their_shapes_at_every_resolution(resolution: int) -> None:
    """Images are [N, 3, H, W] in about -1..1, logits [N], and the discriminator takes what the generator makes."""
    networks = made(resolution)
    images = networks.generator()(networks.latents(3, torch.device("cpu")))
    assert images.shape == (3, 3, resolution, resolution) and images.isfinite().all() and images.abs().max() <= 1.5
    assert networks.discriminator()(images).shape == (3,)


def test_the_same_seed_gives_the_same_networks_and_latents() -> None:
    """Nothing may be random beside torch's own random state: results could not be repeated."""
    first, second = made(32), made(32)
    for name in ("generator", "discriminator"):
        networks = []
        for architecture in (first, second):
            torch.manual_seed(1)
            networks.append(getattr(architecture, name)().state_dict())
        assert networks[0].keys() == networks[1].keys()
        assert all(torch.equal(networks[0][key], networks[1][key]) for key in networks[0])
    torch.manual_seed(2)
    drawn = first.latents(4, torch.device("cpu"))
    torch.manual_seed(2)
    assert torch.equal(drawn, second.latents(4, torch.device("cpu")))


def test_the_judge_teaches_every_weight_of_the_generator() -> None:
    """The gradient of the logits reaches all weights; one that it does not reach would never learn."""
    networks = made(32)
    generator = networks.generator()
    networks.discriminator()(generator(networks.latents(4, torch.device("cpu")))).sum().backward()
    missed = [name for name, weight in generator.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not missed


def photos(folder: Path) -> FaceSet:
    """A small set of smooth random images."""
    coarse = np.random.default_rng(0).integers(0, 256, (48, 4, 4, 3), dtype=np.uint8)
    with FaceSetWriter(folder, "photos", "real", 32, "CC0", {}) as writer:
        rows = [{"id": str(i), "split": "forge"} for i in range(len(coarse))]
        writer.append(coarse.repeat(8, axis=1).repeat(8, axis=2), rows)
    return FaceSet.open(folder)


def test_it_trains_is_stored_and_makes_the_same_face_again(tmp_path: Path) -> None:
    """A few steps of training, a folder on disk, and forgeries that its card regenerates exactly."""
    out = tmp_path / "trained"
    out.mkdir()
    settings = TrainingSettings(kimg=0.064, batch=16)
    view, compute = photos(tmp_path / "photos").view("forge"), Compute("cpu", "fp32")
    train(Training("my_plugin", FILE, made(32), settings, view, 0, compute, tmp_path / "work"), out, silent)
    trained = TrainedGenerator.open(out, implementation=KIND)
    forged = synthesize(trained, tmp_path / "forged", counts={"test": 4}, seed=0, on_progress=silent)
    images = forged.view("test").read()
    assert images.shape == (4, 32, 32, 3) and len(np.unique(images, axis=0)) == 4
    again = TrainedGenerator.open(out, implementation=KIND)
    assert np.array_equal(regenerate(again, forged, 3), images[3])
