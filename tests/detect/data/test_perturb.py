from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import detect.data.perturb
from detect.data.perturb import EQUALISED, PERTURBATIONS, ROBUST, perturbation
from detect.detectors.base import Detector, DetectorSettings
from detect.scoring import score_view
from forge.compute import Compute
from forge.errors import InputError, UnknownNameError


@pytest.fixture(scope="module")
def images(sets):
    found = sets[0].view("test").read()[:12]
    found.setflags(write=False)  # as images of a memory map are
    return found


def test_the_list_is_the_protocols():
    protocol = "jpeg90 jpeg75 jpeg50 jpeg30 blur1 blur2 half quarter noise2 noise5 noise10 crop80"
    assert " ".join(ROBUST).startswith(protocol)
    assert list(PERTURBATIONS) == [*ROBUST, EQUALISED]
    descriptions = [change.description for change in PERTURBATIONS.values()]
    assert all(descriptions) and len(set(descriptions)) == len(descriptions)
    assert all(name == change.name for name, change in PERTURBATIONS.items())


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_what_comes_out_depends_on_the_image_alone(name, images):
    change = PERTURBATIONS[name]
    found = change(images)
    assert found.dtype == np.uint8 and found.shape == images.shape
    assert (found != images).any(axis=(1, 2, 3)).all()
    assert np.array_equal(change(images), found)
    assert np.array_equal(change(images[::-1]), found[::-1])
    assert np.array_equal(np.concatenate([change(images[i : i + 1]) for i in range(12)]), found)


def test_large_batches_are_changed_part_by_part(images, monkeypatch):
    whole = {name: PERTURBATIONS[name](images) for name in ("blur1", "noise5", "jpeg50")}
    monkeypatch.setattr(detect.data.perturb, "PART_VALUES", 32 * 32 * 3 * 5)
    for name, found in whole.items():
        assert np.array_equal(PERTURBATIONS[name](images), found)


def test_noise_has_its_sigma_and_another_image_other_noise(images):
    grey = np.full((2, 64, 64, 3), 128, np.uint8)
    grey[1, 0, 0, 0] = 129
    first, second = perturbation("noise10")(grey).astype(float) - grey
    assert first.std() == pytest.approx(10, rel=0.03) and second.std() == pytest.approx(10, rel=0.03)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05


def test_strengths_go_the_way_their_names_say(images):
    def distance(name):
        return np.abs(perturbation(name)(images).astype(int) - images).mean()

    for weak, strong in [("jpeg90", "jpeg30"), ("blur1", "blur2"), ("half", "quarter"), ("noise2", "noise10")]:
        assert distance(weak) < distance(strong)
    means = [perturbation(name)(images).mean() / images.mean() for name in ("brighter", "darker")]
    assert means == pytest.approx([1.3, 0.7], abs=0.05)
    spreads = [perturbation(name)(images).std(axis=(1, 2, 3)) for name in ("contrast-up", "contrast-down")]
    assert (spreads[0] > images.std(axis=(1, 2, 3))).all() and (spreads[1] < images.std(axis=(1, 2, 3))).all()


def test_names_may_give_a_strength_or_join_several(images):
    assert np.array_equal(perturbation("jpeg75")(images), perturbation("equalised")(images))
    assert perturbation("blur0.5").description == "Gaussian blur, sigma 0.5 px"
    joined = perturbation("blur1+noise2+jpeg60")
    expected = images
    for part in ("blur1", "noise2", "jpeg60"):
        expected = perturbation(part)(expected)
    assert np.array_equal(joined(images), expected)
    assert joined.name == "blur1+noise2+jpeg60" and joined.description.count("; then ") == 2


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownNameError, match="perturbation 'quater' is not known; did you mean 'quarter'"):
        perturbation("quater")
    with pytest.raises(UnknownNameError, match="'jpg75' is not known; did you mean 'jpeg75'"):
        perturbation("blur1+jpg75")


@pytest.mark.parametrize("name", ["jpeg0", "jpeg101", "jpeg50.5", "blur0", "crop101", "noise999"])
def test_strengths_without_sense_are_refused(name):
    with pytest.raises(InputError, match=f"perturbation '{name}': .* must be a (whole )?number from"):
        perturbation(name)


class MeanPixel(Detector):
    """Scores an image by its last pixels' mean."""

    family = "mean"

    def fit(self, data, context):
        raise NotImplementedError

    def score(self, images, compute):
        return images[:, -8:].mean(axis=(1, 2, 3))

    def save(self, directory):
        raise NotImplementedError

    @classmethod
    def load(cls, directory, settings, resolution):
        raise NotImplementedError


def test_scoring_perturbs_each_image_whatever_its_company(sets):
    detector = MeanPixel(DetectorSettings(), 32)
    for faces in sets:
        view = faces.view("test")
        expected = detector.score(perturbation("noise10")(view.read()), Compute())
        for batch in (5, 256):
            scores = score_view(detector, view, Compute(), perturb=perturbation("noise10"), batch=batch)
            assert np.array_equal(scores, expected)


def test_listing_perturbations_imports_nothing_heavy():
    code = "import sys, detect.data.perturb; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
