from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

import detect.fitting
from detect.detectors.cnn import Xception
from detect.detectors.network import NetworkSettings
from detect.fitting import learning_rate_at
from detect.scoring import score_view
from forge.compute import Compute
from forge.errors import BenchError, CorruptError, InputError
from forge.registry import load_from_file

Tiny = load_from_file("detector", f"{Path(__file__).parent / 'tiny.py'}:Tiny")

QUICK = {"batch": 8, "epochs": 4, "learning_rate": 0.02, "patience": None}


class Stop(BaseException):
    """Stands for a kill: nothing in the fit may catch it."""


def fitted(kind, data, context, **settings):
    detector = kind(kind.Settings(**settings), data.resolution)
    summary = detector.fit(data, context)
    return detector, summary


def weights(detector, tmp_path, name):
    directory = tmp_path / name
    directory.mkdir()
    detector.save(directory)
    return (directory / "weights.safetensors").read_bytes()


def stop_at(images):
    def report(tick):
        if tick.done >= images:
            raise Stop

    return report


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(detect.fitting, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(detect.fitting, "CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr(detect.fitting, "TICK_SECONDS", 0.0)


def test_finds_the_artefact(data, context, sets):
    detector, summary = fitted(Tiny, data, context(), **QUICK)
    real, forged = (score_view(detector, faces.view("test"), Compute()) for faces in sets)
    assert roc_auc_score([0] * 32 + [1] * 32, np.concatenate([real, forged])) > 0.99
    assert summary.facts["images_seen"] == 384 and len(summary.history) == 4


def test_shuffled_labels_teach_nothing(data, context, sets):
    aucs = []
    for seed in range(3):
        detector, _ = fitted(Tiny, data.with_shuffled_labels(seed), context(seed, f"work{seed}"), **QUICK)
        both = np.concatenate([score_view(detector, faces.view("test"), Compute()) for faces in sets])
        labels = np.random.default_rng(seed).permutation(np.repeat([0, 1], 32))
        aucs.append(roc_auc_score(labels, both))
    assert 0.3 < np.mean(aucs) < 0.7


def test_the_seed_decides(data, context, tmp_path):
    first, second, other = (
        weights(fitted(Tiny, data, context(seed, f"work-{name}"), **QUICK)[0], tmp_path, name)
        for name, seed in (("first", 1), ("second", 1), ("other", 2))
    )
    assert first == second and first != other


def test_global_random_state_neither_matters_nor_changes(data, context, tmp_path):
    torch.manual_seed(1)
    first = weights(fitted(Tiny, data, context(0, "a"), **QUICK)[0], tmp_path, "first")
    torch.manual_seed(2)
    before = torch.get_rng_state()
    # "auto" measures both precisions first, which must leave no trace in the weights either
    detector, _ = fitted(Tiny, data, context(0, "b", precision="auto"), **QUICK)
    assert torch.equal(torch.get_rng_state(), before)
    if detector.precision == "fp32":
        assert weights(detector, tmp_path, "second") == first


@pytest.mark.parametrize(("optimizer", "interrupt"), [("adam", 8), ("adamw", 56), ("adamw", 96), ("adam", 191)])
def test_a_resumed_fit_is_the_uninterrupted_one(data, context, tmp_path, every_step, optimizer, interrupt):
    settings = QUICK | {"epochs": 2, "optimizer": optimizer, "weight_decay": 0.01, "validate_every": 64}
    whole, summary = fitted(Tiny, data, context(0, "whole"), **settings)
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, "cut", stop_at(interrupt)), **settings)
    first_tick = []
    cut, resumed = fitted(Tiny, data, context(0, "cut", lambda tick: first_tick.append(tick.done)), **settings)
    assert first_tick[0] > min(interrupt, 184)  # it did continue, not start again
    assert weights(cut, tmp_path, "x") == weights(whole, tmp_path, "y")
    assert resumed.history == summary.history and resumed.facts == summary.facts


def test_xception_resumes_bit_for_bit(data, context, tmp_path, every_step):
    settings = {"batch": 4, "max_images": 16, "validate_every": 8}
    data = data.limited(8, 4, 0)
    whole, _ = fitted(Xception, data, context(0, "whole", precision="bf16"), **settings)
    with pytest.raises(Stop):
        fitted(Xception, data, context(0, "cut", stop_at(12), precision="bf16"), **settings)
    cut, _ = fitted(Xception, data, context(0, "cut", precision="bf16"), **settings)
    assert weights(cut, tmp_path, "x") == weights(whole, tmp_path, "y")


def test_a_checkpoint_of_another_fit_is_named(data, context, every_step):
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, report=stop_at(16)), **QUICK)
    with pytest.raises(InputError, match=r"settings\.learning_rate was 0\.02, is 0\.01"):
        fitted(Tiny, data, context(), **QUICK | {"learning_rate": 0.01})
    with pytest.raises(InputError, match="seed was 0, is 7"):
        fitted(Tiny, data, context(7), **QUICK)
    with pytest.raises(InputError, match="data differs"):
        fitted(Tiny, data.limited(20, None, 0), context(), **QUICK)


def test_a_damaged_checkpoint_is_named(data, context, every_step):
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, report=stop_at(16)), **QUICK)
    state = context().work / "checkpoint.safetensors"
    state.write_bytes(state.read_bytes()[:-40])
    with pytest.raises(CorruptError, match=r"cannot be read.*delete it to start over"):
        fitted(Tiny, data, context(), **QUICK)


def test_only_the_newest_checkpoint_is_kept(data, context, every_step):
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, report=stop_at(152)), **QUICK)
    assert [file.name for file in context().work.iterdir()] == ["checkpoint.safetensors"]
    stored = load_file(context().work / "checkpoint.safetensors")
    assert {"network.0.weight", "best.0.weight"} <= stored.keys()


def test_a_diverged_fit_says_so(data, context):
    class Exploding(Tiny):
        def loss(self, network, inputs, labels):
            return super().loss(network, inputs, labels) * float("nan")

    with pytest.raises(BenchError, match=r"diverged: the loss is not a finite number after \d+ images; lower learning"):
        fitted(Exploding, data, context(), **QUICK)


def test_stops_early_and_keeps_the_best_weights(data, context, monkeypatch):
    aucs = iter([0.7, 0.9, 0.8, 0.85, 0.6])
    monkeypatch.setattr(detect.fitting, "roc_auc_score", lambda labels, scores: next(aucs))
    detector, summary = fitted(Tiny, data, context(), **QUICK | {"epochs": 50, "patience": 3})
    assert [entry["val_auc"] for entry in summary.history] == [0.7, 0.9, 0.8, 0.85, 0.6]
    assert summary.facts["stopped_early"] and summary.facts["best_val_auc"] == 0.9
    assert summary.facts["best_after_images"] == 2 * 96
    real, forged = (score_view(detector, view, Compute()) for view in (data.val_real, data.val_forged))
    loss = (np.logaddexp(0, real).mean() + np.logaddexp(0, -forged).mean()) / 2
    assert loss == pytest.approx(summary.history[1]["val_loss"], rel=1e-5)


def test_deep_networks_are_scored_with_settled_statistics(data, context):
    """After a handful of steps the running variance is the batches', not the 1 it was initialised with."""
    detector, _ = fitted(Tiny, data, context(), **QUICK | {"epochs": 1, "learning_rate": 1e-9, "max_images": 40})
    convolution, norm = detector.network[0], detector.network[1]
    with torch.no_grad():
        variance = convolution(detector.prepare(torch.from_numpy(data.train_real.read()))).var((0, 2, 3))
    torch.testing.assert_close(norm.running_var, variance, rtol=0.5, atol=1e-3)


def test_learning_rate_rises_then_falls():
    settings = NetworkSettings(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate_at(step, 100, settings) for step in range(100)]
    assert np.argmax(rates) == 10 and rates[10] == 1.0 and rates[0] == pytest.approx(1 / 11)
    assert (np.diff(rates[:11]) > 0).all() and (np.diff(rates[10:]) < 0).all() and 0 < rates[-1] < 0.001
    constant = NetworkSettings(learning_rate=1.0, warmup=0.1, schedule="constant")
    assert {learning_rate_at(step, 100, constant) for step in range(10, 100)} == {1.0}


def test_images_are_resized_in_the_batch(data):
    detector = Tiny(Tiny.Settings(input_size=48), 32)
    pixels = torch.from_numpy(data.train_real.read(slice(0, 2)))
    inputs = detector.prepare(pixels)
    assert inputs.shape == (2, 3, 48, 48) and inputs.is_contiguous(memory_format=torch.channels_last)
    same = Tiny(Tiny.Settings(), 32).prepare(pixels)
    torch.testing.assert_close(same, pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
