from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import detect.data.perturb
from detect.data.perturb import (
    EQUALISED,
    LISTED,
    PERTURBATIONS,
    ROBUST,
    VIDEO,
    WILD,
    WORLD,
    Perturbation,
    Strength,
    by_strength,
    perturbation,
)
from detect.detectors.base import Detector, DetectorSettings
from detect.scoring import score_view
from forge.core.compute import Compute
from forge.core.errors import InputError, UnknownNameError
from forge.core.registry import allow_files


@pytest.fixture(scope="module")
def images(sets):
    images = sets[0].view("test").read()[:12]
    images.setflags(write=False)  # as images of a memory map are
    return images


def test_the_list_is_the_protocols():
    protocol = "jpeg90 jpeg75 jpeg50 jpeg30 blur1 blur2 half quarter noise2 noise5 noise10 crop80"
    assert " ".join(ROBUST).startswith(protocol)
    assert list(LISTED) == [*ROBUST, *WORLD, *VIDEO, EQUALISED, WILD]
    made = [perturbation(name) for name in LISTED]
    assert [change.name for change in made] == list(LISTED)
    for words in ([change.description for change in made], [change.display_name for change in made]):
        assert all(words) and len(set(words)) == len(words)
    assert {type(change).id for change in made} == set(PERTURBATIONS.names())
    # tables and settings write the usual strength without its number, pages with it
    assert perturbation("whatsapp").display_name == "WhatsApp-like 2560"
    assert perturbation("whatsapp2560").name == "whatsapp"
    assert perturbation("whatsapp").description == perturbation("whatsapp2560").description
    assert "2560 px" in perturbation("whatsapp").description


class WebPicture(Perturbation):
    """A perturbation of a package, whose number says what is left."""

    id, title, summary = "web-pic", "WebP", "WebP at quality {}"
    strength = Strength("its quality", 1, 100, falling=True)

    def change(self, images):
        return images.clone()


def test_strengths_are_sorted_from_the_weakest_change_by_what_the_class_says(monkeypatch):
    monkeypatch.setitem(PERTURBATIONS.entries, "web-pic", f"{__name__}:WebPicture")
    names = ["jpeg30", "jpeg90", "half", "noise10", "noise2", "crop80", "web-pic5", "crop95", "web-pic50", "glare1.5"]
    assert by_strength([*names, "glare0.5", "blur1+jpeg75"]) == [
        ["jpeg90", "jpeg30"],
        ["noise2", "noise10"],
        ["crop95", "crop80"],
        ["web-pic50", "web-pic5"],
        ["glare0.5", "glare1.5"],  # of a package that is not here
    ]
    assert ["jpeg90", "jpeg75", "jpeg50", "jpeg30"] in by_strength(ROBUST)
    # several strengths of each that is listed, in order, so that the page draws a curve
    curves = by_strength(WORLD[::-1])
    assert sorted(name for curve in curves for name in curve) == sorted(set(WORLD) - {"grey"})
    assert all(len(curve) > 1 for curve in curves if curve != ["shift4"])
    assert ["telegram1280", "telegram", "telegram4000"] in curves


@pytest.mark.parametrize("name", LISTED)
def test_what_comes_out_depends_on_the_image_alone(name, images):
    change = perturbation(name)
    changed = change(images)
    assert changed.dtype == np.uint8 and changed.shape == images.shape
    assert (changed != images).any(axis=(1, 2, 3)).all()
    assert np.array_equal(change(images), changed)
    assert np.array_equal(change(images[::-1]), changed[::-1])
    assert np.array_equal(np.concatenate([change(images[i : i + 1]) for i in range(12)]), changed)


def test_large_batches_are_changed_part_by_part(images, monkeypatch):
    whole = {name: perturbation(name)(images) for name in ("blur1", "noise5", "jpeg50")}
    monkeypatch.setattr(detect.data.perturb, "PART_VALUES", 32 * 32 * 3 * 5)
    for name, changed in whole.items():
        assert np.array_equal(perturbation(name)(images), changed)


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


FOG = """
from detect.data.perturb import Perturbation


class Fog(Perturbation):
    id, title, summary = "fog", "fog", "halfway to white"

    def change(self, images):
        return images // 2 + 127


class Nameless(Perturbation):
    def change(self, images):
        return images


class Taken(Fog):
    id = "half"
"""


@pytest.fixture
def fog(tmp_path):
    file = tmp_path / "fog.py"
    file.write_text(FOG)
    allow_files([f"--set=conditions.robust=[{file}:Fog,half]"])
    return file


def test_a_file_adds_one(fog, images):
    change = perturbation(f"{fog}:Fog")
    assert (change.name, change.display_name, change.description) == ("fog", "fog", "halfway to white")
    assert np.array_equal(change(images), images // 2 + 127)
    joined = perturbation(f"blur1+{fog}:Fog")
    assert joined.name == "blur1+fog" and np.array_equal(joined(images), change(perturbation("blur1")(images)))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Nameless", "does not define id, title, summary; add what is missing"),
        ("Taken", "has the id 'half', which is taken"),
        ("FOG", "must be a subclass of detect.data.perturb.Perturbation"),
    ],
)
def test_what_a_file_lacks_is_one_sentence(fog, name, sentence):
    fog.write_text(FOG + "\nFOG = 1\n")
    with pytest.raises(InputError, match=sentence):
        perturbation(f"{fog}:{name}")


def test_a_file_runs_only_where_the_command_names_it(tmp_path):
    (tmp_path / "other.py").write_text(FOG)
    with pytest.raises(InputError, match="only this command may name code"):
        perturbation(f"{tmp_path / 'other.py'}:Fog")


def test_a_strength_is_needed_where_there_is_one_and_only_there():
    with pytest.raises(InputError, match="perturbation 'jpeg' needs a number, its quality"):
        perturbation("jpeg")
    with pytest.raises(InputError, match="perturbation 'half' needs no number"):
        perturbation("half2")


class MeanPixel(Detector[DetectorSettings]):
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
    code = "import sys, detect.data.perturb as p; p.PERTURBATIONS.names(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
