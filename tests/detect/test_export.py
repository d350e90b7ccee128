"""Exported detectors are the detectors: ONNX and torch.export, every number of images, refusals."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from detect.artifact import DetectorCard, TrainedDetector
from detect.detectors.base import DetectorSettings
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.export import WRITERS, onnx_int8
from detect.export.agreement import Agreement, Outputs, Shift, compare
from detect.export.graph import REASONS, CannotExportError, score_graph
from detect.training.calibration import Calibration
from forge.core.compute import Compute
from forge.core.errors import DetectorError

pytestmark = pytest.mark.xdist_group("onnx")  # one process imports the exporter

SIDE = 32


def trained(name: str, **settings) -> TrainedDetector:
    """A detector that learned nothing: random weights, or random coefficients of its features."""
    method = DETECTORS.load(name)
    detector = method(method.Settings(**settings), SIDE)
    rng = np.random.default_rng(0)
    if isinstance(detector, NetworkDetector):
        torch.manual_seed(0)
        detector.network = detector.build().eval()
    else:
        width = detector.features(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)).shape[1]
        detector.mean, detector.std, detector.fitted = rng.random(width), rng.random(width) + 1, detector.classifier()
        detector.fitted.restore(
            {"coefficients": rng.normal(size=width), "intercept": np.ones(1), "gamma": np.full(1, 0.01)}
            | {"support": rng.random((5, width)), "weights": rng.normal(size=5)}
        )
    return wrapped(name, detector)


def wrapped(name, detector, scale=0.7):
    card = DetectorCard(
        name=name, family=detector.family, citation="", variant="", settings={}, resolution=SIDE, seed=0,
        trained_on="dcgan", data=[], calibration={"a": scale, "b": -0.2}, parameters=1, facts={}, history=[],
    )  # fmt: skip
    return TrainedDetector(detector, card)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8)


def ensemble() -> TrainedDetector:
    """Logarithms of DCT coefficients, and a Fourier spectrum; their probabilities averaged."""
    mean = DETECTORS.load("mean:dct+spectrum")(DetectorSettings(), SIDE)
    mean.members = [trained("dct"), trained("spectrum")]
    return wrapped("mean:dct+spectrum", mean)


def sure() -> TrainedDetector:
    """A network behind a resize whose patches are all sure; the score is how much is left to certainty."""
    detector = trained("patch-forensics", blocks=1, input_size=48)
    list(detector.detector.network.parameters())[-1].data = torch.tensor([-8.5, 8.5])
    return detector


# each detector is exported in test_families.py; here the operations that differ between libraries
@pytest.mark.slow  # seconds each; test_detector_export.py of the command line exports a network in the usual tests
@pytest.mark.parametrize("make", [ensemble, sure])
def test_an_onnx_file_is_the_detector_for_every_number_of_images(make, images, tmp_path):
    detector = make()
    run = WRITERS.load("onnx")(detector, tmp_path / "model.onnx", {"detector": "mine", "resolution": str(SIDE)})
    agreement = compare(detector, run, images, 0.0)
    agreement.check("mine")
    assert agreement.images == 12 and agreement.probability < 1e-4 and agreement.verdicts == 0
    assert agreement.score < 1e-4 * max(1, agreement.largest)
    # onnxruntime's own LogSigmoid is 0 in float32 from 17 on, where torch still has 4e-8
    assert agreement.largest > 15 or make is ensemble

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,), made = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [SIDE, SIDE, 3])
    assert {value.name: value.type for value in made} == dict.fromkeys(("probability", "score"), "tensor(float)")
    assert session.get_modelmeta().custom_metadata_map["detector"] == "mine"
    probability, score = session.run(["probability", "score"], {"images": images})
    np.testing.assert_allclose(score, detector.detector.score(images, Compute()), atol=1e-3)
    np.testing.assert_allclose(probability, Calibration(0.7, -0.2).probability(score), atol=1e-6)


def test_a_program_of_torch_export_is_the_detector(images, tmp_path):
    detector = trained("svm", features="dct", bands=4)
    run = WRITERS.load("torch")(detector, tmp_path / "model.pt2", {"detector": "svm"})
    agreement = compare(detector, run, images, 0.0)
    assert agreement.score < 1e-5 and agreement.probability < 1e-5
    stored = {"facts.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=stored)
    assert stored["facts.json"] == '{"detector":"svm"}'


@pytest.mark.parametrize("name", sorted(REASONS))
def test_a_detector_whose_score_is_no_graph_says_why(name):
    method = DETECTORS.load(name)
    detector = method(method.Settings(), SIDE)
    if name not in ("random", "noise-map", "copy-move-match"):
        detector.score_function = lambda compute: None  # as fitted: test_families.py
    with pytest.raises(CannotExportError, match=REASONS[name][:20]):
        score_graph(wrapped(name, detector))


def test_code_that_cannot_be_traced_is_refused_with_what_torch_says(tmp_path):
    class Wild(NetworkDetector):
        family = "wild"

        def build(self, *, blank=False):
            return torch.nn.Flatten()

        def logits(self, network, inputs):
            values = network(inputs).mean(1)
            return values * len(inputs) if values[0] > 0 else values

    detector = Wild(Wild.Settings(), SIDE)
    detector.network = detector.build()
    with pytest.raises(CannotExportError, match=r"wild cannot be exported: torch.export cannot trace"):
        WRITERS.load("torch")(wrapped("wild", detector), tmp_path / "model.pt2", {})


def test_int8_that_is_too_coarse_is_refused_and_said():
    rng = np.random.default_rng(0)
    scores, forged = rng.normal(size=300), rng.integers(-1, 2, 300).astype(np.int8)
    shift = Shift.of(scores, scores + 0.05 * scores.std(), forged, 40)
    assert shift.share == pytest.approx(0.05) and shift.mean == pytest.approx(0.05 * scores.std())
    before, after, count = shift.auc
    assert before == after and count == (forged >= 0).sum() and f"AUC on {count} labelled" in shift.sentence()
    Agreement(300, 9.0, 1.0, 1.0, 3, None, shift).check("npr")  # the limits of fp32 do not apply
    assert "40 other images" in Agreement(300, 9.0, 1.0, 1.0, 3, 0.1, shift).sentence()

    assert Shift.of(scores, scores, np.full(300, 1, np.int8), 40).auc is None  # one class alone
    for wrong in (scores + 0.2, np.full(300, np.nan)):
        coarse = Agreement(300, 0.2, 1.0, 0.1, 7, None, Shift.of(scores, wrong, forged, 40))
        with pytest.raises(
            DetectorError, match=r"npr in int8 is too coarse .* 7 are called otherwise.*--precision fp32"
        ):
            coarse.check("npr")


def test_int8_needs_convolutions(tmp_path, images, monkeypatch):
    class Flat(NetworkDetector):
        family = "flat"

        def build(self, *, blank=False):
            return torch.nn.Flatten()

    # a model without an operator
    monkeypatch.setattr(onnx_int8, "write_fp32", lambda trained, file, facts: onnx.save(onnx.ModelProto(), file))
    detector = Flat(Flat.Settings(), SIDE)
    with pytest.raises(CannotExportError, match=r"flat cannot be exported in int8: its network has no convolutions"):
        WRITERS.load("onnx-int8")(wrapped("flat", detector), tmp_path / "model.onnx", {}, images)


def test_what_differs_is_refused(images):
    detector = trained("dct")
    scores = detector.detector.score(images, Compute())
    parts = iter(np.split(scores, [1, 8]))

    def shifted(part):
        values = next(parts) + 0.1 * np.abs(scores).max()
        return Outputs(Calibration(0.7, -0.2).probability(values), values)

    agreement = compare(detector, shifted, images, 0.0)
    assert agreement.score == pytest.approx(0.1 * agreement.largest)
    with pytest.raises(DetectorError, match=r"dct exported is not the detector itself and was not written"):
        agreement.check("dct")
    with pytest.raises(DetectorError):
        Agreement(1, float("nan"), 1.0, float("nan"), 0).check("dct")
