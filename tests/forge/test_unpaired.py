"""Translation without pairs: the residual generator, PatchNCE, cycles and their pool, resume, forgeries, the truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from stopping import Stopped, stop_after
from test_domains import labelled, unpaired_training
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from forge.core.checkpoint import load_checkpoint
from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.halves import halve
from forge.faces.tensors import shifted, to_float
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.generators.blocks.layers import Downsample, InstanceNorm, _Normalise
from forge.generators.blocks.resnet import ResNetGenerator
from forge.generators.dcgan import DCGAN
from forge.generators.translate import retranslate, translate, translate_set
from forge.generators.translation.cyclegan import TwoWayNetwork, cycle_errors
from forge.generators.translation.pictures import sheet_of
from forge.quality.sets import Ask, translations_of
from forge.training.callbacks import checkpoint as saving
from forge.training.steps.contrastive import Contrastive, PatchHeads, mirrored, patch_nce
from forge.training.steps.cycle import Cycle, ImagePool
from forge.training.task import Training
from forge.training.train import train
from forge.training.trainer import Trainer

NAMES = ("fastcut", "cyclegan")
SMALL = {"generator_width": 4, "blocks": 3, "discriminator_width": 4}


def made(name: str, resolution: int = 32):
    kind = GENERATORS.load(name)
    return kind(kind.Settings(**SMALL), resolution)


def faces_of(count: int, resolution: int = 32):
    return torch.rand(count, 3, resolution, resolution) * 2 - 1


# --- networks


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("resolution", [16, 64, 256])
def test_networks_fit_the_resolution(name, resolution):
    architecture, images = made(name, resolution), faces_of(2, resolution)
    with torch.no_grad():
        forged = architecture.generator()(images)
        logits = architecture.discriminator()(images)
    assert forged.shape == images.shape and forged.abs().max() <= 1 and logits.shape[0] == 2 and logits.ndim == 2


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_the_same_whatever_stands_beside_it_and_in_every_call(name):
    network, images = made(name).generator(), faces_of(5)  # in training mode, too: there is no dropout
    with torch.no_grad():
        together, again = network(images), network(images)
        alone = torch.cat([network(image) for image in images.split(1)])
    assert torch.equal(together, again) and torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_and_relu_in_one_pass_are_those_of_torch(rectify, memory_format):
    images = (torch.randn(3, 6, 8, 10) * 4 + 1).to(memory_format=memory_format).requires_grad_()
    weights = torch.randn(3, 6, 8, 10)
    reference = nn.InstanceNorm2d(6)(images)
    for result, expected in ((InstanceNorm(rectify=rectify)(images), reference.relu() if rectify else reference),):
        assert torch.allclose(result, expected, atol=1e-5)
        gradients = [torch.autograd.grad((output * weights).sum(), images)[0] for output in (result, expected)]
        assert torch.allclose(*gradients, atol=1e-5)
    exact = (torch.randn(2, 3, 4, 4, dtype=torch.float64) * 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: _Normalise.apply(rows.flatten(2).transpose(1, 2), rectify), exact)


@pytest.mark.parametrize("antialias", [True, False])
def test_halves_and_whole_agree_and_features_are_what_is_declared(antialias):
    network = ResNetGenerator(4, 3, "instance", antialias=antialias, upsample="bilinear")
    images = faces_of(2, 16)
    features = network.features(images)
    assert [tuple(level.shape[1:]) for level in features] == [(3, 16, 16), (8, 8, 8), (16, 4, 4), (16, 4, 4)]
    assert network.feature_channels == tuple(level.shape[1] for level in features)
    assert torch.equal(network.decode(features[-1]), network(images))
    (gradient,) = torch.autograd.grad(features[-1].sum(), list(network.blocks)[2].parameters(), allow_unused=True)[:1]
    assert gradient is None  # the third of three blocks is behind the middle


def test_filtered_halving_keeps_a_plain_image_plain_up_to_its_rim():
    plain = torch.full((1, 3, 8, 8), 0.7)
    assert torch.allclose(Downsample(3, reflect=True)(plain), torch.full((1, 3, 4, 4), 0.7))
    assert Downsample(3)(plain)[0, 0, 0, 0] < 0.7  # zeros outside darken it
    images = torch.randn(2, 3, 8, 8)
    inside = Downsample(3)(images)[..., 1:-1, 1:-1]
    assert torch.allclose(Downsample(3, reflect=True)(images)[..., 1:-1, 1:-1], inside, atol=1e-6)


def test_shifted_images_are_mirrored_at_their_edges():
    line = torch.arange(5.0).reshape(1, 1, 1, 5).expand(3, 1, 4, 5)
    moved = shifted(line, torch.tensor([0, 0, 3]), torch.tensor([2, -1, 0]))
    assert moved[0, 0, 0].tolist() == [2, 1, 0, 1, 2] and moved[1, 0, 0].tolist() == [1, 2, 3, 4, 3]
    assert torch.equal(moved[2], line[2])
    tall = torch.arange(4.0).reshape(1, 1, 4, 1).expand(1, 1, 4, 5)
    assert shifted(tall, torch.tensor([3]), torch.tensor([0]))[0, 0, :, 0].tolist() == [3, 2, 1, 0]


# --- PatchNCE


def test_patch_nce_is_the_published_formula():
    queries, keys = (normalize(torch.randn(2, 5, 7, dtype=torch.float64), dim=2) for _ in range(2))
    expected = []
    for image in range(2):
        for site in range(5):  # the positive first, then the other sites of the same image
            others = [other for other in range(5) if other != site]
            cosines = [queries[image, site] @ keys[image, other] for other in (site, *others)]
            expected.append(cross_entropy(torch.stack(cosines)[None] / 0.07, torch.tensor([0])))
    assert torch.allclose(patch_nce(queries, keys, 0.07), torch.stack(expected).mean())


def test_patch_nce_of_what_cannot_be_told_apart_is_the_logarithm_of_the_sites():
    same = normalize(torch.ones(3, 16, 8), dim=2)
    assert float(patch_nce(same, same, 0.07)) == pytest.approx(math.log(16))
    own = torch.eye(16)[None].expand(3, -1, -1)
    assert float(patch_nce(own, own, 0.07)) < 1e-4


def test_keys_get_no_gradient_and_other_images_are_no_negatives():
    queries = normalize(torch.randn(2, 4, 6), dim=2).requires_grad_()
    keys = normalize(torch.randn(2, 4, 6), dim=2).requires_grad_()
    patch_nce(queries, keys, 0.07).backward()
    assert keys.grad is None and queries.grad is not None
    changed = keys.detach().clone()
    changed[1] = 0
    assert torch.equal(
        torch.autograd.grad(patch_nce(queries[:1], keys[:1], 0.07), queries)[0][0],
        2 * torch.autograd.grad(patch_nce(queries, changed, 0.07), queries)[0][0],
    )


def test_mirrored_sites_are_those_of_the_mirrored_features():
    features, sites = torch.randn(2, 3, 4, 6), torch.randperm(24)[:9]
    heads = PatchHeads([3], 64)  # so wide that no position finds all its rectifiers shut
    flipped_features = heads([features.flip(3)], [mirrored(sites, 6)])[0]
    assert torch.equal(flipped_features, heads([features], [sites])[0])
    assert flipped_features.shape == (2, 9, 64)
    assert torch.allclose(flipped_features.norm(dim=2), torch.ones(2, 9), atol=1e-5)


def test_heads_are_there_before_the_first_step_and_read_a_ratio_to_guessing(tmp_path):
    faces = labelled(tmp_path / "a", {"a": 40, "b": 40})
    trainer = Trainer(unpaired_training(faces, tmp_path), "fp32")
    before = {name: parameter.clone() for name, parameter in trainer.method.networks()["heads"].named_parameters()}
    assert "heads.levels.0.0.weight" in trainer.pack()
    trainer.advance(measure=True)
    trainer.fetch()
    after = dict(trainer.method.networks()["heads"].named_parameters())
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert trainer.values["nce_ratio"] == pytest.approx(
        trainer.values["nce_loss"] * 4 / (3 * math.log(8) + math.log(8)), rel=1e-5
    )
    assert trainer.values["nce_ratio"] > 0.5  # nothing is learned yet


def test_the_mirrored_step_is_the_plain_one_for_a_network_that_is_mirror_symmetric(tmp_path):
    """Flip equivariance compares a face with the mirrored forgery of its mirror image, place by place."""
    faces = labelled(tmp_path / "a", {"a": 40, "b": 40})
    method = Trainer(unpaired_training(faces, tmp_path, network={"antialias": True}), "fp32").method
    with torch.no_grad():
        for parameter in method.generator.parameters():
            if parameter.ndim == 4:
                parameter.copy_((parameter + parameter.flip(3)) / 2)
        images = faces_of(4, 16)
        sites = [torch.randperm(count)[:8] for count in method._site_counts(images)]
        plain_features = method.body.features(images)
        plain = method._nce(images, method.generator(images), plain_features, sites)
        turned = method._nce(images, method.generator(images.flip(3)), None, sites)
    assert float(plain) == pytest.approx(float(turned), rel=1e-4)


# --- cycles


def test_the_pool_fills_first_and_then_gives_back_half():
    torch.manual_seed(0)
    pool = ImagePool(50, (1, 2, 2), torch.device("cpu"))
    numbers = torch.arange(0, 1050.0).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    assert torch.equal(pool.exchange(numbers[:50]), numbers[:50]) and int(pool.filled) == 50
    given = torch.cat([pool.exchange(numbers[i : i + 10]) for i in range(50, 1050, 10)])[:, 0, 0, 0]
    new = given == numbers[50:, 0, 0, 0]
    assert 0.45 < float(new.float().mean()) < 0.55 and float((given < numbers[50:, 0, 0, 0]).float().mean()) > 0.45
    # what was not given yet is still there: no image is lost and none comes twice
    everything = torch.cat([given, pool.images[:, 0, 0, 0]])
    assert sorted(everything.tolist()) == sorted([*range(50), *range(50, 1050)])
    assert torch.equal(ImagePool(0, (1, 2, 2), torch.device("cpu")).exchange(numbers), numbers)


def test_both_directions_and_the_identity_are_in_the_loss(tmp_path):
    faces = labelled(tmp_path / "a", {"a": 40, "b": 40})
    trainer = Trainer(unpaired_training(faces, tmp_path, "cyclegan"), "fp32")
    before = [parameter.clone() for parameter in trainer.method.generator.parameters()]
    trainer.advance(measure=True)
    trainer.fetch()
    values = trainer.values
    assert values["g_loss"] == pytest.approx(
        values["gan_loss"] + 10 * values["cycle_loss"] + 5 * values["identity_loss"], rel=1e-5
    )
    assert {"d_loss", "d_source_loss", "d_accuracy", "d_source_accuracy"} <= set(values)
    assert all((a != b).any() for a, b in zip(before, trainer.method.generator.parameters(), strict=True) if b.ndim > 1)
    without = Trainer(unpaired_training(faces, tmp_path, "cyclegan", identity_weight=0), "fp32")
    without.advance()
    without.fetch()
    assert "identity_loss" not in without.values


class _Hiding(nn.Module):
    """Keeps a tenth of a face's contrast in a checkerboard that bytes keep and JPEG does not."""

    def forward(self, images):
        return 0.1 * images * self.board(images)

    def board(self, images):
        board = torch.ones(images.shape[2:])
        board[::2, 1::2] = board[1::2, ::2] = -1
        return board


class _Finding(_Hiding):
    def forward(self, images):
        coarse = torch.nn.functional.avg_pool2d(images * self.board(images), 2)
        return 10 * coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_what_a_forgery_hides_of_its_face_shows_as_an_error_after_jpeg():
    coarse = (faces_of(2, 8) * 0.9).repeat_interleave(4, 2).repeat_interleave(4, 3)
    plain, coded, saved = cycle_errors(TwoWayNetwork(_Hiding(), _Finding()), coarse)
    assert plain < 0.05 < 0.2 < coded and coded > 4 * saved
    honest = cycle_errors(TwoWayNetwork(nn.Identity(), nn.Identity()), coarse)
    assert honest[0] < 0.005 and honest[1] < 0.2 and honest[1] == pytest.approx(honest[2], abs=0.005)


# --- training


@pytest.mark.e2e
@pytest.mark.parametrize("name", NAMES)
def test_a_translator_is_continued_to_the_same_bytes_and_remakes_its_forgeries(name, tmp_path, monkeypatch):
    splits = ("forge", "train", "test")
    real = labelled(tmp_path / "faces", {"a": 80, "b": 60}, extra=splits, other=[("c", 10)])
    requested = {"gender": ["a", "b"]}
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for out in (straight, resumed):
        out.mkdir()
    options = {"domains": requested, "kimg": 0.48, "sample_every_kimg": 0.15, "health_every_kimg": 0.24}
    options |= {"pool": 30} if name == "cyclegan" else {}
    train(unpaired_training(real, tmp_path / "x", name, **options), straight, silent)
    monkeypatch.setattr(saving, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(unpaired_training(real, tmp_path / "y", name, **options), resumed, stop_after(200))
    tensors, state = load_checkpoint(tmp_path / "y" / "checkpoint.safetensors")
    assert 0 < state["step"] < 30 and state["identity"]["domains"] == {"gender": ["a", "b"]}
    if name == "cyclegan":
        assert int(tensors["pool0.filled"]) == 30 and tensors["pool1.images"].abs().sum() > 0
    train(unpaired_training(real, tmp_path / "y", name, **options), resumed, silent)
    for file in ("weights.safetensors", "generator.json", "samples/newest.png", "health.json"):
        assert (straight / file).read_bytes() == (resumed / file).read_bytes(), file
    ticks = json.loads((straight / "health.json").read_text())
    read = {"fastcut": "nce_ratio", "cyclegan": "cycle_error_jpeg"}[name]
    common = {"d_accuracy", "change", "domain_moved", "luminance_correlation", "outputs_diversity"}
    assert all({read, *common} <= tick["readings"].keys() for tick in ticks)

    trained = TrainedGenerator.open(straight)
    assert trained.family == "translation" and trained.domains.to_json() == requested
    halved = halve(real, tmp_path / "halved", silent)
    counts = {"train": 10, "test": 110}
    made_set = translate_set(trained, halved, tmp_path / "set", counts=counts, seed=5, on_progress=silent)
    assert made_set.card.splits == counts and not made_set.verify()
    sources = halved.view("test-source").rows
    sources = sources[sources["gender"] == "a"]["id"]
    rows = made_set.view("test").rows
    assert set(rows["made_from"]) == set(sources) and not set(sources) & set(halved.view("test").rows["id"])
    assert set(rows["gender"]) == {"b"} and set(rows["same"]) == {"x"} and rows["copy"].max() >= 1
    for position in (0, 9, 10, 73, 119):  # in both splits and both blocks, first copies and later ones
        assert (retranslate(trained, made_set, halved, position) == made_set.read([position])[0]).all()
    pairs = translations_of(made_set, halved, Ask(), trained.architecture)
    assert not pairs.restores and pairs.inherited == {"same"}  # the column of the domains is moved
    # beside the faces as they were taken, mirrored and moved where they were taken again
    entered = translate(trained.generator(), trained.architecture, pairs.sources, [0] * 120)[0]
    assert np.abs(entered.astype(int) - pairs.forged).max() <= 1
    pixels = [image.tobytes() for image in made_set.view("test").read()]
    assert len(set(pixels)) == 110  # a face that is taken again is another input, as one input gives one output
    first = halved.read([list(halved.table["id"]).index(made_set.table["made_from"].iloc[0])])
    again = translate(trained.generator(), trained.architecture, first, [123])[0][0]
    assert np.abs(again.astype(int) - made_set.read([0])[0]).max() <= 1  # the first copy is the face as it is
    assert sheet_of(trained, halved.view("test"), 0).size[0] > 8 * 16

    if name == "fastcut":
        with pytest.raises(InputError, match="mine translates in one direction only; cyclegan learns both"):
            trained.backward()
        return
    backward = trained.backward()
    back_set = translate_set(backward, halved, tmp_path / "back", counts={"test": 5}, seed=5, on_progress=silent)
    assert set(back_set.table["gender"]) == {"a"}
    assert all("-b-" in face for face in back_set.table["made_from"])
    # whichever direction is opened, the card of the set says which one made it
    assert (retranslate(trained, back_set, halved, 2) == back_set.read([2])[0]).all()
    network = trained.generator()
    assert torch.equal(
        backward.generator()(to_float(torch.from_numpy(first))), network.back(to_float(torch.from_numpy(first)))
    )


def test_other_domains_do_not_continue_a_checkpoint(tmp_path, monkeypatch):
    real = labelled(tmp_path / "faces", {"a": 40, "b": 40})
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(saving, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(unpaired_training(real, tmp_path / "w"), tmp_path / "out", stop_after(200))
    other = unpaired_training(real, tmp_path / "w", domains={"gender": ["b", "a"]})
    with pytest.raises(InputError, match=r"domains\.gender"):
        train(other, tmp_path / "out", silent)


def test_a_translation_without_the_column_or_a_source_is_refused(tmp_path, make_set):
    real = labelled(tmp_path / "faces", {"a": 40, "b": 40}, extra=("forge", "test"))
    (tmp_path / "out").mkdir()
    train(unpaired_training(real, tmp_path / "w", kimg=0.1), tmp_path / "out", silent)
    trained = TrainedGenerator.open(tmp_path / "out")
    with pytest.raises(InputError, match="label column 'gender' is not known"):
        translate_set(
            trained, make_set("b", {"test": 9}), tmp_path / "x", counts={"test": 1}, seed=0, on_progress=silent
        )
    only = labelled(tmp_path / "only", {"b": 40}, extra=("test",))
    with pytest.raises(InputError, match="split 'test' has no face with gender 'a' to translate"):
        translate_set(trained, only, tmp_path / "x", counts={"test": 1}, seed=0, on_progress=silent)


@pytest.mark.parametrize("method", [Contrastive, Cycle])
def test_methods_refuse_what_they_cannot_train(tmp_path, method):
    real = labelled(tmp_path / "faces", {"a": 40, "b": 40})
    right = unpaired_training(real, tmp_path, "fastcut" if method is Contrastive else "cyclegan")
    other = GENERATORS.load("cyclegan" if method is Contrastive else "fastcut")
    with pytest.raises(InputError, match="makes images from latents"):
        method.check(Training(**{**vars(right), "architecture": DCGAN(DCGAN.Settings(), 16)}))
    with pytest.raises(InputError, match="none are named"):
        method.check(Training(**{**vars(right), "domains": None}))
    wrong = Training(**{**vars(right), "architecture": other(other.Settings(**SMALL), 16)})
    with pytest.raises(InputError, match="return one"):
        Trainer(wrong, "fp32", method=method)


@pytest.mark.parametrize("name", NAMES)
def test_the_two_domains_are_mirrored_and_moved_apart_from_each_other(name, tmp_path):
    real = labelled(tmp_path / "faces", {"a": 40, "b": 40})
    method = Trainer(unpaired_training(real, tmp_path, name, shift=0.2), "fp32").method
    batch = type("Batch", (), {"pixels": torch.from_numpy(real.read([0]).repeat(8, 0)), "labels": None})
    first, second = method.varied(batch), method.varied(batch)
    assert len({image.numpy().tobytes() for image in first}) > 3 and not torch.equal(first, second)


@pytest.mark.e2e
# two games take twice as long
@pytest.mark.parametrize("name", ["fastcut", pytest.param("cyclegan", marks=pytest.mark.slow)])
def test_faces_of_one_colour_become_faces_of_another_and_stay_who_they_are(name, tmp_path):
    """Red faces to green ones, each with a pattern of its own: the truth is the same pattern in green."""
    real = labelled(tmp_path / "faces", {"red": 200, "green": 200}, resolution=16, extra=("forge", "test"))
    settings = {"kimg": 6, "batch": 16, "generator_lr": 1e-3, "discriminator_lr": 1e-3, "shift": 0}
    network = {"generator_width": 8, "discriminator_width": 16}
    training = unpaired_training(real, tmp_path / "w", name, {"gender": ["red", "green"]}, network, **settings)
    trainer = Trainer(training, "fp32")
    for _ in range(trainer.steps):
        trainer.advance()
    reds = training.domains.sources(real.view("test")).read()
    truth = reds.astype(float) + np.array([-120, 120, 0])
    network = trainer.settled().eval()
    forged = translate(network, training.architecture, reds, range(len(reds)))[0].astype(float)
    assert np.abs(forged - truth).mean() < np.abs(reds - truth).mean() / 3  # the attribute moved
    similarity = _patterns(forged) @ _patterns(truth).T
    assert np.diag(similarity).mean() > 0.4 > 0.1 > np.abs(similarity.mean())
    assert (similarity.argmax(1) == np.arange(len(reds))).mean() > 0.8  # each forgery is most like its own face


def _patterns(images):
    """Return images [N, H, W, 3] as vectors of length 1 without their mean colours."""
    vectors = (images - images.mean((1, 2), keepdims=True)).reshape(len(images), -1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
