"""Faces of two levels of brightness, which are their labels, and the check of a generator that learned from them."""

from pathlib import Path

import numpy as np

from forge.core.progress import silent
from forge.faces.writer import FaceSetWriter
from forge.generators.artifact import TrainedGenerator
from forge.generators.sample import regenerate, synthesize


def faces_of_two_levels(path: Path) -> None:
    """Write 96 even images of 16 px in split `forge`, whose label `level` is "low" (about 30) or "high" (220)."""
    bright = np.random.default_rng(0).integers(0, 2, 96)
    with FaceSetWriter(path, "set", "real", 16, "CC0", {}, {"level": "string"}) as writer:
        rows = [{"id": str(i), "split": "forge", "level": ("low", "high")[bright[i]]} for i in range(96)]
        images = np.full((96, 16, 16, 3), 30, np.uint8) + (190 * bright).astype(np.uint8)[:, None, None, None]
        images += np.random.default_rng(1).integers(0, 6, images.shape).astype(np.uint8)
        writer.append(images, rows)


def check_levels(trained: TrainedGenerator, path: Path) -> None:
    """Check that forgeries with the label "high" are brighter, and that one of them can be made again."""
    faces = synthesize(trained, path, counts={"test": 64}, seed=0, on_progress=silent, mix="uniform")
    levels, means = faces.table["level"].to_numpy(), faces.read(range(64)).mean(axis=(1, 2, 3))
    assert {"low", "high"} == set(levels)
    assert means[levels == "high"].mean() - means[levels == "low"].mean() > 100
    assert (regenerate(trained, faces, 5) == faces.read([5])[0]).all()
