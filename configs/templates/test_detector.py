"""Tests of the detector in my_plugin.py; run with: pytest test_my_plugin.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detect.artifact import TrainedDetector, fit_detector, load_trained
from detect.detectors.base import Detector, FitContext, FitData
from forge.core.compute import Compute
from forge.core.progress import silent
from forge.core.registry import allow_files, load_from_file
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter

FILE = f"{Path(__file__).with_name('my_plugin.py')}:MyPlugin"
allow_files([FILE])  # a file of code runs only where its user named it
KIND: type[Detector] = load_from_file("detector", FILE)  # as `bench run -d FILE` loads it
CPU = Compute("cpu", "fp32")
SIZE = 32


def write_set(folder: Path, kind: str, seed: int) -> FaceSet:
    """Smooth random images; those of kind "forged" have a faint checkerboard, as transposed convolutions leave one."""
    rng = np.random.default_rng(seed)
    board = np.indices((SIZE, SIZE)).sum(axis=0)[None, :, :, None] % 2 * 2 - 1
    with FaceSetWriter(folder, kind, kind, SIZE, "CC0", {"generator": "planted"} if kind == "forged" else {}) as writer:
        for split, count in {"train": 48, "val": 24, "test": 48}.items():
            coarse = rng.uniform(60, 200, (count, 4, 4, 3)).repeat(SIZE // 4, axis=1).repeat(SIZE // 4, axis=2)
            images = coarse + rng.normal(0, 3, coarse.shape) + (12 * board if kind == "forged" else 0)
            rows = [{"id": f"{kind}-{split}-{i}", "split": split} for i in range(count)]
            writer.append(images.clip(0, 255).astype(np.uint8), rows)
    return FaceSet.open(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the sets and fits of all tests here."""
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def sets(place: Path) -> tuple[FaceSet, FaceSet]:
    """Real images and planted forgeries."""
    return write_set(place / "real", "real", 1), write_set(place / "forged", "forged", 2)


def fitted(sets: tuple[FaceSet, FaceSet], work: Path, **settings: Any) -> TrainedDetector:  # noqa: ANN401 - any setting
    """The detector after a short fit."""
    real, forged = sets
    data = FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))
    return fit_detector(FILE, KIND.Settings(**settings), data, FitContext(0, CPU, work, silent))


@pytest.fixture(scope="module")
def trained(sets: tuple[FaceSet, FaceSet], place: Path) -> TrainedDetector:
    """The detector as its defaults fit it."""
    return fitted(sets, place / "work")


def test_it_beats_guessing_on_planted_forgeries(trained: TrainedDetector, sets: tuple[FaceSet, FaceSet]) -> None:
    """AUC on test images that it has never seen; 0.5 would be a coin."""
    scores = [trained.detector.score(faces.view("test").read(), CPU) for faces in sets]
    assert roc_auc_score(np.repeat([0, 1], [len(part) for part in scores]), np.concatenate(scores)) > 0.75


def test_a_score_is_a_finite_number_that_depends_on_its_image_alone(
    trained: TrainedDetector, sets: tuple[FaceSet, FaceSet]
) -> None:
    """Float64 [n], and the same whatever other images are scored beside it."""
    images = sets[1].view("test").read()
    scores = trained.detector.score(images, CPU)
    assert scores.shape == (len(images),) and scores.dtype == np.float64 and np.isfinite(scores).all()
    assert np.allclose(trained.detector.score(images[5:8], CPU), scores[5:8], atol=1e-4)
    assert trained.detector.score(images[:0], CPU).shape == (0,)


def test_what_is_stored_scores_the_same(trained: TrainedDetector, sets: tuple[FaceSet, FaceSet], place: Path) -> None:
    """The folder that a run keeps gives back the detector."""
    trained.save(place / "stored")
    images = sets[0].view("test").read()
    again = load_trained(place / "stored", implementation=KIND)
    assert np.allclose(again.detector.score(images, CPU), trained.detector.score(images, CPU), atol=1e-5)
    assert again.calibration == trained.calibration


def test_the_same_seed_fits_the_same_detector(sets: tuple[FaceSet, FaceSet], place: Path) -> None:
    """Nothing may be random beside the seeded random states: results could not be repeated."""
    images = sets[0].view("test").read()
    first, second = (fitted(sets, place / name, limit=16).detector.score(images, CPU) for name in ("one", "two"))
    assert np.allclose(first, second, atol=1e-6)
