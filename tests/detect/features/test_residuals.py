from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from detect.features.residuals import local_median, median_residual, neighbouring_pixels

sides = st.integers(2, 9)


def some_images(seed: int, height: int, width: int, count: int = 2) -> torch.Tensor:
    # few values, so that many are equal: the case in which a median by exchanges could go wrong
    values = np.random.default_rng(seed).integers(-3, 4, (count, 3, height, width))
    return torch.from_numpy(values.astype(np.float32))


@given(st.integers(0, 1000), sides, sides)
@settings(max_examples=25, deadline=None)
def test_neighbouring_pixels_against_a_loop(seed, height, width):
    images = some_images(seed, height, width)
    computed = neighbouring_pixels(images).numpy()
    assert computed.shape == (2, 3, height // 2 * 2, width // 2 * 2)
    for y, x in np.ndindex(computed.shape[2:]):
        expected = images[:, :, y, x] - images[:, :, y // 2 * 2, x // 2 * 2]
        assert np.array_equal(computed[:, :, y, x], expected.numpy())


def test_what_was_doubled_by_the_nearest_pixel_leaves_nothing():
    small = torch.rand(2, 3, 5, 6)
    assert (neighbouring_pixels(small.repeat_interleave(2, 2).repeat_interleave(2, 3)) == 0).all()


@given(st.integers(0, 1000), sides, sides)
@settings(max_examples=25, deadline=None)
def test_local_median_against_scipy(seed, height, width):
    images = some_images(seed, height, width)
    expected = median_filter(images.numpy(), size=(1, 1, 3, 3), mode="constant", cval=0)
    assert np.array_equal(local_median(images).numpy(), expected)


@given(st.integers(0, 1000), sides, sides)
@settings(max_examples=25, deadline=None)
def test_masked_median_against_a_loop(seed, height, width):
    images = some_images(seed, height, width)
    framed = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    computed = local_median(images, masked=True).numpy()
    for y, x in np.ndindex(height, width):
        window = framed[:, :, y : y + 3, x : x + 3].reshape(2, 3, 9).copy()
        window[:, :, 4] = 0
        assert np.array_equal(computed[:, :, y, x], np.median(window, axis=2))


@pytest.mark.parametrize("masked", [False, True])
def test_median_residual_is_what_is_left(masked):
    images = torch.rand(2, 3, 8, 8)
    residual = median_residual(images, masked=masked)
    assert torch.equal(residual, images - local_median(images, masked=masked))
    constant = torch.full((1, 3, 8, 8), 0.7)
    assert (median_residual(constant, masked=masked)[..., 1:-1, 1:-1] == 0).all()


@pytest.mark.parametrize("function", [neighbouring_pixels, median_residual])
def test_memory_order_and_gradients_pass_through(function):
    images = torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    computed = function(images)
    assert computed.is_contiguous(memory_format=torch.channels_last)
    (computed**2).sum().backward()
    assert images.grad is not None and images.grad.isfinite().all() and images.grad.abs().sum() > 0
