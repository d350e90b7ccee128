"""The perturbation `wild`: its law, and that it follows from the image alone."""

from collections import Counter

import numpy as np
import pytest
import torch

from detect.data.perturb import perturbation
from detect.data.wild import CHANGES, MOST, chain


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (60, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(coarse + rng.integers(-6, 7, coarse.shape), 0, 255).astype(np.uint8)


def test_a_chain_has_one_to_four_different_changes_all_equally_often():
    source = np.random.default_rng(0)
    chains = [chain(source) for _ in range(4000)]
    lengths = Counter(map(len, chains))
    assert set(lengths) == set(range(1, MOST + 1)) and min(lengths.values()) > 900
    assert all(len(set(names)) == len(names) for names in chains)
    counts = Counter(name for names in chains for name in names)
    assert set(counts) == set(CHANGES) and max(counts.values()) < 1.15 * min(counts.values())
    firsts = Counter(names[0] for names in chains)
    assert max(firsts.values()) < 1.3 * min(firsts.values())


def test_an_image_is_changed_alike_in_any_company(images):
    wild = perturbation("wild")
    together = wild(images)
    assert together.shape == images.shape and together.dtype == np.uint8
    assert np.array_equal(wild(images[::-1])[::-1], together)
    assert np.array_equal(wild(images[7:8]), together[7:8])
    changed = (together != images).any(axis=(1, 2, 3))
    assert changed.mean() > 0.9
    # still the same pictures
    error = np.abs(together.astype(int) - images).mean(axis=(1, 2, 3))
    assert np.median(error) < 25


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_keeps_shape_and_picture_and_depends_on_its_source(images, name):
    image, change = torch.from_numpy(images[:1].copy()), CHANGES[name]
    results = [change(image, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)]
    assert all(result.shape == image.shape and result.dtype == torch.uint8 for result in results)
    assert torch.equal(results[0], results[1])
    assert not all(torch.equal(results[0], result) for result in results[2:])
    assert torch.equal(image, torch.from_numpy(images[:1]))  # left alone
    assert all((result.float() - image.float()).abs().mean() < 60 for result in results)
