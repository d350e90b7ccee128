"""Every architecture: shapes, exact resume, published facts; and what the loop does around them."""

import json
import math
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stopping import Stopped, stop_after
from torch.nn.functional import conv2d, conv_transpose2d, pad

from forge.core.checkpoint import load_checkpoint
from forge.core.compute import Compute
from forge.core.errors import BenchError, InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet, FaceView
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS, stylegan_lite
from forge.generators.artifact import TrainedGenerator, generator_folder
from forge.generators.blocks.layers import ConditionalBatchNorm, Downsample, MinibatchDeviation, ModulatedConv, upsample
from forge.generators.labels import Condition
from forge.generators.sample import regenerate, synthesize
from forge.training import task
from forge.training.callbacks import checkpoint, monitoring
from forge.training.callbacks.log import step_of
from forge.training.losses import OBJECTIVES
from forge.training.monitor.health import Diagnosis
from forge.training.monitor.thresholds import HealthSettings
from forge.training.settings import TrainingSettings
from forge.training.steps.adversarial import Adversarial
from forge.training.train import train
from forge.training.trainer import Trainer

pytestmark = pytest.mark.e2e

SMALL = {
    "gan": {"latent": 8, "generator_widths": (16,), "discriminator_widths": (16,), "grey": False},
    "dcgan": {"latent": 8, "generator_width": 4, "discriminator_width": 4, "discriminator_norm": "none"},
    "cgan": {"latent": 8, "generator_width": 4, "discriminator_width": 4, "discriminator_norm": "none"},
    "stylegan-lite": {"latent": 8, "style": 8, "channels_base": 64, "channels_min": 4, "channels_max": 8},
}


def build(name: str, resolution: int = 16, classes: tuple[int, ...] = (), **network):
    architecture = GENERATORS.load(name)
    return architecture(architecture.Settings(**(SMALL[name] | network)), resolution, classes)


@pytest.fixture
def labelled(tmp_path: Path) -> FaceSet:
    """96 images, dark for "low" and bright for "high", red or blue."""
    rng = np.random.default_rng(0)
    levels, tints = rng.integers(0, 2, 96), rng.integers(0, 3, 96)
    images = np.full((96, 16, 16, 3), 30, np.uint8) + (160 * levels).astype(np.uint8)[:, None, None, None]
    images[np.arange(96), :, :, tints] += 60
    images += rng.integers(0, 6, images.shape).astype(np.uint8)
    kinds = {"level": "string", "tint": "string", "same": "string", "number": "int64"}
    with FaceSetWriter(tmp_path / "labelled", "labelled", "real", 16, "CC0", {}, kinds) as writer:
        rows = [
            {
                "id": str(i), "split": "forge", "level": ("low", "high")[levels[i]], "tint": "rgb"[tints[i]],
                "same": "x", "number": i,
            }
            for i in range(96)
        ]  # fmt: skip
        writer.append(images, rows)
    return FaceSet.open(tmp_path / "labelled")


def make_training(view, work: Path, name: str, columns=(), network=None, **settings) -> task.Training:
    condition, codes, classes = None, None, ()
    if columns:
        condition, view, codes = Condition.of(view, columns)
        classes = condition.classes
    chosen = {
        "kimg": 0.64, "batch": 16, "r1_gamma": 0.1, "penalty_every": 4, "log_every": 5, "sample_every_kimg": 0.2,
        "ema_kimg": 0.1, "health_every_kimg": 0.08,
    } | settings  # fmt: skip
    return task.Training(
        name=name,
        reference=name,
        architecture=build(name, classes=classes, **(network or {})),
        settings=TrainingSettings(**chosen),
        view=view,
        seed=1,
        compute=Compute("cpu", "bf16"),
        work=work,
        condition=condition,
        codes=codes,
    )


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_networks_map_latents_to_images_to_logits(name, resolution):
    classes = (2, 3) if name in ("cgan", "stylegan-lite") else ()
    made = build(name, resolution, classes)
    given = (torch.randint(0, 2, (5, 2)),) if classes else ()
    images = made.generator()(made.latents(5, torch.device("cpu")), *given)
    discriminator = made.discriminator()
    assert images.shape == (5, 3, resolution, resolution)
    assert discriminator(images, *given).shape == (5,)
    assert all(len(activations) == 5 for activations in discriminator.features(images))


RECIPES = {
    "gan": ("gan", {}, {}),
    "gan, wasserstein, two moves": (
        "gan",
        {},
        {"objective": "wasserstein", "gradient_penalty": 10.0, "penalty_every": 1, "d_steps": 2, "r1_gamma": 0.0},
    ),
    "gan, spectral hinge": ("gan", {"spectral": True}, {"objective": "hinge", "share_forgeries": False, "r1_gamma": 0}),
    "dcgan, pixelshuffle, adaptive": (
        "dcgan",
        {"upsample": "pixelshuffle"},
        {"augment": ("colour", "cutout"), "augment_probability": 0.2, "augment_target": 0.5, "augment_kimg": 1.0},
    ),
    "cgan": ("cgan", {}, {}),
    "stylegan-lite": ("stylegan-lite", {}, {"path_length": 2.0, "objective": "relativistic", "r2_gamma": 0.1}),
    "stylegan-lite, residual, plain, labels": (
        "stylegan-lite",
        {"generator": "residual", "discriminator": "plain", "spectral": True},
        {"g_steps": 2},
    ),
    "dcgan, san, excitation, schedule": (
        "dcgan",
        {"head": "san", "excitation": 4},
        {"schedule": {"lr": 0.2, "penalty": 0.1, "beta2": 0.999, "ema": 3.0}},
    ),
    # 10 of 25 steps at 8 px: the training is killed at step 9, one before it grows
    "stylegan-lite, san, excitation, growth": (
        "stylegan-lite",
        {"head": "san", "excitation": 4, "growth": 0.4, "noise": False},
        {"schedule": {"lr": 0.2}},
    ),
}


# beside recipes that have most of its options; takes the longest
SELDOM = {
    "stylegan-lite, residual, plain, labels",
    "dcgan, pixelshuffle, adaptive",
    "stylegan-lite, san, excitation, growth",
}


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=[pytest.mark.slow] if name in SELDOM else []) for name in RECIPES]
)
def test_a_killed_training_continues_to_the_same_bytes(labelled, tmp_path, monkeypatch, recipe):
    name, network, settings = RECIPES[recipe]
    columns = ("level", "tint") if name == "cgan" or "labels" in recipe else ()
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for out in (straight, resumed):
        out.mkdir()

    def training(work):
        return make_training(
            labelled.view("forge"), tmp_path / work, name, columns, network, **{"kimg": 0.4} | settings
        )

    train(training("a"), straight, silent)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(training("b"), resumed, stop_after(144))
    train(training("b"), resumed, silent)
    for file in ("weights.safetensors", "generator.json", "samples/newest.png", "health.json"):
        assert (straight / file).read_bytes() == (resumed / file).read_bytes(), file


@pytest.mark.parametrize("mode", ["json", "python"])
def test_options_that_are_off_are_not_stored_so_that_keys_and_checkpoints_of_before_hold(mode):
    options = {"head", "excitation", "growth"}
    for name, on in (("dcgan", {"excitation": 4}), ("stylegan-lite", {"excitation": 4, "growth": 0.5})):
        plain = build(name).settings.model_dump(mode=mode)
        assert not options & plain.keys()
        chosen = build(name, head="san", **on).settings.model_dump(mode=mode)
        assert chosen == plain | on | {"head": "san"}
    assert "schedule" not in TrainingSettings().model_dump(mode=mode)
    assert TrainingSettings(schedule={"lr": 0.1}).model_dump(mode=mode)["schedule"]["lr"] == 0.1


@pytest.mark.parametrize("upsample", ["transposed", "nearest", "bilinear", "pixelshuffle"])
def test_every_upsampler_doubles_and_says_so_in_the_card(upsample):
    made = build("dcgan", 32, upsample=upsample)
    assert made.generator()(made.latents(2, torch.device("cpu"))).shape == (2, 3, 32, 32)
    assert made.settings.model_dump()["upsample"] == upsample


def test_the_textbook_gan_has_the_textbook_s_size():
    """100-128-784 and 784-128-1, one channel: weights and biases."""
    architecture = GENERATORS.load("gan")
    made = architecture(architecture.Settings(), 28)
    count = [sum(p.numel() for p in network.parameters()) for network in (made.generator(), made.discriminator())]
    assert count == [100 * 128 + 128 + 128 * 784 + 784, 784 * 128 + 128 + 128 + 1]
    images = made.generator()(made.latents(2, torch.device("cpu")))
    assert images.shape == (2, 3, 28, 28) and torch.equal(images[:, 0], images[:, 2])


def test_modulated_convolution_equals_the_grouped_one():
    """Against equation 1 and 3 of Karras et al. 2020 with weights of their own for each image."""
    layer = ModulatedConv(6, 4, 5, 3, gain=math.sqrt(2))
    images, w = torch.randn(3, 6, 8, 8), torch.randn(3, 5)
    changed, factor = layer(images, w)
    style = layer.style(w)
    weight = layer.weight[None] * style[:, None, :, None, None] / math.sqrt(6 * 9)
    weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) * (6 * 9) / (6 * 9) + 1e-8)
    expected = conv2d(images.reshape(1, 18, 8, 8), weight.reshape(12, 6, 3, 3), padding=1, groups=3).reshape(3, 4, 8, 8)
    assert torch.allclose(changed * factor, expected * math.sqrt(2), atol=1e-4)


def test_resampling_is_the_1331_filter():
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(line, line) / 64
    images = torch.randn(2, 3, 8, 8)
    up = conv_transpose2d(images, (kernel * 4).expand(3, 1, 4, 4), stride=2, padding=1, groups=3)
    assert torch.allclose(upsample(images)[:, :, 1:-1, 1:-1], up[:, :, 1:-1, 1:-1], atol=1e-6)
    down = conv2d(pad(images, (1, 1, 1, 1)), kernel.expand(3, 1, 4, 4), stride=2, groups=3)
    assert torch.allclose(Downsample(3)(images), down, atol=1e-6)


def test_minibatch_deviation_sees_only_its_group():
    layer = MinibatchDeviation(4)
    images = torch.randn(8, 2, 4, 4)
    images[4:] = images[4]
    values = layer(images)[:, 2, 0, 0]
    expected = images[:4].var(0, unbiased=False).add(1e-8).sqrt().mean()
    assert torch.allclose(values[:4], expected.expand(4)) and values[4:].max() < 2e-4
    assert layer(torch.randn(6, 2, 4, 4)).shape == (6, 3, 4, 4)  # groups of three


def test_conditional_batch_norm_starts_as_batch_norm_and_learns_each_class():
    layer, plain = ConditionalBatchNorm(3, (2, 4)), torch.nn.BatchNorm2d(3, affine=False)
    images, labels = torch.randn(6, 3, 4, 4), torch.tensor([[0, 1]] * 3 + [[1, 3]] * 3)
    assert torch.allclose(layer(images, labels), plain(images), atol=1e-6)
    with torch.no_grad():
        layer.shifts[0].weight[1] += 2.0
        layer.scales[1].weight[3] += 1.0
    changed = layer(images, labels)
    assert torch.allclose(changed[:3], plain(images)[:3], atol=1e-6)
    assert torch.allclose(changed[3:], 2 * plain(images)[3:] + 2, atol=1e-5)


def test_truncation_moves_every_face_towards_the_mean():
    made = build("stylegan-lite", 32)
    generator = made.generator().eval()
    latents = made.latents(32, torch.device("cpu"))
    generator.mapping.average.copy_(generator.mapping(latents, None).mean(0))
    spread = [generator(latents, truncation=psi, fixed_noise=True).std(0).mean() for psi in (1.0, 0.5, 0.0)]
    assert spread[0] > spread[1] > spread[2] and spread[2] < 1e-5


def test_a_conditional_generator_obeys_and_records_its_labels(labelled, tmp_path):
    settings = {"kimg": 6.0, "generator_lr": 2e-3, "discriminator_lr": 2e-3, "beta1": 0.0, "beta2": 0.99}
    training = make_training(
        labelled.view("forge"), tmp_path / "w", "cgan", ("level",), sample_every_kimg=6, health_every_kimg=6, **settings
    )
    out = tmp_path / "out"
    out.mkdir()
    train(training, out, silent)
    trained = TrainedGenerator.open(out)
    faces = synthesize(
        trained,
        tmp_path / "set",
        counts={"test": 100},
        seed=0,
        on_progress=silent,
        mix={"level": {"low": 3, "high": 1}},
    )
    levels = faces.table["level"].to_numpy()
    bright = faces.read(range(100)).mean(axis=(1, 2, 3))
    assert 60 <= (levels == "low").sum() <= 88
    assert ((bright > 120) == (levels == "high")).mean() > 0.9
    assert (regenerate(trained, faces, 70) == faces.read([70])[0]).all()
    assert faces.card.provenance["mix"] == {"level": {"low": 3, "high": 1}}
    with pytest.raises(InputError, match="value of level 'dark' is not known"):
        synthesize(trained, tmp_path / "no", counts={"test": 1}, seed=0, on_progress=silent, mix={"level": {"dark": 1}})
    with pytest.raises(InputError, match="cannot be truncated"):
        synthesize(trained, tmp_path / "no", counts={"test": 1}, seed=0, on_progress=silent, truncation=0.5)


def test_conditions_that_cannot_be_are_refused(labelled):
    view = labelled.view("forge")
    with pytest.raises(InputError, match="label column 'levle' is not known; did you mean 'level'"):
        Condition.of(view, ["levle"])
    with pytest.raises(InputError, match="label column 'same' has only 'x'; a condition needs at least two values"):
        Condition.of(view, ["same"])
    assert list(Condition.of(view, ["auto"])[0].values) == ["level"]
    with pytest.raises(InputError, match="GAN takes no labels"):
        build("gan", classes=(2,))
    with pytest.raises(InputError, match="CGAN needs labels"):
        build("cgan")


def test_labels_are_drawn_as_asked(labelled):
    condition, _, codes = Condition.of(labelled.view("forge"), ["level", "tint"])
    assert codes.shape == (96, 2) and condition.classes == (2, 3)
    rows = labelled.view("forge").rows
    assert [row["tint"] for row in condition.decode(codes)] == rows["tint"].tolist()
    assert Condition.from_json(condition.to_json()) == condition
    drawn = condition.draw(6000, "uniform", np.random.default_rng(0))
    assert np.abs(np.bincount(drawn[:, 1]) / 6000 - 1 / 3).max() < 0.03
    drawn = condition.draw(6000, {"tint": {"b": 1.0}}, np.random.default_rng(0))
    assert (drawn[:, 1] == 0).all()  # b, g, r
    share = (rows["level"] == "high").mean()
    assert abs((drawn[:, 0] == 0).mean() - share) < 0.03
    with pytest.raises(InputError, match="weights of 0 or more"):
        condition.draw(1, {"tint": {"b": 0.0}}, np.random.default_rng(0))


def test_snapshots_are_generators_of_their_own(labelled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    training = make_training(labelled.view("forge"), tmp_path / "work", "gan", snapshots_kimg=(0.16, 0.32))
    train(training, out, silent)
    digests = {}
    for kimg in (0.16, 0.32, None):
        opened = TrainedGenerator.open(generator_folder(out, kimg))
        digests[kimg] = opened.card.weights_sha256
        assert opened.card.kimg == pytest.approx(kimg or 0.64)
        assert opened.card.name == ("gan" if kimg is None else f"gan@{kimg:g}k")
    assert len(set(digests.values())) == 3
    with pytest.raises(InputError, match=r"a snapshot after 9 thousand images is outside the training of 0\.64"):
        train(make_training(labelled.view("forge"), tmp_path / "w2", "gan", snapshots_kimg=(9.0,)), out, silent)


def test_a_diverging_training_is_rolled_back_and_then_stopped(labelled, tmp_path):
    """A learning rate that throws the weights away after some healthy steps."""
    health = {"policy": "roll-back", "roll_backs": 2}
    wild = {"generator_lr": 1e6, "discriminator_lr": 1e6, "health": health, "health_every_kimg": 0.08}
    training = make_training(labelled.view("forge"), tmp_path / "work", "gan", **wild)
    with pytest.raises(BenchError, match=r"was stopped: diverged .* it was rolled back 2 times already"):
        train(training, tmp_path, silent)


def test_a_roll_back_returns_to_the_healthy_checkpoint_with_other_random_numbers(labelled, tmp_path, monkeypatch):
    health = {"policy": "roll-back", "roll_backs": 2, "roll_back_lr": 0.5}
    training = make_training(labelled.view("forge"), tmp_path / "work", "gan", health=health, health_every_kimg=0.16)
    real, seen = monitoring.decide, []

    def once_sick(health_seen, settings, roll_backs):
        seen.append((round(health_seen.kimg, 2), roll_backs))
        if health_seen.kimg > 0.4 and not roll_backs:
            health_seen = type(health_seen)(health_seen.kimg, "collapsed", "made up", health_seen.readings)
        return real(health_seen, settings, roll_backs)

    monkeypatch.setattr(monitoring, "decide", once_sick)
    out = tmp_path / "out"
    out.mkdir()
    train(training, out, silent)
    assert seen == [(0.16, 0), (0.32, 0), (0.48, 0), (0.48, 1), (0.64, 1)]
    state = load_checkpoint(tmp_path / "work" / "checkpoint.safetensors")[1]
    assert state["roll_backs"] == 1 and state["stream"] == 1 and state["lr_factor"] == 0.5
    steps = [step_of(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_a_batch_too_large_for_the_memory_names_one_that_fits(labelled, tmp_path, monkeypatch):
    def fake_step(training):
        def step(precision):
            if training.settings.batch > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")

        return step

    def advance(self, *, measure=False):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Adversarial, "trial_step", fake_step)
    monkeypatch.setattr(Trainer, "advance", advance)
    training = make_training(labelled.view("forge"), tmp_path / "work", "gan")
    with pytest.raises(BenchError, match=r"too small for batch 16 of gan at 16 px; batch 4 fits .*training.batch=4"):
        train(training, tmp_path, silent)


def test_a_smaller_batch_is_tried_without_the_activations_of_the_failed_step(labelled, tmp_path, monkeypatch):
    held = []

    def advance(self, *, measure=False):
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    alive = []
    monkeypatch.setattr(
        Adversarial, "trial_step", lambda training: lambda precision: alive.append(held and held[0]() is not None)
    )
    monkeypatch.setattr(Trainer, "advance", advance)
    with pytest.raises(BenchError, match="batch 8 fits"):
        train(make_training(labelled.view("forge"), tmp_path / "work", "gan"), tmp_path, silent)
    assert alive[-1] is False


@pytest.mark.parametrize("mixing", [0.0, 0.9])
def test_the_mean_style_moves_once_a_batch_with_style_mixing_too(mixing):
    torch.manual_seed(0)
    network = stylegan_lite.StyleGANLite(stylegan_lite.StyleGANSettings(mixing=mixing), 16).generator()
    latents = torch.randn(8, 128)[:, : network.mapping.layers[0].weight.shape[1]]
    expected = 0.005 * network.mapping.eval()(latents, None).mean(0)  # the mean begins at 0
    network.train()(latents)
    torch.testing.assert_close(network.mapping.average, expected)


def test_samples_of_a_fraction_of_a_thousand_images_have_names_of_their_own(labelled, tmp_path):
    training = make_training(labelled.view("forge"), tmp_path / "work", "gan", kimg=0.064, sample_every_kimg=0.016)
    out = tmp_path / "out"
    out.mkdir()
    train(training, out, silent)
    grids = sorted(file.name for file in (out / "samples").glob("*k.png"))
    assert grids == ["000000.016k.png", "000000.032k.png", "000000.048k.png", "000000.064k.png"]


def test_steps_of_both_players_count_real_images_once(labelled, tmp_path):
    playing = Trainer(make_training(labelled.view("forge"), tmp_path / "w", "gan", d_steps=3, g_steps=2), "fp32")
    shown = []
    take = playing.batches.take
    playing.batches.take = lambda number: shown.append(take(number)) or shown[-1]
    playing.advance()
    playing.advance()
    assert len(shown) == 6 and playing.kimg == pytest.approx(0.096)
    flat = {tuple(image.flatten().tolist()) for images, _ in shown for image in images}
    mirrored = {tuple(image.flip(2).flatten().tolist()) for images, _ in shown for image in images}
    assert len(flat) == 96 and not (flat & mirrored)  # 6 batches of 16: every image of the set once


def test_the_generator_sees_only_images_it_may_train_on(labelled, tmp_path):
    training = make_training(labelled.view("forge"), tmp_path / "w", "cgan", ("level",))
    assert task.hold_out(training) is training  # a twentieth of 96 is too few to hold out
    whole = replace(
        training, view=FaceView(labelled, np.arange(96).repeat(4)), codes=np.arange(384, dtype=np.int64)[:, None]
    )
    watched = task.hold_out(whole)
    assert len(watched.held_out) == 19 and len(watched.view) == len(watched.codes) == 365
    assert (watched.codes[:, 0] // 4 == watched.view.index).all()  # labels stay with their images


def test_a_generator_of_another_architecture_is_refused(labelled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    train(make_training(labelled.view("forge"), tmp_path / "work", "gan", kimg=0.05), out, silent)
    with pytest.raises(InputError, match="was trained with another architecture than DCGAN: its settings do not fit"):
        TrainedGenerator.open(out, implementation=GENERATORS.load("dcgan"))


def test_a_newer_checkpoint_is_refused(labelled, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    header = '{"schema_version": 99, "state": {}}'
    save_file({"x": torch.zeros(1)}, work / "checkpoint.safetensors", metadata={"checkpoint": header})
    with pytest.raises(InputError, match="has schema 99, this version reads up to 1; upgrade"):
        train(make_training(labelled.view("forge"), work, "gan"), tmp_path, silent)


def test_tracking_writes_tensorboard_events(labelled, tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out, events = tmp_path / "out", tmp_path / "events"
    out.mkdir()
    training = replace(make_training(labelled.view("forge"), tmp_path / "work", "gan"), track=events)
    train(training, out, silent)
    recorded = accumulator.EventAccumulator(str(events))
    recorded.Reload()
    losses = recorded.Scalars("d_loss")
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [event.step for event in losses] == [round(1000 * line["kimg"]) for line in logged]
    assert [event.value for event in losses] == pytest.approx([line["d_loss"] for line in logged])
    assert {"health/distance", "health/diversity"} <= set(recorded.Tags()["scalars"]) and recorded.Tags()["images"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="--track needs the package tensorboard: pip install tensorboard"):
        train(replace(training, work=tmp_path / "other"), out, silent)


def test_a_roll_back_before_anything_was_healthy_starts_over_and_still_ends(labelled, tmp_path, monkeypatch):
    health = {"policy": "roll-back", "roll_backs": 2}
    training = make_training(labelled.view("forge"), tmp_path / "work", "gan", health=health, health_every_kimg=0.16)
    real, seen = monitoring.decide, []

    def failing_at_once(health_seen, settings, roll_backs):
        seen.append(round(health_seen.kimg, 2))
        if not roll_backs:
            health_seen = type(health_seen)(health_seen.kimg, "diverged", "made up", health_seen.readings)
        return real(health_seen, settings, roll_backs)

    monkeypatch.setattr(monitoring, "decide", failing_at_once)
    out = tmp_path / "out"
    out.mkdir()
    train(training, out, silent)
    assert seen == [0.16, 0.16, 0.32, 0.48, 0.64]
    card = TrainedGenerator.open(out).card
    assert card.kimg == pytest.approx(0.64)
    steps = [step_of(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(5, 45, 5))


def test_only_a_tick_without_any_sign_is_worth_returning_to():
    settings = HealthSettings(warming_steps=0, patience=3)
    diagnosis = Diagnosis(settings)
    good = {"d_accuracy": 0.7, "distance": 2.0, "diversity": 1.0, "coverage": 1.0, "bins_filled": 1.0}
    assert diagnosis.name(good | {"near_duplicates": 0.0}, step=1, kimg=1).state == "healthy" and diagnosis.clear
    suspect = diagnosis.name(good | {"near_duplicates": 0.9}, step=2, kimg=2)
    assert suspect.state == "healthy" and not diagnosis.clear


@pytest.mark.parametrize("spectral", [False, True])
def test_a_discriminator_with_spectral_norm_still_sees_the_image(spectral):
    torch.manual_seed(0)
    network = build("stylegan-lite", 64, spectral=spectral, channels_base=512, channels_max=32).discriminator()
    for _ in range(20):  # the power iteration settles
        network(torch.randn(8, 3, 64, 64))
    assert network.eval()(torch.randn(8, 3, 64, 64)).std() > 1e-4


def test_the_boundary_between_real_and_forged_is_the_objective_s():
    assert OBJECTIVES["least-squares"].boundary == 0.5 and OBJECTIVES["hinge"].boundary == 0
    real, forged = torch.tensor([0.9, 0.8]), torch.tensor([0.2, 0.6])
    shares = {}
    for name in ("least-squares", "non-saturating", "relativistic"):
        playing = Adversarial.__new__(Adversarial)
        playing.objective = OBJECTIVES[name]
        shares[name] = float(playing._accuracy(real, forged))
    assert shares == {"least-squares": 0.75, "non-saturating": 0.5, "relativistic": 1.0}


def test_adaptive_augmentation_needs_something_to_adapt_and_starts_at_zero():
    with pytest.raises(ValueError, match="augment_target adapts nothing"):
        TrainingSettings(augment_target=0.6)
    with pytest.raises(ValueError, match="objective wasserstein does not give"):
        TrainingSettings(augment_target=0.6, augment=("colour",), objective="wasserstein")
    assert TrainingSettings(augment_target=0.6, augment=("colour",)).first_probability == 0
    assert TrainingSettings(augment=("colour",)).first_probability == 1
