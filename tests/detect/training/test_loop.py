from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

import detect.training.loop
import detect.training.state
import detect.training.validation
from detect.data.views import random_labels
from detect.detectors.image_classifiers import MobileNetV3
from detect.scoring import score_view
from detect.training.loop import learning_rate_at
from detect.training.settings import NetworkSettings
from forge.core.compute import Compute
from forge.core.distributed import ProcessGroup
from forge.core.errors import BenchError, CorruptError, InputError
from forge.core.registry import allow_files, load_from_file

pytestmark = pytest.mark.e2e

TINY = f"{Path(__file__).parents[1] / 'tiny.py'}:Tiny"
allow_files([TINY])
Tiny = load_from_file("detector", TINY)

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
    def on_progress(event):
        if event.done >= images:
            raise Stop

    return on_progress


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(detect.training.state, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(detect.training.state, "CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr(detect.training.loop, "TICK_SECONDS", 0.0)


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
        labels = np.concatenate([random_labels(faces.view("test").rows, seed) for faces in sets])
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


@pytest.mark.parametrize(
    ("optimizer", "interrupt"), [("adam", 8), ("adamw", 56), ("adamw", 96), ("adam", 191), ("sgd", 8), ("sgd", 100)]
)
def test_a_resumed_fit_is_the_uninterrupted_one(data, context, tmp_path, every_step, optimizer, interrupt):
    settings = QUICK | {"epochs": 2, "optimizer": optimizer, "weight_decay": 0.01, "validate_every": 64}
    whole, summary = fitted(Tiny, data, context(0, "whole"), **settings)
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, "cut", stop_at(interrupt)), **settings)
    first_event = []
    cut, resumed = fitted(Tiny, data, context(0, "cut", lambda event: first_event.append(event.done)), **settings)
    assert first_event[0] > min(interrupt, 184)  # it did continue, not start again
    assert weights(cut, tmp_path, "x") == weights(whole, tmp_path, "y")
    assert resumed.history == summary.history and resumed.facts == summary.facts


def test_a_deep_network_resumes_bit_for_bit_in_bf16(data, context, tmp_path, every_step):
    settings = {"batch": 4, "max_images": 16, "validate_every": 8}
    data = data.limited(8, 4, 0)
    whole, _ = fitted(MobileNetV3, data, context(0, "whole", precision="bf16"), **settings)
    with pytest.raises(Stop):
        fitted(MobileNetV3, data, context(0, "cut", stop_at(12), precision="bf16"), **settings)
    cut, _ = fitted(MobileNetV3, data, context(0, "cut", precision="bf16"), **settings)
    assert weights(cut, tmp_path, "x") == weights(whole, tmp_path, "y")


def test_a_checkpoint_of_another_fit_is_named(data, context, every_step):
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, on_progress=stop_at(16)), **QUICK)
    with pytest.raises(InputError, match=r"settings\.learning_rate was 0\.02, is 0\.01"):
        fitted(Tiny, data, context(), **QUICK | {"learning_rate": 0.01})
    with pytest.raises(InputError, match="seed was 0, is 7"):
        fitted(Tiny, data, context(7), **QUICK)
    with pytest.raises(InputError, match="data differs"):
        fitted(Tiny, data.limited(20, None, 0), context(), **QUICK)


def test_a_damaged_checkpoint_is_named(data, context, every_step):
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, on_progress=stop_at(16)), **QUICK)
    state = context().work / "checkpoint.safetensors"
    state.write_bytes(state.read_bytes()[:-40])
    with pytest.raises(CorruptError, match=r"cannot be read.*delete it to start over"):
        fitted(Tiny, data, context(), **QUICK)


def test_only_the_newest_checkpoint_is_kept(data, context, every_step):
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, on_progress=stop_at(152)), **QUICK)
    assert [file.name for file in context().work.iterdir()] == ["checkpoint.safetensors"]
    stored = load_file(context().work / "checkpoint.safetensors")
    assert {"network.0.weight", "best.0.weight"} <= stored.keys()


def test_a_diverged_fit_says_so(data, context):
    class Exploding(Tiny):
        def loss(self, network, inputs, labels):
            return super().loss(network, inputs, labels) * float("nan")

    with pytest.raises(BenchError, match=r"diverged: the loss is not a finite number after \d+ images; lower learning"):
        fitted(Exploding, data, context(), **QUICK)


def test_a_batch_that_processes_cannot_share_is_refused(data, context):
    shared = dataclasses.replace(context(), processes=ProcessGroup(0, 3))
    detector = Tiny(Tiny.Settings(batch=8), 32)
    with pytest.raises(InputError, match=r"batch 8 of tiny, .* 3 processes; choose a multiple of 6"):
        detect.training.loop.Fit(detector, detector.build(), data, shared)


def test_stops_early_and_keeps_the_best_weights(data, context, monkeypatch):
    aucs = iter([0.7, 0.9, 0.8, 0.85, 0.6])
    monkeypatch.setattr(detect.training.validation, "validation_auc", lambda real, forged: next(aucs))
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


def test_cosine_ends_at_the_least_learning_rate():
    settings = NetworkSettings(learning_rate=1.0, warmup=0, min_learning_rate=0.2)
    rates = [learning_rate_at(step, 100, settings) for step in range(100)]
    assert rates[0] == 1.0 and rates[50] == pytest.approx(0.6) and 0.2 < rates[-1] < 0.201


def test_step_multiplies_after_every_so_many_passes():
    """As NPR's: times .9 every 10 passes."""
    settings = NetworkSettings(learning_rate=2e-4, warmup=0, schedule="step", step_epochs=10, decay=0.9)
    rates = [learning_rate_at(step, 35 * 7, settings, steps_per_pass=7) for step in range(35 * 7)]
    assert rates == pytest.approx([2e-4 * 0.9 ** (step // 70) for step in range(35 * 7)])
    bounded = settings.model_copy(update={"min_learning_rate": 1.7e-4})
    assert learning_rate_at(34 * 7, 35 * 7, bounded, steps_per_pass=7) == 1.7e-4


PLATEAU = {"schedule": "plateau", "decay": 0.1, "patience": 2, "warmup": 0.0, "learning_rate": 1e-4}


def test_plateau_lowers_the_rate_when_validation_stalls_and_stops_under_the_least(data, context, monkeypatch):
    """Wang et al. 2020 start at 1e-4, divide by 10, and stop under 1e-6."""
    rates, aucs = [], iter([0.6, 0.7, 0.7, 0.6, 0.8, 0.8, 0.7, 0.8, 0.8])

    def auc(real, forged):
        rates.append(fit.optimizer.param_groups[0]["lr"])
        return next(aucs)

    monkeypatch.setattr(detect.training.validation, "validation_auc", auc)
    detector = Tiny(Tiny.Settings(batch=8, epochs=50, min_learning_rate=1e-6, **PLATEAU), 32)
    fit = detect.training.loop.Fit(detector, detector.build(), data, context())
    fit.run()
    # 3 and 4 no better, so the rate falls; 5 is; 6 and 7 stall, then 8 and 9, and 1e-7 is under the least
    assert rates == pytest.approx([1e-4] * 4 + [1e-5] * 3 + [1e-6] * 2)
    assert fit.progress.drops == 3 and fit.finish()[2].facts["stopped_early"]


@pytest.mark.parametrize("interrupt", [88, 150, 190])
def test_a_resumed_fit_knows_its_plateau_and_augments_alike(
    data, context, tmp_path, every_step, monkeypatch, interrupt
):
    monkeypatch.setattr(
        detect.training.validation, "validation_auc", lambda real, forged: 0.5
    )  # never better than at first
    settings = QUICK | PLATEAU | {"epochs": 3, "learning_rate": 0.02, "validate_every": 24, "optimizer": "sgd"}
    settings |= {"crop": 0.9, "blur": 0.5, "noise": 0.5, "jpeg": 0.5, "rescale": 0.5}
    whole, summary = fitted(Tiny, data, context(0, "whole"), **settings)
    with pytest.raises(Stop):
        fitted(Tiny, data, context(0, "cut", stop_at(interrupt)), **settings)
    cut, resumed = fitted(Tiny, data, context(0, "cut"), **settings)
    assert resumed.history == summary.history and resumed.facts == summary.facts
    assert weights(cut, tmp_path, "x") == weights(whole, tmp_path, "y")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"blur_sigma": (3, 1)}, r"blur_sigma\n.*must be \[lowest, highest\] within 0 to 50, not \[3.0, 1.0\]"),
        ({"rescale_range": (0, 1)}, "rescale_range\n.*within 0.05 to 1"),
        ({"jpeg_quality": (30, 101)}, "jpeg_quality"),
        ({"jpeg": 1.5}, "jpeg\n.*less than or equal to 1"),
        ({"learning_rate": 1e-4, "min_learning_rate": 1e-3}, "min_learning_rate 0.001 is above learning_rate 0.0001"),
        ({"schedule": "plateau", "patience": None}, "plateau needs patience"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings, sentence):
    with pytest.raises(ValidationError, match=sentence):
        NetworkSettings(**settings)


def test_a_crop_trains_on_smaller_images_but_for_networks_of_one_size(data, context):
    seen = set()

    class Watching(Tiny):
        def loss(self, network, inputs, labels):
            seen.add(inputs.shape)
            return super().loss(network, inputs, labels)

    fitted(Watching, data, context(0, "cropped"), **QUICK | {"max_images": 16, "crop": 0.8})
    assert seen == {(8, 3, 26, 26)}
    seen.clear()
    fitted(Watching, data, context(0, "resized"), **QUICK | {"max_images": 16, "crop": 0.8, "input_size": 32})
    assert seen == {(8, 3, 32, 32)}
    fixed = type("Fixed", (Tiny,), {"any_size": False})
    with pytest.raises(InputError, match=r"tiny takes images of one size, but crop 0\.8 would"):
        fixed(Tiny.Settings(crop=0.8), 32)
    assert fixed(Tiny.Settings(crop=0.8, input_size=32), 32)


def test_images_are_resized_in_the_batch(data):
    detector = Tiny(Tiny.Settings(input_size=48), 32)
    pixels = torch.from_numpy(data.train_real.read(slice(0, 2)))
    inputs = detector.prepare(pixels)
    assert inputs.shape == (2, 3, 48, 48) and inputs.is_contiguous(memory_format=torch.channels_last)
    same = Tiny(Tiny.Settings(), 32).prepare(pixels)
    torch.testing.assert_close(same, pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
