"""Tests of the attack in my_plugin.py; run with: pytest test_my_plugin.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from detect.attacks.apply import apply
from detect.attacks.base import Attack
from detect.attacks.target import Target
from detect.detectors.dct import LogDct
from forge.core.compute import Compute
from forge.core.registry import allow_files, load_from_file

FILE = f"{Path(__file__).with_name('my_plugin.py')}:MyPlugin"
allow_files([FILE])  # a file of code runs only where its user named it
KIND: type[Attack] = load_from_file("attack", FILE)  # as a run loads it
SIZE, EPSILON = 16, 4


@pytest.fixture
def target() -> Target:
    """A detector with random weights, whose score has a gradient."""
    detector, rng = LogDct(LogDct.Settings(), SIZE), np.random.default_rng(0)
    width = 3 * SIZE**2
    detector.mean, detector.std, detector.fitted = np.zeros(width), np.ones(width), detector.classifier()
    detector.fitted.restore({"coefficients": rng.normal(size=width), "intercept": np.zeros(1)})
    return Target(detector, Compute("cpu", "fp32"))


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """Random images."""
    return np.random.default_rng(1).integers(0, 256, (6, SIZE, SIZE, 3)).astype(np.uint8)


def attacked(images: NDArray[np.uint8], target: Target, seed: int = 0) -> NDArray[np.uint8]:
    """The images as a run would change them."""
    return apply(KIND(KIND.Settings()), images, target, name="myplugin", epsilon=EPSILON, seed=seed).images


def test_it_keeps_the_budget(images: NDArray[np.uint8], target: Target) -> None:
    """Bytes of the same shape, none changed by more than the budget."""
    made = attacked(images, target)
    assert made.dtype == np.uint8 and made.shape == images.shape
    assert np.abs(made.astype(int) - images).max() <= EPSILON


def test_it_lowers_scores(images: NDArray[np.uint8], target: Target) -> None:
    """Lower scores are nearer to what the detector takes for real."""
    assert target.losses(attacked(images, target)).mean() < target.losses(images).mean()


def test_the_same_seed_gives_the_same_images(images: NDArray[np.uint8], target: Target) -> None:
    """Nothing may be random beside the seed: results could not be repeated."""
    assert np.array_equal(attacked(images, target), attacked(images, target))
    assert attacked(images[:0], target).shape == (0, SIZE, SIZE, 3)
