"""What every registered detector must do, whatever its family."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.experiment.configs import shipped
from detect.artifact import DetectorCard, TrainedDetector
from detect.data.views import random_labels
from detect.detectors.base import Detector, FitContext, FitData
from detect.detectors.registry import DETECTORS
from detect.export import WRITERS
from detect.export.agreement import compare
from detect.scoring import score_view
from detect.training.calibration import fit_platt
from forge.core.compute import Compute
from forge.core.progress import silent
from forge.faces.faceset import FaceSet

pytestmark = pytest.mark.e2e

# families are tried by one of their members
MEMBERS = {
    "timm:": "timm:resnet18",
    "mean:": "mean:dct+trivial-cues",
    "probe:": "probe:resnet18",
    "tune:": "tune:test_vit",
}
# networks of timm under names of their own, with no code of their own: what timm:resnet18 does, they do; and face-x-ray
# does what self-blended and unet do, univfd what rine does; test_networks.py looks at the layers that resnet50-nodown
# leaves out
ALIKE = {
    *("convnext-tiny", "efficientnet-b0", "face-x-ray", "mobilenetv3", "resnet50", "resnet50-nodown"),
    *("deepfakebench-xception", "deepfakebench-efficientnet-b4", "univfd"),
}
SELDOM = {"xception"}  # spsl is this network without its middle, with the phase beside the colours
NAMES = [MEMBERS.get(name, name) for name in DETECTORS.entries if name not in ALIKE]

# large networks learn the planted artefact in fewer steps than their smoke presets take
SHORT = {"max_images": 96, "validate_every": 96, "val_limit": 8}
SHORTER: dict[str, dict[str, object]] = dict.fromkeys(
    ("xception", "f3net", "spsl", "freqnet", "gramnet", "timm:resnet18", "safe", "tiny-ladeda"), SHORT
)
SHORTER["spsl"] = SHORT | {"max_images": 160, "validate_every": 160}
SHORTER["capsule"] = SHORT | {"max_images": 160, "validate_every": 160}
SHORTER["rine"] = SHORT | {"max_images": 192, "validate_every": 192}
SHORTER["f3net"] = SHORT | {"middle": 0}
SHORTER["self-blended"] = {"network": "meso4", "copies": 1, "options": {"batch": 8, "max_images": 64}}
# the controls, which must not find it, self-blended, which never sees a forgery, maps without learning, and a network
# whose gradient filter is zero on a checkerboard
BLIND = {
    "random",
    "metadata",
    "trivial-cues",
    "self-blended",
    "face-x-ray",
    "disc-ensemble",
    "noise-map",
    "copy-move-match",
    "tiny-ladeda",
}
UNTRAINED = {"random", "noise-map", "copy-move-match"}
# scores of counts, hashes, hidden states, or of gradients that are taken as pictures
WITHOUT_GRADIENT = UNTRAINED | {"metadata", "hmm", "disc-gradient"}


def each(names=NAMES):
    """Run a test for every detector; with several processes all tests of a detector go to one, which fits it once."""
    marks = {name: [pytest.mark.xdist_group(name), *([pytest.mark.slow] if name in SELDOM else [])] for name in names}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in names])


@pytest.fixture(scope="session")
def fit_once(plain_sets, source, tmp_path_factory):
    """Each detector fitted once with its smoke preset, and the splits it read."""
    sets = real, forged = plain_sets
    data = FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))

    @functools.cache
    def get(name: str) -> tuple[Detector, set[str]]:
        method = DETECTORS.load(name)
        settings = method.Settings(**shipped("detectors", name, "smoke") | SHORTER.get(name, {}))
        context = FitContext(0, Compute("cpu", "fp32"), tmp_path_factory.mktemp("work"), silent, discriminator=source)
        read: dict[Path, set[int]] = {}
        original = FaceSet.read

        def spy(self, index):
            read.setdefault(self.path, set()).update(map(int, index))
            return original(self, index)

        detector = method(settings, data.resolution)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FaceSet, "read", spy)
            detector.fit(data, context)
        splits = {
            split for faces in sets for split in faces.table["split"].iloc[sorted(read.get(faces.path, set()))].unique()
        }
        return detector, splits

    return get


@each()
def test_no_image_of_another_split_is_read(name, fit_once):
    assert fit_once(name)[1] <= {"train", "val"}


@each([name for name in NAMES if name not in BLIND])
def test_a_plain_artefact_is_found_and_labels_are_never_turned_round(name, fit_once, plain_sets):
    scores = np.concatenate([score_view(fit_once(name)[0], faces.view("test"), Compute()) for faces in plain_sets])
    assert roc_auc_score(np.repeat([0, 1], 16), scores) > 0.99


@each()
def test_saved_and_loaded_it_scores_bit_for_bit_the_same(name, fit_once, plain_sets, tmp_path):
    detector = fit_once(name)[0]
    detector.save(tmp_path)
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} <= {".json", ".safetensors"}
    loaded = type(detector).load(tmp_path, detector.settings, detector.resolution)
    for faces in plain_sets:
        images = faces.view("test").read()[:4]
        assert np.array_equal(loaded.score(images, Compute()), detector.score(images, Compute()))
    assert loaded.parameters == detector.parameters
    assert detector.parameters > 0 or name in UNTRAINED


@each()
def test_the_score_as_a_function_of_pixels_is_the_score_and_falls_against_its_gradient(name, fit_once, plain_sets):
    detector, images = fit_once(name)[0], plain_sets[1].view("test").read()[:4]
    function = detector.score_function(Compute("cpu", "fp32"))
    assert (function is None) == (name in WITHOUT_GRADIENT)
    if function is None:
        return
    whole = torch.from_numpy(images).float()
    scores = detector.score(images, Compute("cpu", "fp32"))
    with torch.no_grad():
        values = function(whole)
    np.testing.assert_allclose(values, scores, rtol=1e-4, atol=2e-4 * max(1.0, float(np.abs(scores).max())))
    # off whole grey levels, at which some DCT coefficients are zero and their logarithms rounding errors
    noise = torch.rand(whole.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    pixels = (whole + noise).requires_grad_()
    values = function(pixels)
    (gradient,) = torch.autograd.grad(values.sum(), pixels)
    assert (gradient != 0).flatten(1).any(1).all()
    # a step after which the score should have fallen by two thousandths: so short that curvature hardly matters
    fall = 0.002 * values.detach().double().abs().clamp(min=1)
    squared = gradient.double().square().sum(dim=(1, 2, 3))
    with torch.no_grad():
        moved = pixels.double() - (fall / squared).view(-1, 1, 1, 1) * gradient.double()
        change = function(moved.float()).double() - values.double()
    assert (change < -0.2 * fall).all(), (change, fall)


@each()
def test_scores_do_not_depend_on_the_company_of_an_image(name, fit_once, plain_sets):
    images = np.concatenate([faces.view("test").read()[:3] for faces in plain_sets])
    detector = fit_once(name)[0]
    together, alone = detector.score(images, Compute()), [detector.score(image[None], Compute())[0] for image in images]
    spread = max(1.0, float(np.abs(together).max()))
    np.testing.assert_allclose(alone, together, atol=2e-4 * spread)


@each()
def test_scores_are_finite_and_can_be_calibrated(name, fit_once, plain_sets):
    real, forged = (score_view(fit_once(name)[0], faces.view("val"), Compute()) for faces in plain_sets)
    probability = fit_platt(real, forged).probability(np.concatenate([real, forged]))
    assert np.isfinite(probability).all() and ((probability >= 0) & (probability <= 1)).all()


@each()
def test_a_detector_says_what_it_is_and_describes_every_setting(name):
    method = DETECTORS.load(name)
    assert method.family and any(year in method.citation for year in ("19", "20")) and method.__doc__
    assert all(field.description for field in method.Settings.model_fields.values())


def test_shuffled_labels_teach_a_family_nothing(sets, source, tmp_path):
    """The protocol's control; networks share one loop, which the tests of detect.training shuffle."""
    real, forged = sets
    data = FitData(real.view("train"), forged.view("train"), real.view("val"), forged.view("val"))
    for name in ("dct", "spectrum", "svm", "naive-bayes", "hmm", "disc-probe"):
        aucs = []
        for seed in range(3):
            method = DETECTORS.load(name)
            detector = method(method.Settings(**shipped("detectors", name, "smoke")), data.resolution)
            context = FitContext(seed, Compute("cpu", "fp32"), tmp_path / f"{name}{seed}", silent, discriminator=source)
            detector.fit(data.with_shuffled_labels(seed), replace(context, seed=seed))
            scores = np.concatenate([score_view(detector, faces.view("test"), Compute()) for faces in sets])
            aucs.append(
                roc_auc_score(np.concatenate([random_labels(faces.view("test").rows, seed) for faces in sets]), scores)
            )
        assert 0.3 < np.mean(aucs) < 0.7, name


@pytest.mark.slow  # two seconds each; test_export.py tries all operations at once
@each([name for name in NAMES if name not in WITHOUT_GRADIENT])
def test_as_an_onnx_file_it_is_the_same(name, fit_once, plain_sets, tmp_path):
    detector, images = fit_once(name)[0], plain_sets[1].view("test").read()[:9]
    card = DetectorCard(
        name=name, family=detector.family, citation="", variant="", settings={}, resolution=32, seed=0, facts={},
        trained_on="chess", data=[], calibration={"a": 1.0, "b": 0.0}, parameters=1, history=[],
    )  # fmt: skip
    trained = TrainedDetector(detector, card)
    compare(trained, WRITERS.load("onnx")(trained, tmp_path / "model.onnx", {}), images, 0.0).check(name)
