from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import griddata

from detect.features.matrix import moments
from detect.features.spectrum import azimuthal, azimuthal_mean, grey, magnitude_spectrum, mean_log_spectrum


def noise(count=3, size=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def as_grey(images):
    return images.astype(float) @ [0.299, 0.587, 0.114]


def wave(size, y, x, strength=50):
    """One cosine with y and x periods, on grey 128."""
    rows, columns = np.indices((size, size))
    values = 128 + strength * np.cos(2 * np.pi * (y * rows + x * columns) / size)
    return np.repeat(np.rint(values).astype(np.uint8)[None, :, :, None], 3, axis=3)


@pytest.mark.parametrize("size", [16, 15])
def test_magnitudes_are_numpys(size):
    images = noise(size=size)
    expected = np.abs(np.fft.fftshift(np.fft.fft2(as_grey(images)), axes=(1, 2))) / size
    computed = magnitude_spectrum(torch.from_numpy(images))
    np.testing.assert_allclose(computed.numpy(), expected, atol=1e-9)
    assert computed[:, size // 2, size // 2].numpy() == pytest.approx(as_grey(images).mean((1, 2)) * size)


@given(st.integers(0, 1000), st.integers(4, 20))
@settings(max_examples=20, deadline=None)
def test_the_power_sums_to_the_squares_of_the_pixels(seed, size):
    """Parseval."""
    images = torch.from_numpy(noise(2, size, seed))
    power = magnitude_spectrum(images).square().sum((1, 2))
    torch.testing.assert_close(power, grey(images).square().sum((1, 2)))


def test_white_noise_is_flat():
    images = torch.from_numpy(noise(count=400, size=16))
    rings = azimuthal_mean(magnitude_spectrum(images).square()).mean(0)[1:]
    variance = (256**2 - 1) / 12 * (0.299**2 + 0.587**2 + 0.114**2)
    assert (rings / variance - 1).abs().max() < 0.2 and rings.mean().item() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(("y", "x"), [(0, 3), (5, 0), (4, 4), (-3, 6), (8, 8)])
def test_a_wave_peaks_at_its_radius(y, x):
    rings = azimuthal_mean(magnitude_spectrum(torch.from_numpy(wave(16, y, x))).square())[0]
    assert rings[1:].argmax().item() + 1 == int(math.hypot(y, x))


@pytest.mark.parametrize("shape", [(16, 16), (15, 15), (8, 12)])
def test_the_azimuthal_mean_is_that_of_a_loop(shape):
    spectrum = np.random.default_rng(0).normal(size=(2, *shape))
    sums, counts = {}, {}
    for y in range(shape[0]):
        for x in range(shape[1]):
            ring = int(math.sqrt((y - shape[0] // 2) ** 2 + (x - shape[1] // 2) ** 2))
            sums[ring] = sums.get(ring, 0) + spectrum[:, y, x]
            counts[ring] = counts.get(ring, 0) + 1
    expected = np.stack([sums[ring] / counts[ring] for ring in sorted(sums)], axis=1)
    np.testing.assert_allclose(azimuthal_mean(torch.from_numpy(spectrum)).numpy(), expected)


@pytest.mark.parametrize(("size", "bins"), [(16, 80), (64, 80), (64, 20)])
def test_the_feature_is_that_of_the_published_steps(size, bins):
    images = noise(2, size)
    computed = azimuthal(torch.from_numpy(images), bins=bins)
    assert computed.dtype == torch.float32 and computed.shape == (2, bins)
    y, x = np.indices((size, size)) - size // 2
    ring = np.hypot(y, x).astype(int)
    for image, features in zip(as_grey(images), computed.numpy(), strict=True):
        logarithms = 20 * np.log(np.abs(np.fft.fftshift(np.fft.fft2(image)) + 1e-8))
        curve = np.array([logarithms[ring == r].mean() for r in range(1, ring.max() + 1)])
        at, wanted = np.linspace(0, bins, len(curve)), np.linspace(0, bins, bins)
        expected = griddata(at, curve, wanted, method="cubic")
        np.testing.assert_allclose(features, expected / expected[0], rtol=1e-5)


def test_features_do_not_depend_on_the_company_of_an_image():
    images = torch.from_numpy(noise(9, 32))
    alone = torch.cat([azimuthal(image[None]) for image in images])
    torch.testing.assert_close(azimuthal(images), alone, rtol=0, atol=1e-6)


def test_a_checkerboard_is_the_end_of_the_curve():
    quiet, loud = (torch.from_numpy(noise(4, 32) // 4 + 64 + board) for board in (0, checkerboard(32)))
    difference = azimuthal(loud) - azimuthal(quiet)
    assert difference[:, -1].min() > 0.1 and difference[:, :-8].abs().max() < 0.01


def checkerboard(size):
    y, x = np.indices((size, size))
    return ((y + x) % 2 * 30).astype(np.uint8)[None, :, :, None]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_flat_image_has_finite_features(value):
    features = azimuthal(torch.full((1, 16, 16, 3), value, dtype=torch.uint8))
    assert torch.isfinite(features).all() and features[0, 0] == 1


def test_a_single_dim_pixel_has_finite_features():
    images = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    images[0, 0, 0] = 1  # the magnitude is 1 at every frequency, its logarithm 0
    assert torch.isfinite(azimuthal(images)).all()


def test_the_mean_log_spectrum_is_numpys_however_the_set_is_cut():
    images = noise(10, 16)
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2(as_grey(images)), axes=(1, 2))) / 16
    expected = (20 * np.log10(magnitude + 0.01)).mean(0)
    for cuts in ([10], [1, 4, 5], [3, 7]):
        computed = mean_log_spectrum(torch.from_numpy(images).split(cuts))
        np.testing.assert_allclose(computed.numpy(), expected, atol=1e-9)


def test_the_difference_of_mean_log_spectra_shows_where_an_artefact_is():
    real, forged = noise(20, 16, seed=1) // 4 + 64, noise(20, 16, seed=2) // 4 + 64 + checkerboard(16)
    difference = mean_log_spectrum([torch.from_numpy(forged)]) - mean_log_spectrum([torch.from_numpy(real)])
    assert difference.argmax().item() == 0 and difference[0, 0] > 10  # the corner is the highest frequency of both axes


def test_no_images_have_no_mean_spectrum():
    with pytest.raises(ValueError, match="no images"):
        mean_log_spectrum([])


def test_moments_are_numpys_and_flat_features_are_only_centred():
    features = np.random.default_rng(0).normal(5, 3, (50, 4)).astype(np.float32)
    features[:, 2] = -27.631
    assert moments([torch.full((777, 1), 254.7)])[1] == 1  # rounding alone gives it a deviation of 9e-6
    mean, std = moments(torch.from_numpy(features).split([20, 30]))
    np.testing.assert_allclose(mean.numpy(), features.mean(0, dtype=float))
    np.testing.assert_allclose(np.delete(std.numpy(), 2), np.delete(features.std(0, dtype=float), 2))
    assert std[2] == 1
    with pytest.raises(ValueError, match="no features"):
        moments([])
