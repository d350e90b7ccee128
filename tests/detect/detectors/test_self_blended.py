from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from detect.artifact import fit_detector, load_trained
from detect.detectors.base import FitData
from detect.detectors.registry import DETECTORS
from detect.detectors.self_blended import SelfBlendedDetector, SelfBlendedSettings
from detect.scoring import score_view
from forge.core.compute import Compute
from forge.core.errors import CorruptError, InputError, UnknownNameError
from forge.core.files import write_json
from forge.core.progress import silent
from forge.core.registry import allow_files, load_from_file
from forge.faces.faceset import FaceSet
from forge.tampering.self_blended import SelfBlended, SelfBlending
from forge.tampering.tamper import tamper_set

TINY = f"{Path(__file__).parents[1] / 'tiny.py'}:Tiny"
allow_files([TINY])
Tiny = load_from_file("detector", TINY)

OPTIONS = {"batch": 8, "epochs": 4, "learning_rate": 0.02, "patience": None}
# blends that anything sees: the inside of every face has lost its detail
PLAIN = SelfBlended(
    landmarks="average", altered="source", downscale=(4,), sharpen=(0, 0), lightness=(1, 1), ratios=(1,)
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(DETECTORS.entries, "tiny", f"{Tiny.__module__}:Tiny")


def settings(**changes) -> SelfBlendedSettings:
    return SelfBlendedSettings(**{"network": "tiny", "options": OPTIONS, "copies": 2, "blending": PLAIN} | changes)


def differences(self, pixels):
    """Detail alone, so that two convolutions learn in seconds what a network finds in minutes."""
    inputs = pixels.permute(0, 3, 1, 2).float() / 8
    rows = inputs[:, :, 1:] - inputs[:, :, :-1]
    return rows[..., 1:] - rows[..., :-1]


def test_it_learns_blends_and_never_reads_a_forgery(data, sets, context, monkeypatch, tmp_path):
    real, forged = sets
    read, seen = FaceSet.read, []

    def spy(faces, index):
        seen.append((faces.path, frozenset(np.asarray(index).tolist())))
        return read(faces, index)

    monkeypatch.setattr(Tiny, "prepare", differences)
    detector = SelfBlendedDetector(settings(), 32)
    with monkeypatch.context() as patch:
        patch.setattr(FaceSet, "read", spy)
        summary = detector.fit(data, context())
    assert forged.path not in {path for path, _ in seen}
    positions = set().union(*(index for path, index in seen if path == real.path))
    assert set(real.table["split"].iloc[list(positions)]) == {"train", "val"}
    assert summary.facts["network"] == "tiny" and summary.facts["blends"] == 2 * 48 + 24
    assert summary.facts["faces_not_found"] == 48 + 24
    fresh = tamper_set(
        SelfBlending(PLAIN), real, tmp_path / "fresh", name="fresh", counts={"test": 32}, seed=9, on_progress=silent
    )
    scores = [score_view(detector, faces.view("test"), Compute()) for faces in (real, fresh)]
    assert roc_auc_score(np.repeat([0, 1], 32), np.concatenate(scores)) > 0.95


def test_the_real_images_are_the_targets_of_the_blends_or_the_reals_themselves(data, context, monkeypatch):
    fitted = []
    monkeypatch.setattr(Tiny, "fit", lambda self, data, context: fitted.append(data) or _Nothing)
    either = settings(blending=PLAIN.model_copy(update={"altered": "either"}))
    SelfBlendedDetector(either, 32).fit(data, context(0, "either"))
    SelfBlendedDetector(settings(), 32).fit(data, context(0, "source"))
    paper, plain = fitted
    assert plain.train_real is data.train_real and len(plain.train_forged) == 96
    assert len(paper.train_real) == len(paper.train_forged) == 96 and len(paper.val_real) == 24
    reals = dict(zip(data.train_real.rows["id"], data.train_real.read(), strict=True))
    rows, images = paper.train_real.rows, paper.train_real.read()
    unchanged = [np.array_equal(image, reals[made]) for image, made in zip(images, rows["made_from"], strict=True)]
    assert 24 < sum(unchanged) < 72  # the target is the changed copy in half of the blends
    pairs = zip(rows["made_from"], paper.train_forged.rows["made_from"], strict=True)
    assert all(ours == other for ours, other in pairs)
    for inside in fitted:
        inside.check()


class _Nothing:
    history: list[dict[str, float]] = []  # noqa: RUF012 - never changed
    facts: dict[str, str] = {}  # noqa: RUF012


def test_an_interrupted_fit_reuses_its_blends(data, context, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(self, data, context):
        raise Stop

    either = settings(blending=SelfBlended(landmarks="average"))
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Tiny, "fit", stop)
        SelfBlendedDetector(either, 32).fit(data, context())
    folder = context().work / "self-blended"
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    assert {file.parent.name for file in before} == {"blends", "targets"}
    SelfBlendedDetector(either, 32).fit(data, context())
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()} == before
    with pytest.raises(InputError, match="made with another seed"):
        SelfBlendedDetector(either, 32).fit(data, context(5))
    with pytest.raises(InputError, match="made with another settings"):
        SelfBlendedDetector(settings(), 32).fit(data, context())
    with pytest.raises(InputError, match="made with another counts and made_from"):
        SelfBlendedDetector(either, 32).fit(data.limited(20, None, 0), context())
    with pytest.raises(InputError, match="made with another counts"):
        SelfBlendedDetector(settings(blending=either.blending, copies=3), 32).fit(data, context())


def test_targets_without_blends_are_made_again(data, context, monkeypatch):
    either = settings(blending=SelfBlended(landmarks="average"))
    (context().work / "self-blended" / "targets").mkdir(parents=True)
    (context().work / "self-blended" / "targets" / "card.json").write_text("{")
    assert SelfBlendedDetector(either, 32).fit(data, context()).facts["blends"] == 120


def test_stored_and_loaded_it_scores_bit_for_bit_the_same(data, context, sets, tmp_path):
    trained = fit_detector("self-blended", settings(), data, context())
    trained.save(tmp_path / "stored")
    assert sorted(trained.detector.inner.settings.model_dump()) == sorted(trained.card.settings["options"])
    loaded = load_trained(tmp_path / "stored")
    images = sets[1].view("test").read()
    assert np.array_equal(loaded.detector.score(images, Compute()), trained.detector.score(images, Compute()))
    assert loaded.detector.parameters == trained.detector.parameters > 100
    assert loaded.card.settings["options"]["learning_rate"] == 0.02


def test_precision_saliency_and_weights_of_frequencies_are_the_networks(monkeypatch):
    detector = SelfBlendedDetector(SelfBlendedSettings(network="tiny"), 16)
    maps, weights = np.ones((2, 16, 16), np.float32), np.zeros((16, 16), np.float32)
    monkeypatch.setattr(detector.inner, "scoring_precision", lambda compute: "bf16")
    monkeypatch.setattr(detector.inner, "saliency", lambda images, compute: maps)
    monkeypatch.setattr(detector.inner, "frequency_weights", lambda: weights)
    assert detector.scoring_precision(Compute()) == "bf16"
    assert detector.saliency(np.zeros((2, 16, 16, 3), np.uint8), Compute()) is maps
    assert detector.frequency_weights() is weights


def test_a_stored_network_of_another_name_is_refused(data, context, tmp_path):
    detector = SelfBlendedDetector(settings(), 32)
    detector.fit(data, context())
    detector.save(tmp_path)
    write_json(tmp_path / "self-blended.json", {"network": "xception"})
    with pytest.raises(CorruptError, match="holds the network 'xception', its settings say 'tiny'"):
        SelfBlendedDetector.load(tmp_path, settings(), 32)


def test_the_same_seed_gives_the_same_detector(data: FitData, context, tmp_path):
    stored = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        detector = SelfBlendedDetector(settings(), 32)
        detector.fit(data, context(seed, name))
        (tmp_path / f"stored-{name}").mkdir()
        detector.save(tmp_path / f"stored-{name}")
        stored.append((tmp_path / f"stored-{name}" / "weights.safetensors").read_bytes())
    assert stored[0] == stored[1] != stored[2]


def test_settings_of_the_network_are_checked_and_written_out():
    assert SelfBlendedSettings().network == "xception" and SelfBlendedSettings().options["batch"] == 32
    whole = settings()
    assert whole.options["dropout"] == 0.2 and SelfBlendedSettings(**whole.model_dump(mode="json")) == whole
    with pytest.raises(ValidationError, match="learning_rat does not suit tiny: Extra inputs"):
        settings(options={"learning_rat": 1})
    with pytest.raises(ValidationError, match="limit belongs to self-blended itself"):
        settings(options={"limit": 5})
    with pytest.raises(UnknownNameError, match="did you mean 'xception'"):
        settings(network="xcepton")
    for other in ("dct", "self-blended"):
        with pytest.raises(InputError, match="is no network"):
            settings(network=other)
    with pytest.raises(ValidationError, match="named on the command line only"):
        settings(network=f"{Path(__file__).parents[1] / 'tiny.py'}:Tiny")
