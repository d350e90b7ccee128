"""Detectors that are no networks: their features, choices and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.fft import dctn
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from detect.detectors.base import DetectorSettings
from detect.detectors.registry import DETECTORS
from detect.features.dct import log_dct, log_dct_bands
from detect.features.spectrum import azimuthal
from detect.features.strips import strip_bands
from forge.core.compute import Compute
from forge.core.errors import CorruptError, InputError

CHOICES = [
    ("spectrum", {"classifier": "svm-linear"}),
    ("spectrum", {"classifier": "svm-rbf"}),
    ("spectrum", {"classifier": "logistic"}),
    ("logistic", {"features": "spectrum"}),
    ("logistic", {"features": "dct"}),
    ("svm", {"features": "spectrum", "kernel": "linear"}),
    ("svm", {"features": "spectrum", "kernel": "rbf"}),
    ("svm", {"features": "dct", "kernel": "linear"}),
    ("svm", {"features": "dct", "kernel": "rbf"}),
    ("naive-bayes", {"features": "spectrum"}),
    ("naive-bayes", {"features": "dct"}),
    ("hmm", {"iterations": 2}),
]


def fitted(name, data, context, **settings):
    implementation = DETECTORS.load(name)
    detector = implementation(implementation.Settings(**settings), data.resolution)
    return detector, detector.fit(data, context)


def images_of(sets):
    return [faces.view("test").read() for faces in sets]


@pytest.mark.parametrize(("name", "settings"), CHOICES)
def test_every_choice_finds_an_artefact_and_comes_back_from_its_files(name, settings, data, context, sets, tmp_path):
    detector, summary = fitted(name, data, context(), **settings)
    parts = [detector.score(images, Compute()) for images in images_of(sets)]
    assert roc_auc_score(np.repeat([0, 1], [len(part) for part in parts]), np.concatenate(parts)) > 0.99
    assert summary.facts["best_val_auc"] > 0.99 and summary.facts["features_cached"] is True
    detector.save(tmp_path)
    loaded = type(detector).load(tmp_path, detector.settings, detector.resolution)
    for images, part in zip(images_of(sets), parts, strict=True):
        assert np.array_equal(loaded.score(images, Compute()), part)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize("name", ["spectrum", "svm", "hmm"])
def test_scores_do_not_depend_on_the_company_of_an_image(name, data, context, sets):
    detector, _ = fitted(name, data, context())
    images = images_of(sets)[0]
    alone = np.concatenate([detector.score(image[None], Compute()) for image in images])
    np.testing.assert_allclose(alone, detector.score(images, Compute()), atol=1e-5)


def test_spectrum_is_the_published_machine(data, context, sets):
    """scikit-learn's SVC with the published C and gamma on features that nobody scaled."""
    detector, _ = fitted("spectrum", data, context())
    train = np.concatenate([data.train_real.read(), data.train_forged.read()])
    machine = SVC(C=6.37, kernel="rbf", gamma=0.86, class_weight="balanced")
    machine.fit(azimuthal(torch.from_numpy(train)).double().numpy(), np.repeat([0, 1], 48))
    images = np.concatenate(images_of(sets))
    expected = machine.decision_function(azimuthal(torch.from_numpy(images)).double().numpy())
    np.testing.assert_allclose(detector.score(images, Compute()), expected, atol=2e-3)  # libsvm stops at 1e-3


def test_strip_bands_are_a_loop_over_scipys_transform():
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 16, 3), dtype=np.uint8)
    observed = strip_bands(torch.from_numpy(images), height=8, step=4, bands=(4, 8)).numpy()
    assert observed.shape == (2, 4, 32)
    for number, image in enumerate(images):
        for strip in range(4):
            power = np.zeros((8, 16))
            for channel in range(3):
                part = dctn(image[4 * strip : 4 * strip + 8, :, channel].astype(float), norm="ortho") ** 2
                part[0, 0] = 0
                power += part / 3
            bands = power.reshape(4, 2, 8, 2).mean(axis=(1, 3))
            np.testing.assert_allclose(observed[number, strip], np.log(bands + 1 / 12).ravel(), rtol=1e-4, atol=1e-4)


def test_brightness_of_strips_does_not_show():
    images = np.random.default_rng(0).integers(50, 150, (2, 16, 16, 3), dtype=np.uint8)
    first, second = (strip_bands(torch.from_numpy(x), height=8, step=8, bands=(4, 8)) for x in (images, images + 60))
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)


@pytest.mark.parametrize("bands", [4, 6])
def test_dct_bands_are_means_over_a_grid(bands):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8))
    expected = log_dct(images).reshape(2, 3, bands, 24 // bands, bands, 24 // bands).mean((3, 5)).flatten(1)
    torch.testing.assert_close(log_dct_bands(images, bands=bands), expected)


def test_weights_of_another_family_are_refused(data, context, tmp_path):
    fitted("logistic", data, context())[0].save(tmp_path)
    implementation = DETECTORS.load("svm")
    with pytest.raises(CorruptError, match=r"weights\.safetensors was not written by svm: it has no 'support'"):
        implementation.load(tmp_path, implementation.Settings(), 32)


def test_not_fitted_and_settings_of_another_family():
    implementation = DETECTORS.load("svm")
    with pytest.raises(InputError, match="svm has not been fitted or loaded"):
        implementation(implementation.Settings(), 32).score(np.zeros((1, 32, 32, 3), np.uint8), Compute())
    with pytest.raises(TypeError, match="Svm needs SvmSettings, not DetectorSettings"):
        implementation(DetectorSettings(), 32)


def test_too_few_strips_for_the_states():
    implementation = DETECTORS.load("hmm")
    with pytest.raises(InputError, match=r"hmm: a 16 px image has 3 strips of 8 px .* fewer than the 5 states; lower"):
        implementation(implementation.Settings(), 16)
    with pytest.raises(ValidationError, match=r"overlap must be smaller than strip \(8\)"):
        implementation.Settings(overlap=8)
    with pytest.raises(ValidationError, match=r"at most strip \(8\) vertically"):
        implementation.Settings(bands=(9, 8))
