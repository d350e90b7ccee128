"""Tiny generated faces: smooth noise, and forgeries with the checkerboard that transposed convolutions leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from detect.detectors.base import FitContext, FitData
from detect.discriminator_source import DiscriminatorSource
from forge.core.compute import Compute
from forge.core.progress import silent
from forge.faces.faceset import FaceSet, Images
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.generators.artifact import write_generator

COUNTS = {"forge": 4, "train": 48, "val": 24, "test": 32}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny operations on several threads mostly wait for each other, above all beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def smooth(count: int, size: int, seed: int) -> Images:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 200, (count, 4, 4, 3))
    fine = zoom(coarse, (1, size / 4, size / 4, 1), order=1) + rng.normal(0, 3, (count, size, size, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


def checkered(images: Images, strength: int = 12) -> Images:
    y, x = np.indices(images.shape[1:3])
    board = ((x + y) % 2 * 2 - 1)[None, :, :, None] * strength
    return np.clip(images.astype(int) + board, 0, 255).astype(np.uint8)


def write_set(
    path: Path, *, kind: str, size: int = 32, seed: int = 0, counts: dict[str, int] = COUNTS, strength: int = 12
) -> FaceSet:
    provenance = {"generator": "chess"} if kind == "forged" else {}
    with FaceSetWriter(
        path,
        name=path.name,
        kind=kind,
        resolution=size,
        licence="CC0",
        provenance=provenance,
        attributes={"age": "string"},
    ) as writer:
        for number, (split, count) in enumerate(counts.items()):
            images = smooth(count, size, seed * 10 + number)
            images = checkered(images, strength) if kind == "forged" else images
            rows = [
                {"id": f"{path.name}-{split}-{i}", "split": split, "identity": f"p{i}", "age": "20-29"}
                for i in range(count)
            ]
            writer.append(images, rows)
    return FaceSet.open(path)


def fit_data(real: FaceSet, forged: FaceSet) -> FitData:
    return FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))


@pytest.fixture(scope="session")
def sets(tmp_path_factory) -> tuple[FaceSet, FaceSet]:
    root = tmp_path_factory.mktemp("sets")
    return write_set(root / "real", kind="real", seed=1), write_set(root / "forged", kind="forged", seed=2)


@pytest.fixture(scope="session")
def plain_sets(tmp_path_factory) -> tuple[FaceSet, FaceSet]:
    """Few images, and forgeries with a checkerboard that every family learns in a few steps."""
    root, counts = tmp_path_factory.mktemp("plain"), {"forge": 4, "train": 48, "val": 12, "test": 16}
    real = write_set(root / "real", kind="real", seed=1, counts=counts)
    return real, write_set(root / "forged", kind="forged", seed=2, strength=50, counts=counts)


@pytest.fixture
def data(sets) -> FitData:
    return fit_data(*sets)


@pytest.fixture
def make_set(tmp_path) -> Callable[..., FaceSet]:
    return lambda name, **options: write_set(tmp_path / name, **options)


@pytest.fixture
def context(tmp_path) -> Callable[..., FitContext]:
    def make(seed: int = 0, work: str = "work", on_progress=silent, precision="fp32") -> FitContext:
        return FitContext(seed, Compute("cpu", precision), tmp_path / work, on_progress)

    return make


def trained_judge(architecture, real: FaceSet, forged: FaceSet, *, steps: int) -> torch.nn.Module:
    """A discriminator that has seen a little of the game: high for real, low for forged."""
    torch.manual_seed(0)
    judge = architecture.discriminator()
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3)
    pixels = torch.from_numpy(np.concatenate([faces.view("train").read() for faces in (real, forged)]))
    images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = torch.repeat_interleave(torch.tensor([1.0, 0.0]), len(pixels) // 2)
    for _ in range(steps):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(judge(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return judge.eval()


def write_training(path: Path, sets: tuple[FaceSet, FaceSet], *, name: str = "dcgan", **settings) -> Path:
    """A finished training with one snapshot, as `forge.training` leaves it, of a narrow network."""
    generator_class = GENERATORS.load(name)
    options = generator_class.Settings(**settings)
    architecture = generator_class(options, 32)
    for folder, kimg, steps in ((path, 2.0, 40), (path / "snapshots" / "1k", 1.0, 20)):
        folder.mkdir(parents=True)
        write_generator(
            folder,
            raw=architecture.generator(),
            averaged=architecture.generator(),
            discriminator=trained_judge(architecture, *sets, steps=steps),
            card={
                "name": name, "architecture": name, "settings": options.model_dump(mode="json"), "resolution": 32,
                "seed": 0, "kimg": kimg, "training": {}, "data": {}, "precision": "fp32", "parameters": {},
            },
        )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def source(sets, tmp_path_factory) -> DiscriminatorSource:
    folder = tmp_path_factory.mktemp("training") / "dcgan"
    return DiscriminatorSource(write_training(folder, sets, generator_width=4, discriminator_width=8))


@pytest.fixture
def make_training(sets, tmp_path) -> Callable[..., Path]:
    return lambda **options: write_training(tmp_path / "training", sets, **options)
