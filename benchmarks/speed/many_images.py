"""Memory of scoring a quarter of a million images and four times as many: batches pass through, score rows stay."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.speed.figure import Figure
from benchmarks.speed.many_stages import apart
from benchmarks.workflow.environment import peak_memory_mb
from detect.detectors.base import Scores
from detect.scoring import score_table, write_scores
from detect.training.calibration import Calibration
from forge.core.compute import Compute, Precision
from forge.faces.faceset import FaceSet, Images
from forge.faces.writer import FaceSetWriter

IMAGES = 250_000  # and four times as many
_SIDE = 16
_WRITTEN = 10_000  # images at a time


class _Brightness:
    """A detector that costs nothing: the mean of all pixels."""

    family, resolution = "brightness", _SIDE

    def score(self, images: Images, compute: Compute) -> Scores:
        return np.asarray(images.mean(axis=(1, 2, 3), dtype=np.float64))

    def scoring_precision(self, compute: Compute) -> Precision:
        return "fp32"


@dataclass(frozen=True)
class _Fitted:
    detector: _Brightness
    calibration: Calibration
    name: str = "brightness"
    trained_on: str = "gan"
    seed: int = 0


def many_images(images: int = IMAGES) -> list[Figure]:
    """Measure the highest memory of scoring images, and of scoring four times as many.

    Args:
        images: of the smaller set.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        peaks = []
        for count in (images, 4 * images):
            apart(write_images, count, path / str(count))
            peaks.append(apart(score_images, path / str(count), path / "scores.parquet"))
    each = 1e6 * (peaks[1] - peaks[0]) / (3 * images)
    how = f"highest, of the process, with images of {_SIDE} px that it maps from the disk; to scores.parquet"
    return [
        Figure(f"memory of scoring {images:,} images", peaks[0], "MB", how),
        Figure(f"… {4 * images:,} images", peaks[1], "MB", f"{how}; {each:.0f} bytes for each image more"),
    ]


def write_images(count: int, folder: Path) -> None:
    """Write a set of so many images of noise."""
    rng = np.random.default_rng(0)
    with FaceSetWriter(folder, "noise", "real", _SIDE, licence="none", provenance={}) as writer:
        for start in range(0, count, _WRITTEN):
            numbers = range(start, min(count, start + _WRITTEN))
            pixels = rng.integers(0, 256, (len(numbers), _SIDE, _SIDE, 3), dtype=np.uint8)
            writer.append(pixels, [{"id": f"{number:07}", "split": "test"} for number in numbers])


def score_images(folder: Path, out: Path) -> float:
    """Score a set as stages do; returns the highest memory in MB."""
    fitted = _Fitted(_Brightness(), Calibration(1.0, 0.0))
    write_scores(score_table(fitted, FaceSet.open(folder).view("test"), Compute()), out)
    return peak_memory_mb() or math.nan
