"""What all tests share: one computing thread a process, and tiny sets of faces."""

import gc
import hashlib
import os
import random

# the suite runs one process a core; two threads in each would wait for each other most of the time
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BENCH_JOBS", "1")  # several would be processes of their own, which tests cannot patch
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import forge.quality.identity
import forge.quality.metric
import forge.rendering
from forge.core import compute
from forge.core.seeding import seed_torch
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter
from forge.quality.features import extract

# no test cuts the power: waiting for the disk after every file takes a sixth of a short run
os.fsync = lambda descriptor: None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give the tests that share fixtures of their module to one process, which makes these once."""
    if isinstance(item, pytest.Function) and item.get_closest_marker("xdist_group") is None:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        if any(fixture.scope == "module" for definitions in fixtures for fixture in definitions):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tell pytest-xdist's scheduler the groups, at the end of names: 3.8 cannot with pytest 9.2 (its issue 1386).

    Without this tests of one group run in all processes, and each of these makes what they share.
    """
    if not getattr(config.option, "loadgroup", False):  # set in processes of `--dist loadgroup`
        return
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark and hasattr(item, "_id") and not item.nodeid.endswith(f"@{mark.args[0]}"):
            item._id = type(item._id).parse(f"{item.nodeid}@{mark.args[0]}")


def pytest_collection_finish() -> None:
    """Collect garbage over the whole memory ten times more rarely, and never over what imports and tests hold.

    All that imports made stays to the end, and a walk over it takes a fifth of a second: 8 % of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)  # the last is 10 in Python


@pytest.fixture(autouse=True)
def one_thread():
    """Compute with the threads of the environment again after each test, and forget who set them."""
    asked = os.environ["OMP_NUM_THREADS"]
    yield
    os.environ["OMP_NUM_THREADS"] = asked
    compute._written = compute._before = None
    if torch.get_num_threads() != compute.default_threads():
        torch.set_num_threads(compute.default_threads())


@pytest.fixture(autouse=True)
def seeded():
    """Give every test the same random numbers, whatever ran before it in its process."""
    random.seed(0)
    seed_torch(0)


@pytest.fixture(autouse=True, scope="session")
def rendered_once():
    """Render each picture once per process: most runs here begin with the same rendered people."""
    render, known = forge.rendering.render_person_images, {}

    def remembered(seed, first, count, *, size=144, images_per_person=4):
        keys = {number: (seed, number, size, images_per_person) for number in range(first, first + count)}
        if missing := [number for number, key in keys.items() if key not in known]:
            new = range(missing[0], missing[-1] + 1)
            faces = render(seed, new.start, len(new), size=size, images_per_person=images_per_person)
            known.update(zip((keys[number] for number in new), faces, strict=True))
        return [known[key] for key in keys.values()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forge.rendering, "render_person_images", remembered)
        yield


@pytest.fixture(autouse=True, scope="session")
def described_once():
    """Compute the quality features of the same images once per process: real ones stand beside many forged sets."""
    known = {}

    def remembered(images, *, device="cpu"):
        key = images.shape, hashlib.sha256(images.tobytes()).digest(), device
        if key not in known:
            known[key] = extract(images, device=device)
            known[key].flags.writeable = False
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (forge.quality.identity, forge.quality.metric):
            patch.setattr(module, "extract", remembered)
        yield


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., FaceSet]:
    """A function that writes a small set of smooth random images: make_set("name", {"forge": 64}, resolution=16)."""

    def make(name: str, splits: dict[str, int], *, resolution: int = 16, kind: str = "real", seed: int = 0) -> FaceSet:
        rng = np.random.default_rng(seed)
        folder = tmp_path / "sets" / name
        with FaceSetWriter(
            folder, name=name, kind=kind, resolution=resolution, licence="CC0", provenance={"seed": seed}
        ) as writer:
            for split, count in splits.items():
                coarse = rng.integers(0, 256, (count, 4, 4, 3))
                images = coarse.repeat(resolution // 4, axis=1).repeat(resolution // 4, axis=2).astype(np.uint8)
                writer.append(images, [{"id": f"{split}-{i}", "split": split} for i in range(count)])
        return FaceSet.open(folder)

    return make
