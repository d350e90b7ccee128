"""The device that these tests use: a CUDA GPU, or what BENCH_DEVICE names (a dry run on a CPU: BENCH_DEVICE=cpu)."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
import torch

from detect.detectors.base import FitData
from forge.core.compute import Compute, choose_device
from forge.core.errors import InputError
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/cuda/" in str(item.path):
            item.add_marker(pytest.mark.cuda)


@pytest.fixture(scope="session")
def device() -> torch.device:
    try:
        return torch.device(choose_device(os.environ.get("BENCH_DEVICE", "cuda")))
    except InputError as error:
        pytest.skip(f"needs a GPU: {error}")


@pytest.fixture(autouse=True)
def deterministic(device):
    """The same algorithms on every call, and fp32 that is fp32: what is compared is our code, not cuDNN's choice."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    Compute(str(device))
    yield
    torch.backends.cudnn.deterministic = before


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Callable[[str], FaceSet]:
    """Sets of 32 px with a label column: `real` is smooth, `forged` has a checkerboard on it."""
    root, made = tmp_path_factory.mktemp("sets"), {}

    def get(kind: str) -> FaceSet:
        if kind not in made:
            rng = np.random.default_rng(len(kind))
            with FaceSetWriter(
                root / kind, kind, kind, 32, licence="CC0", provenance={}, attributes={"letter": "string"}
            ) as writer:
                for split, count in {"forge": 320, "train": 96, "val": 48, "test": 64}.items():
                    coarse = rng.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
                    images = np.asarray([np.kron(block, np.ones((4, 4, 1))) for block in coarse])
                    images += 12 * (np.indices((32, 32)).sum(0) % 2)[None, :, :, None] * (kind == "forged")
                    rows = [{"id": f"{split}-{i}", "split": split, "letter": "ab"[i % 2]} for i in range(count)]
                    writer.append(images.clip(0, 255).astype(np.uint8), rows)
            made[kind] = FaceSet.open(root / kind)
        return made[kind]

    return get


@pytest.fixture(scope="session")
def data(faces) -> FitData:
    real, forged = faces("real"), faces("forged")
    return FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))
