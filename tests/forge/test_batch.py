"""Image operations on batches against scipy, Pillow, torch and plain integers."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from forge.faces.imaging import ops

BILINEAR = Image.Resampling.BILINEAR
KEYS = torch.tensor([0, 1, -1, 2**62, -(2**63), 77])
OPERATIONS = {
    "blur": lambda images, at: ops.blur(images, torch.tensor([0.0, 0.4, 1.0, 2.0, 3.3, 9.0])[at]),
    "rescale": lambda images, at: ops.rescale(images, torch.tensor([0.25, 0.5, 0.77, 1.0, 0.6, 0.05])[at]),
    "crop": lambda images, at: ops.crop(images, 0.8),
    "noise": lambda images, at: ops.noise(images, torch.tensor([0.0, 1, 2, 5, 10, 40])[at], KEYS[at]),
    "adjust": lambda images, at: ops.adjust(images, brightness=1.2, contrast=0.7),
    "jpeg": lambda images, at: ops.jpeg(images, torch.tensor([1, 30, 50, 75, 90, 100])[at]),
}


def pictures(count=6, height=24, width=40, seed=0):
    """Noise on smooth colours, down to black and up to white."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-60, 320, (count, 4, 4, 3)).repeat(height // 4, 1).repeat(width // 4, 2)
    return torch.from_numpy(np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_image_gets_the_same_bytes_alone_and_in_any_batch(name):
    images, change = pictures(), OPERATIONS[name]
    before = images.clone()
    together = change(images, torch.arange(6))
    assert together.dtype == torch.uint8 and together.shape == images.shape and together.is_contiguous()
    assert torch.equal(images, before) and not torch.equal(together, images)
    backwards = torch.arange(5, -1, -1)
    assert torch.equal(change(images[backwards], backwards), together[backwards])
    for number in range(6):
        counter = torch.tensor([number])
        assert torch.equal(change(images[counter], counter), together[counter])


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 1.0, 2.0, 3.7, 30.0])
def test_blur_is_scipys_gaussian_rounded_once(sigma):
    images = pictures()
    expected = gaussian_filter(images.numpy().astype(float), (0, sigma, sigma, 0))
    # weights are multiples of 2^-22, so a value this close to the middle of two levels may fall on either side
    assert np.abs(ops.blur(images, sigma).numpy() - expected).max() <= 0.5 + 1e-3
    assert np.mean(ops.blur(images, sigma).numpy() == np.floor(expected + 0.5)) > 0.999


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_plain_image_stays_plain(value):
    images = torch.full((1, 16, 16, 3), value, dtype=torch.uint8)
    assert torch.equal(ops.blur(images, 2.5), images)
    assert torch.equal(ops.rescale(images, 0.3), images)
    assert torch.equal(ops.crop(images, 0.7), images)
    assert torch.equal(ops.adjust(images, contrast=1.7), images)


def test_rescale_is_pillows_resize_twice():
    images, shares = pictures(), [0.05, 0.25, 0.5, 0.61, 0.99, 1.4]
    for image, share, computed in zip(images, shares, ops.rescale(images, torch.tensor(shares)), strict=True):
        picture = Image.fromarray(image.numpy())
        small = picture.resize([int(side * share + 0.5) for side in picture.size], BILINEAR)
        assert np.array_equal(computed, small.resize(picture.size, BILINEAR))


def test_rescale_is_torchs_antialiased_resize_but_for_rounding():
    images = pictures().permute(0, 3, 1, 2).double()
    small = torch.nn.functional.interpolate(images, size=(12, 20), mode="bilinear", antialias=True)
    expected = torch.nn.functional.interpolate(small, size=(24, 40), mode="bilinear", antialias=True)
    computed = ops.rescale(pictures(), 0.5).permute(0, 3, 1, 2).double()
    assert (computed - expected).abs().max() < 2  # four roundings instead of none


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.99, 1.0])
def test_crop_is_pillows_resize_with_a_box(share):
    for image, computed in zip(pictures(), ops.crop(pictures(), share), strict=True):
        picture = Image.fromarray(image.numpy())
        width, height = (max(1, int(side * share + 0.5)) for side in picture.size)
        left, top = (picture.size[0] - width) // 2, (picture.size[1] - height) // 2
        box = (left, top, left + width, top + height)
        assert np.array_equal(computed, picture.resize(picture.size, BILINEAR, box=box))


def splitmix(key, number):
    """One output of splitmix64 in Python's whole numbers."""
    state = (key + number * 0x9E3779B97F4A7C15) % 2**64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


def test_noise_is_splitmix_through_the_normal_quantiles():
    images = torch.full((6, 5, 7, 3), 128, dtype=torch.uint8)  # 105 values: the last word is used in part
    computed = ops.noise(images, 20.0, KEYS).flatten(1)
    for key, values in zip(KEYS.tolist(), computed, strict=True):
        words = [splitmix(key, number) for number in range(1, 28)]
        parts = [(word >> shift) % 2**16 for word in words for shift in (0, 16, 32, 48)][:105]
        signed = np.array([part - 2**16 if part >= 2**15 else part for part in parts])
        expected = 128 + 20 * norm.ppf((signed + 2**15 + 0.5) / 2**16)
        assert np.abs(values.numpy() - np.clip(expected, 0, 255)).max() < 0.501
    # the first output of the generator for the state 0, as published with it
    assert splitmix(0, 1) == 0xE220A8397B1DCDAF


def test_noise_is_normal_with_its_sigma_and_each_image_has_its_own():
    images = torch.full((8, 64, 64, 3), 128, dtype=torch.uint8)
    computed = ops.noise(images, 10.0, torch.arange(8)).double().sub(128).flatten(1)
    assert computed.mean().abs() < 0.1 and computed.std() == pytest.approx(10, rel=0.01)
    assert computed.square().square().mean() / computed.var().square() == pytest.approx(3, abs=0.1)
    between = torch.corrcoef(computed) - torch.eye(8)
    assert between.abs().max() < 0.05
    assert torch.corrcoef(torch.stack([computed[:, :-1].flatten(), computed[:, 1:].flatten()]))[0, 1].abs() < 0.02


def test_brightness_and_contrast_are_those_of_a_loop():
    images = pictures()
    computed = ops.adjust(images, brightness=1.3, contrast=0.6)
    for image, changed in zip(images.numpy().astype(float), computed, strict=True):
        expected = (image.mean() + 0.6 * (image - image.mean())) * 1.3
        assert np.array_equal(changed, np.floor(np.clip(expected, 0, 255) + 0.5).clip(0, 255))
    assert torch.equal(ops.adjust(images), images)


@pytest.mark.parametrize("workers", [1, 3])
def test_jpeg_is_pillows_with_chroma_at_half_size(workers):
    images, qualities = pictures(40, 24, 32), torch.arange(1, 101, 2)[:40]
    for image, quality, computed in zip(images, qualities, ops.jpeg(images, qualities, workers=workers), strict=True):
        file = BytesIO()
        Image.fromarray(image.numpy()).save(file, "JPEG", quality=int(quality), subsampling="4:2:0")
        assert np.array_equal(computed, Image.open(file))


def test_one_quality_for_all():
    images = pictures()
    assert torch.equal(ops.jpeg(images, 60), ops.jpeg(images, torch.full((6,), 60)))
