"""Translators: conditions, what they keep exactly, training, forgeries from real faces."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_training_methods import Stopped, stop_after

from forge.core.checkpoint import load_checkpoint
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.halves import halve
from forge.faces.imaging.lab import into_gamut, lab_to_rgb, lightness, rgb_to_lab, with_lightness
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.generators.blocks.layers import normed
from forge.generators.dcgan import DCGAN
from forge.generators.sample import synthesize
from forge.generators.translate import retranslate, translate, translate_set
from forge.generators.translation.pix2pix import PatchDiscriminator, patch_layers
from forge.training.callbacks import checkpoint as saving
from forge.training.steps import method_of
from forge.training.steps.paired import Paired
from forge.training.task import Training
from forge.training.train import train
from forge.training.trainer import Trainer

TASKS = ("edges", "colour", "super-resolution", "inpainting")
NARROW = {"generator_width": 4, "discriminator_width": 4}


def made(task: str, resolution: int = 32, **settings):
    kind = GENERATORS.load(f"pix2pix:{task}")
    return kind(kind.Settings(**NARROW, **settings), resolution)


def photos(count: int = 3, resolution: int = 32, seed: int = 0):
    """Smooth random images: noise enlarged four times, with a gradient on it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, resolution // 4, resolution // 4, 3)).repeat(4, 1).repeat(4, 2)
    return np.clip(coarse * 0.8 + np.linspace(0, 50, resolution)[:, None], 0, 255).astype(np.uint8)


def forged(translator, images, network=None):
    conditions = translator.conditions(images, range(len(images)))
    with torch.no_grad():
        return translator.finish((network or translator.generator().eval())(conditions), conditions), conditions


@pytest.mark.parametrize(
    ("rgb", "lab"),  # published values of sRGB's corners under D65
    [
        ((1, 1, 1), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)), ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)  # fmt: skip
def test_lab_has_the_published_values_of_the_corners(rgb, lab):
    image = torch.tensor(rgb, dtype=torch.float64)[None, :, None, None]
    assert rgb_to_lab(image).flatten().tolist() == pytest.approx(lab, abs=0.01)


def test_lab_goes_there_and_back_with_finite_gradients():
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    images[0, :, 0] = 0
    images.requires_grad_()
    back = lab_to_rgb(rgb_to_lab(images))
    assert torch.allclose(back, images, atol=1e-12)
    (gradient,) = torch.autograd.grad(back.sum(), images)
    assert torch.allclose(gradient, torch.ones_like(gradient), atol=1e-4)


def test_colours_outside_srgb_keep_lightness_and_hue():
    lab = torch.tensor([50.0, 100.0, -90.0])[None, :, None, None]
    inside = into_gamut(lab)
    assert inside[0, 0] == 50 and torch.allclose(inside[0, 1] / inside[0, 2], torch.tensor(-100 / 90))
    assert 0 < inside[0, 1] < 100 and lab_to_rgb(inside).min() > -1e-3 and lab_to_rgb(inside).max() < 1 + 1e-3


def test_every_lightness_can_be_kept_to_the_byte():
    wanted = torch.arange(256, dtype=torch.uint8).repeat(64, 1)[None]
    lab = torch.cat([wanted[:, None] / 2.55, torch.rand(1, 2, 64, 256) * 160 - 80], 1)
    near = (lab_to_rgb(into_gamut(lab)).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert (lightness(near) != wanted).any()  # rounding to bytes alone moves some
    kept = with_lightness(near, wanted)
    assert (lightness(kept) == wanted).all() and (kept.int() - near.int()).abs().max() <= 3


@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_colour_keeps_lightness_to_the_byte_and_white_white(scale):
    translator, images = made("colour"), photos()
    images[0] = 255
    network = translator.generator().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
    result, _ = forged(translator, images, network)
    assert (lightness(result) == lightness(torch.from_numpy(images))).all()
    assert (result[0] == 255).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_super_resolution_made_small_again_is_its_input(factor):
    translator, images = made("super-resolution", factor=factor), photos()
    images[0], images[1, :8] = 255, 0
    network = translator.generator().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(20)  # details that are clipped at black and white
    result, conditions = forged(translator, images, network)
    small = ((conditions[:, :, ::factor, ::factor].double() + 1) * 127.5).round()
    averages = torch.nn.functional.avg_pool2d(result.permute(0, 3, 1, 2).double(), factor)
    assert (averages == small).all() and result[2].float().std() > 10


def test_without_degradation_the_small_photo_is_the_area_average():
    translator, images = made("super-resolution", degrade=False), photos()
    condition = translator.conditions(images, [0, 1, 2])[:, :, ::4, ::4]
    averages = torch.nn.functional.avg_pool2d(torch.from_numpy(images).permute(0, 3, 1, 2).float(), 4)
    assert ((condition + 1) * 127.5 - averages).abs().max() <= 0.5 + 1e-4


def test_inpainting_keeps_all_pixels_outside_the_hole():
    translator, images = made("inpainting"), photos()
    result, conditions = forged(translator, images)
    hole = translator.hole(conditions)[:, 0] > 0
    assert (result[~hole] == torch.from_numpy(images)[~hole]).all()
    assert (result[hole] != torch.from_numpy(images)[hole]).float().mean() > 0.5
    assert ((hole.float().mean((1, 2)) >= 0.05) & (hole.float().mean((1, 2)) <= 0.4)).all()
    changed = images.copy()
    changed[hole.numpy()] = 0  # what the hole hides must not show in the condition
    assert torch.equal(translator.conditions(changed, range(3)), conditions)


@pytest.mark.parametrize(("filled", "what"), [(True, "all of the image"), (False, "nothing")])
def test_a_mask_of_all_or_nothing_is_refused(filled, what):
    with pytest.raises(InputError, match=f"covers {what}"):
        made("inpainting").with_hole(photos()[0], np.full((32, 32), filled))


def test_lines_are_drawn_at_edges_in_styles_that_differ():
    translator = made("edges", 64)
    flat = np.full((64, 64, 3), 120, np.uint8)
    assert (translator.conditions(flat[None], [0]) == 1).all()
    step = flat.copy()
    step[:, 32:] = 30
    first, second = translator.conditions(np.stack([step, step]), [1, 2])
    assert first.min() < 0 and not torch.equal(first, second)
    assert min(first[:, :, :24].min(), second[:, :, :24].min()) > 0.9


@pytest.mark.parametrize("norm", ["instance", "group", "none"])
def test_norms_take_one_image_at_a_time_and_instance_norm_alone_forgets_the_strength_of_a_channel(norm):
    images = torch.randn(2, 16, 6, 6)
    layer = normed(norm)
    assert torch.allclose(layer(images), torch.cat([layer(image) for image in images.split(1)]), atol=1e-6)
    louder = images * torch.linspace(1, 3, 16)[:, None, None]
    same = torch.allclose(layer(louder), layer(images), atol=1e-3)
    assert same == (norm == "instance")


@pytest.mark.parametrize("task", TASKS)
def test_an_image_is_the_same_whatever_stands_beside_it(task):
    translator, images = made(task), photos(5)
    network = translator.generator().eval()
    together, _ = forged(translator, images, network)
    alone = torch.cat([
        translator.finish(network(c), c) for c in translator.conditions(images, range(5)).split(1)
    ])  # fmt: skip
    assert (together.int() - alone.int()).abs().max() <= 1 and (together == alone).float().mean() > 0.999


def test_the_patch_of_the_discriminator_is_the_published_one():
    sizes = {}
    for layers in (1, 2, 3):
        images = torch.zeros(1, 3, 128, 128, requires_grad=True)
        logits = PatchDiscriminator(3, 4, layers, "none")(images)
        middle = logits.shape[1] // 2 + int(logits.shape[1] ** 0.5) // 2
        (seen,) = torch.autograd.grad(logits[0, middle], images)
        sizes[layers] = int((seen[0].abs().sum((0, 1)) > 0).sum())
    assert sizes == {1: 16, 2: 34, 3: 70}  # Isola et al. 2017, appendix 6.1.2, and its implementation
    assert [patch_layers(side) for side in (16, 32, 64, 128, 256)] == [1, 1, 2, 3, 3]


def training(view, work, task="edges", resolution=16, **settings):
    translator = made(task, resolution)
    chosen = {"kimg": 0.96, "batch": 16, "log_every": 3, "sample_every_kimg": 0.3, "ema_kimg": 0.1}
    chosen |= {"health_every_kimg": 0.2} | settings  # seldom: a look takes longer than many steps
    return Training(
        name="mine", reference=f"pix2pix:{task}", architecture=translator,
        settings=method_of(translator).Settings(**chosen), view=view, seed=1, compute=Compute("cpu", "fp32"), work=work,
    )  # fmt: skip


@pytest.mark.e2e
def test_a_translator_trains_is_continued_to_the_same_bytes_and_remakes_its_forgeries(make_set, tmp_path, monkeypatch):
    real = make_set("faces", {"forge": 100, "train": 40, "test": 150})
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for out in (straight, resumed):
        out.mkdir()
    train(training(real.view("forge"), tmp_path / "a", "inpainting"), straight, silent)
    monkeypatch.setattr(saving, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(training(real.view("forge"), tmp_path / "b", "inpainting"), resumed, stop_after(400))
    assert 0 < load_checkpoint(tmp_path / "b" / "checkpoint.safetensors")[1]["step"] < 60
    train(training(real.view("forge"), tmp_path / "b", "inpainting"), resumed, silent)
    for name in ("weights.safetensors", "generator.json", "samples/newest.png", "health.json"):
        assert (straight / name).read_bytes() == (resumed / name).read_bytes(), name
    losses = [json.loads(line) for line in (straight / "log.jsonl").read_text().splitlines()]
    assert losses[-1]["l1"] < losses[0]["l1"]

    trained = TrainedGenerator.open(straight)
    assert trained.family == "translation"
    halved = halve(real, tmp_path / "halved", silent)
    faces = translate_set(
        trained, halved, tmp_path / "set", counts={"train": 10, "test": 100}, seed=5, on_progress=silent
    )
    assert faces.card.splits == {"test": 100, "train": 10} and not faces.verify()
    sources = halved.view("test-source").rows["id"]
    made_from = faces.view("test").rows["made_from"]
    assert set(made_from) == set(sources) and not set(made_from) & set(halved.view("test").rows["id"])
    for position in (0, 9, 10, 73, 109):  # in both splits, in both blocks
        assert (retranslate(trained, faces, halved, position) == faces.read([position])[0]).all()
    at = {key: number for number, key in enumerate(halved.table["id"])}
    originals = halved.read([at[key] for key in faces.table["made_from"]])
    outside = faces.read_masks(range(110)) == 0
    assert (faces.read(range(110))[outside] == originals[outside]).all() and 0.5 < outside.mean() < 0.95

    with pytest.raises(InputError, match="not from latents"):
        synthesize(trained, tmp_path / "none", counts={"test": 1}, seed=0, on_progress=silent)
    with pytest.raises(InputError, match="was made from other faces than those in"):
        retranslate(trained, faces, real, 0)
    with pytest.raises(InputError, match="translations are made from real ones"):
        translate_set(trained, faces, tmp_path / "none", counts={"test": 1}, seed=0, on_progress=silent)
    with pytest.raises(InputError, match="faces of 24 x 24 px; the translator was trained at 16 px"):
        translate(trained.generator(), trained.architecture, photos(1, 24), [0])
    larger = make_set("larger", {"test": 4}, resolution=32)
    with pytest.raises(InputError, match="has 32 px, the translator was trained at 16"):
        translate_set(trained, larger, tmp_path / "none", counts={"test": 1}, seed=0, on_progress=silent)


@pytest.mark.parametrize("settings", [{"l1_weight": 0}, {"gan_weight": 0}])
def test_either_loss_trains_alone(make_set, tmp_path, settings):
    trainer = Trainer(training(make_set("faces", {"forge": 64}).view("forge"), tmp_path, "colour", **settings), "fp32")
    before = [parameter.clone() for parameter in trainer.method.generator.parameters()]
    trainer.advance(measure=True)
    trainer.fetch()
    assert any((a != b).any() for a, b in zip(before, trainer.method.generator.parameters(), strict=True))
    assert ("d_loss" in trainer.values) == ("gan_weight" not in settings)


def test_nothing_that_trains_is_refused(make_set, tmp_path):
    task = training(make_set("faces", {"forge": 64}).view("forge"), tmp_path, l1_weight=0, gan_weight=0)
    with pytest.raises(InputError, match="l1_weight and gan_weight are both 0"):
        Paired.check(task)


def test_input_and_target_are_mirrored_together(make_set, tmp_path, monkeypatch):
    view = make_set("faces", {"forge": 64}).view("forge")
    trainer = Trainer(training(view, tmp_path, "super-resolution"), "fp32")
    seen = []
    translator = trainer.method.translator
    conditions = type(translator).conditions

    def recorded(self, images, seeds):
        seen.append(images)
        return conditions(self, images, seeds)

    monkeypatch.setattr(type(translator), "conditions", recorded)
    targets = []
    monkeypatch.setattr(type(translator), "target", lambda self, images: targets.append(images) or images)
    trainer.advance()
    shown = torch.from_numpy(seen[0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert torch.allclose(shown, targets[0], atol=1e-6)
    plain = {image.tobytes() for image in view.read()}
    mirrored = {np.ascontiguousarray(image[:, ::-1]).tobytes() for image in view.read()}
    assert {image.tobytes() in plain for image in seen[0]} == {True, False}
    assert all(image.tobytes() in plain | mirrored for image in seen[0])


def test_learning_rates_fall_to_zero_in_the_last_half(make_set, tmp_path):
    trainer = Trainer(training(make_set("faces", {"forge": 64}).view("forge"), tmp_path, kimg=0.16), "fp32")
    rates = []
    for _ in range(trainer.steps):
        trainer.advance()
        rates.append(trainer.method.generator_optimizer.param_groups[0]["lr"] / 2e-4)
    assert rates == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    trainer.divert(1, 0.5)
    trainer.step = 8
    trainer.advance()
    assert trainer.method.generator_optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * 0.4 * 2e-4)


def test_paired_training_refuses_what_is_no_translator(make_set, tmp_path):
    wrong = training(make_set("faces", {"forge": 64}).view("forge"), tmp_path)
    wrong = Training(**{**vars(wrong), "architecture": DCGAN(DCGAN.Settings(), 16)})
    with pytest.raises(InputError, match="makes images from latents; paired training needs a translator"):
        Paired.check(wrong)
