from __future__ import annotations

import pickle
import subprocess
import sys
import urllib.error

import numpy as np
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

import detect.weights
from detect.detectors.base import DetectorSettings
from detect.detectors.dct import LogDct, LogDctSettings
from detect.detectors.image_classifiers import Xception
from detect.detectors.registry import DETECTORS
from detect.detectors.timm_network import TimmSettings
from forge.core.compute import Compute
from forge.core.errors import InputError, UnknownNameError


@pytest.mark.parametrize("name", ["dct", "xception"])
def test_a_detector_says_what_it_is_and_describes_every_setting(name):
    implementation = DETECTORS.load(name)
    assert implementation.family == name and "20" in implementation.citation and implementation.__doc__
    assert all(field.description for field in implementation.Settings.model_fields.values())


def heavy_after(code):
    code = f"import sys; {code}; print([m for m in ('torch', 'timm', 'sklearn', 'pandas') if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()


def test_the_registry_imports_nothing_heavy():
    assert heavy_after("import detect; from detect.detectors.registry import DETECTORS; DETECTORS.names()") == "[]"


def test_settings_of_all_detectors_are_made_without_what_only_a_fit_needs():
    load = "[DETECTORS.load(n).Settings() for n in DETECTORS.entries if not n.endswith(':')]"
    assert heavy_after(f"from detect.detectors.registry import DETECTORS; {load}") == "['torch', 'pandas']"


def test_settings_are_those_of_the_type_argument():
    assert DETECTORS.load("svm").Settings.__name__ == "SvmSettings"
    assert DETECTORS.load("disc-scratch").Settings is DETECTORS.load("disc-finetune").Settings
    assert DETECTORS.load("resnet50").Settings().jpeg == 0.5  # with_defaults
    with pytest.raises(TypeError, match="LogDct needs LogDctSettings, not DetectorSettings"):
        DETECTORS.load("dct")(DetectorSettings(), 32)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'xception'"):
        DETECTORS.load("xcepton")


# dct


def test_dct_features_kept_or_computed_again_give_the_same(data, context, sets):
    kept, again = (LogDct(LogDctSettings(cache_mb=megabytes), 32) for megabytes in (1024, 0))
    assert kept.fit(data, context()).facts["features_cached"] is True
    assert again.fit(data, context()).facts["features_cached"] is False
    assert np.array_equal(kept.coefficients, again.coefficients) and kept.intercept == again.intercept


def test_dct_is_at_the_optimum_of_its_objective(data, context):
    """Against an independent solver: scikit-learn's, on features from scipy."""
    from scipy.fft import dctn
    from sklearn.linear_model import LogisticRegression

    detector = LogDct(LogDctSettings(l2=0.05, tolerance=1e-7), 32)
    detector.fit(data, context())
    images = np.concatenate([data.train_real.read(), data.train_forged.read()]).transpose(0, 3, 1, 2)
    x = np.log(np.abs(dctn(images.astype(float), axes=(2, 3), norm="ortho")) + 1e-12).reshape(len(images), -1)
    z = (x - x.mean(0)) / x.std(0)
    # its penalty is |w|^2 / 2 beside C times the summed loss; here l2 |w|^2 beside the mean
    expected = LogisticRegression(C=1 / (2 * 0.05 * len(z)), tol=1e-8, max_iter=5000).fit(z, np.repeat([0, 1], 48))
    scores = detector.score(np.concatenate([data.val_real.read(), data.val_forged.read()]), Compute())
    y = np.concatenate([data.val_real.read(), data.val_forged.read()]).transpose(0, 3, 1, 2)
    y = np.log(np.abs(dctn(y.astype(float), axes=(2, 3), norm="ortho")) + 1e-12).reshape(len(y), -1)
    wanted = expected.decision_function((y - x.mean(0)) / x.std(0))
    # log odds of about 4.5; single coefficients near zero differ in the logarithm between float32 and float64
    assert np.abs(scores - wanted).max() < 0.2 and np.abs(scores - wanted).mean() < 0.01


# xception


def test_weights_from_nowhere_fail_in_seconds_and_say_what_to_do(data, context, monkeypatch):
    def no_route(*args, **options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", no_route)
    monkeypatch.setattr(detect.weights, "_reachable", lambda host: False)
    detector = Xception(TimmSettings(weights="imagenet"), 32)
    with pytest.raises(InputError, match=r"cannot be had: .*xception-43020ad28.pth.*weights: FILE\.safetensors"):
        detector.fit(data, context())
    assert detector.network is None


def test_a_pickle_is_refused_unopened(data, context, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    with pytest.raises(ValidationError, match=r"ends in \.safetensors"):
        TimmSettings(weights=str(tmp_path / "x.pth"))
    renamed = tmp_path / "x.safetensors"
    for content in (pickle.dumps(Bomb()), b"PK\x03\x04" + bytes(100)):
        renamed.write_bytes(content)
        with pytest.raises(InputError, match=r"is not safetensors; pickles .* never opened"):
            Xception(TimmSettings(weights=str(renamed)), 32).fit(data, context())


def test_weights_of_a_file_are_the_start_and_its_other_head_is_replaced(tmp_path):
    source = timm.create_model("legacy_xception", num_classes=10)
    path = tmp_path / "imagenet.safetensors"
    save_file(source.state_dict(), path)
    network = Xception(TimmSettings(weights=str(path)), 32).build()
    assert torch.equal(network.block7.rep[1].conv1.weight, source.block7.rep[1].conv1.weight)
    assert network.fc.weight.shape == (1, 2048)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("conv1.weight"), "conv1.weight is missing"),
        (lambda state: state.update({"strange": torch.zeros(1)}), "strange is not part of the network"),
        (lambda state: state.update({"bn1.bias": torch.zeros(7)}), r"bn1.bias is \[7\], the network has \[32\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, sentence):
    state = dict(timm.create_model("legacy_xception", num_classes=1).state_dict())
    change(state)
    save_file(state, tmp_path / "wrong.safetensors")
    with pytest.raises(InputError, match=sentence):
        Xception(TimmSettings(weights=str(tmp_path / "wrong.safetensors")), 32).build()


def test_a_missing_weights_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.safetensors does not exist"):
        Xception(TimmSettings(weights="nowhere.safetensors"), 32).build()


def test_settings_are_strict():
    with pytest.raises(ValidationError, match="learning_rat"):
        TimmSettings(learning_rat=1)
    with pytest.raises(ValidationError, match="multiple of 2"):
        TimmSettings(batch=3)


def test_bf16_logits_do_not_tie(data, context, sets):
    images = np.concatenate([faces.view("test").read() for faces in sets])
    detector = Xception(TimmSettings(batch=8, max_images=16, validate_every=16), 32)
    detector.fit(data, context())
    scores = detector.score(images, Compute("cpu", "bf16"))
    assert len(np.unique(scores)) == len(scores)
