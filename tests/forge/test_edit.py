"""Edits in latent space: spaces, inversion, directions, and the control that does all but the move."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from forge.core.errors import InputError, UnknownNameError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.imaging.jpeg import coded
from forge.faces.tensors import to_uint8
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.generators import latent_space as latent_space_module
from forge.generators.artifact import TrainedGenerator, settle_batch_norm, write_generator
from forge.generators.latent_space import latent_space
from forge.tampering import directions, inversion
from forge.tampering import edit as edit_module
from forge.tampering.base import TamperBatch
from forge.tampering.directions import Known, from_components, from_labels, from_weights
from forge.tampering.edit import Inversion, LatentEdit
from forge.tampering.encoder import FILE, TrainedEncoder, write_encoder
from forge.tampering.inversion import Encoder, EncoderSettings, InversionSettings, distances, invert, train_encoder
from forge.tampering.tamper import tamper_set

SIDE = 32
NETWORKS = {
    "dcgan": {"latent": 8, "generator_width": 4, "discriminator_width": 4},
    "stylegan-lite": {"latent": 8, "style": 8, "channels_base": 64, "channels_min": 4, "channels_max": 8},
}
TINY = EncoderSettings(kimg=0.08, batch=8, widths=(4, 8, 8))
GENDERS = ("Female", "Male")


def written(folder: Path, name: str, *, seed: int = 0, **settings) -> TrainedGenerator:
    """Write a generator with random weights, whose images differ as those of a trained one do."""
    kind = GENERATORS.load(name)
    network = NETWORKS.get(name, {}) | settings
    architecture = kind(kind.Settings(**network), SIDE, *(((2,),) if name == "cgan" else ()))
    torch.manual_seed(seed)
    generator = architecture.generator()
    if name == "dcgan":
        generator.entry.weight.data.mul_(20)  # fresh weights give grey images: there is nothing to invert
        generator.ups[-1].weight.data.mul_(20)
        settle_batch_norm(generator, lambda count: (torch.randn(count, 8),), torch.device("cpu"))
    folder.mkdir(parents=True)
    card = {
        "name": name, "architecture": name, "settings": network, "resolution": SIDE, "seed": 0, "kimg": 1,
        "training": {}, "data": {}, "precision": "fp32", "parameters": {},
        "condition": {"values": {"gender": GENDERS}, "shares": {"gender": [0.5, 0.5]}} if name == "cgan" else None,
    }  # fmt: skip
    write_generator(folder, raw=architecture.generator(), averaged=generator, card=card)
    return TrainedGenerator.open(folder)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Blocks and draws of sizes that tests need."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (inversion, edit_module):
            patch.setattr(module, "BLOCK", 4)
        patch.setattr(directions, "_DRAWN", 200)
        patch.setattr(latent_space_module, "SAMPLES", 1000)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, TrainedGenerator]:
    return {name: written(tmp_path_factory.mktemp("generators") / name, name) for name in NETWORKS}


@pytest.fixture(scope="module")
def photos(trained, tmp_path_factory) -> FaceSet:
    """Write 64 labelled photos; those of one label are images of the generator, brighter than those of the other."""
    space = latent_space(trained["dcgan"])
    with torch.no_grad():
        images = to_uint8(space.decode(space.draw(64, torch.Generator().manual_seed(1)))).numpy() // 2 + 30
    images[1::2] += 60
    folder = tmp_path_factory.mktemp("photos") / "real"
    types = {"gender": "string", "name": "string"}
    with FaceSetWriter(folder, "real", "real", SIDE, "CC0", {}, types) as writer:
        rows = [
            {"id": f"i{n}", "split": "forge" if n < 48 else "test", "gender": GENDERS[n % 2], "name": "one"}
            for n in range(64)
        ]
        writer.append(images, rows)
    return FaceSet.open(folder)


@pytest.fixture(scope="module")
def encoders(trained, photos, tmp_path_factory) -> dict[str, Path]:
    folders = {}
    for name, generator in trained.items():
        folders[name] = tmp_path_factory.mktemp("encoder")
        write_encoder(generator, photos.view("forge"), TINY, folders[name], seed=0, on_progress=silent)
    return folders


def method(kind, trained, encoders, name="dcgan", **settings):
    made = kind(kind.Settings.model_validate({"inversion": {"steps": 4}, "landmarks": "average"} | settings))
    return made.fitted(encoders[name], trained[name])


def batch(photos: FaceSet, count: int = 6) -> TamperBatch:
    view = photos.view("test")
    rows = view.rows.head(count).to_dict("records")
    return TamperBatch(view.read()[:count], np.full((count, 5, 2), np.nan), list(range(count)), (), rows)


@pytest.mark.parametrize("name", NETWORKS)
def test_codes_are_latents_in_units_of_their_spread(trained, name):
    space, network = latent_space(trained[name]), trained[name].generator()
    latents = torch.randn(500, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        codes = space.codes(latents)
        images = space.decode(codes[:4], torch.zeros(4, *space.offset_shape))
        made = network(latents[:4], fixed_noise=True) if name == "stylegan-lite" else network(latents[:4])
        moved = space.decode(codes[:4], torch.ones(4, *space.offset_shape))
    torch.testing.assert_close(images, made, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(space.decode(codes[:4]), images)
    assert (moved - images).abs().mean() > 0.01
    assert abs(codes.std(0).median() - 1) < 0.1
    assert torch.corrcoef(codes.T).fill_diagonal_(0).abs().max() < 0.25


def test_detail_of_the_photo_that_the_inversion_missed_is_added(trained, photos, encoders):
    def made(kind, detail):
        tampering = method(kind, trained, encoders, detail=detail, blending=["alpha"], directions=["pca"])
        return tampering.tamper(batch(photos))

    def far(tampered):
        images = tampered.images.astype(float)
        inside = (tampered.masks > 250)[..., None]
        return (abs(images - batch(photos).images) * inside).sum() / inside.sum()

    control = [far(made(Inversion, detail)) for detail in (0.0, 0.5, 0.9)]
    # the rim's colours are matched too, so that distances fall about in proportion
    assert control[1] == pytest.approx(0.5 * control[0], rel=0.25) and control[2] < 0.3 * control[0]
    moved = [made(LatentEdit, detail).images.astype(float) for detail in (0.0, 0.9)]
    still = [made(Inversion, detail).images.astype(float) for detail in (0.0, 0.9)]
    moves = [abs(after - before).mean() for after, before in zip(moved, still, strict=True)]
    assert moves[1] == pytest.approx(moves[0], rel=0.2)  # the move stays whole
    with pytest.raises(ValidationError, match="less than 1"):
        made(Inversion, 1.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_what_the_first_layers_multiply_codes_by(trained, name):
    space, network = latent_space(trained[name]), trained[name].generator()
    codes = space.draw(2, torch.Generator().manual_seed(3))
    step = codes[1] - codes[0]
    if name == "dcgan":
        maps = network.entry(codes[:, :, None, None]).flatten(1)
        torch.testing.assert_close(space.weights() @ step, maps[1] - maps[0], rtol=1e-4, atol=1e-4)
    else:
        style = network.first.convolution.style
        wanted = (style(space.features(codes)[1]) - style(space.features(codes)[0])) / style.scale
        torch.testing.assert_close((space.weights() @ step)[: len(wanted)], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_bring_inversions_nearer_and_a_photo_is_inverted_alike_in_every_batch(trained, photos, encoders, name):
    encoder = TrainedEncoder.open(encoders[name], trained[name])
    images = photos.view("test").read()[:5]
    weights = np.ones((5, SIDE, SIDE))
    errors = []
    for steps in (0, 12):
        found = invert(encoder.space, encoder.network, images, weights, InversionSettings(steps=steps))
        made = encoder.space.decode(found.codes, found.offsets)
        errors.append(distances(made, torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1))
    assert (errors[1] < errors[0]).all() and errors[1].mean() < 0.9 * errors[0].mean()
    alone = invert(encoder.space, encoder.network, images[[3]], weights[[3]], InversionSettings(steps=12))
    assert torch.equal(alone.codes[0], found.codes[3]) and torch.equal(alone.offsets[0], found.offsets[3])


def test_pixels_without_weight_are_not_fitted(trained, photos, encoders):
    encoder = TrainedEncoder.open(encoders["dcgan"], trained["dcgan"])
    images, weights = photos.view("test").read()[:2].copy(), np.zeros((2, SIDE, SIDE))
    weights[:, 8:24, 8:24] = 1
    settings = InversionSettings(steps=3, outside=0)
    codes = torch.zeros(2, 8)
    first, second = (
        invert(encoder.space, lambda given: codes.repeat(len(given) // 2, 1), each, weights, settings)
        for each in (images, np.where(weights[..., None] > 0, images, 255 - images).astype(np.uint8))
    )
    assert torch.equal(first.offsets, second.offsets)


def test_an_encoder_learns_the_codes_of_forgeries(trained, photos):
    space = latent_space(trained["dcgan"])
    settings = TINY.model_copy(update={"kimg": 0.8, "code_weight": 1.0, "lr": 0.006})
    encoder = train_encoder(space, photos.view("forge"), settings, 0, lambda done, steps: None)
    codes = space.draw(64, torch.Generator().manual_seed(5))
    with torch.no_grad():
        error = (encoder(space.decode(codes)) - codes).square().mean()
    assert error < 0.75 * codes.square().mean()  # what the mean code gives


def known(trained=None, *, codes=None, labels=None, wanted=None, name="dcgan") -> Known:
    space = latent_space(trained[name]) if trained else None
    return Known(space, np.zeros((0, 8)) if codes is None else codes, labels or {}, wanted or {}, 4)


def test_a_direction_from_labels_is_the_one_that_tells_them(trained):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=8)
    truth /= np.linalg.norm(truth)
    texts = ["b" if coin else "a" for coin in rng.random(400) < 0.4]
    codes = rng.normal(size=(400, 8)) + 3 * truth * (np.array(texts) == "b")[:, None]
    labels = {"id": [str(n) for n in range(400)], "column": texts, "gaps": [None] * 400}
    (direction,) = from_labels(known(codes=codes, labels=labels))
    assert direction.column == "column" and direction.values == ("a", "b")  # the most frequent first
    assert direction.vector @ truth > 0.97 and np.linalg.norm(direction.vector) == pytest.approx(1)
    assert direction.auc > 0.95
    (opposite,) = from_labels(known(codes=codes, labels=labels, wanted={"column": ("b", "a")}))
    np.testing.assert_allclose(opposite.vector, -direction.vector)
    shuffled = rng.permutation(texts).tolist()
    (nothing,) = from_labels(known(codes=codes, labels={"column": shuffled}))
    assert abs(nothing.auc - 0.5) < 0.15
    assert from_labels(known(codes=codes, labels={"gaps": [None] * 400, "id": labels["id"]})) == []


@pytest.mark.parametrize(
    ("wanted", "error", "sentence"),
    [
        ({"gendr": GENDERS}, UnknownNameError, "did you mean 'gender'"),
        ({"gender": ("Female", "Mal")}, UnknownNameError, "did you mean 'Male'"),
        ({"name": GENDERS}, InputError, "'name' has only 'one'; a direction needs photos of two values"),
        ({"none": GENDERS}, InputError, "'none' has no value at all"),
        ({"rare": ("a", "b")}, InputError, "2 of 40 photos have rare 'b'; a direction needs 8 or more"),
    ],
)
def test_labels_without_a_direction_are_refused(wanted, error, sentence):
    labels = {"gender": [*GENDERS] * 20, "name": ["one"] * 40, "none": [None] * 40, "rare": ["a"] * 38 + ["b"] * 2}
    with pytest.raises(error, match=sentence):
        from_labels(known(codes=np.ones((40, 8)), labels=labels, wanted=wanted))


@pytest.mark.parametrize("name", NETWORKS)
def test_directions_without_labels_are_unit_vectors_by_falling_effect(trained, name):
    space = latent_space(trained[name])
    weights = space.weights().double().numpy()
    closed = np.stack([each.vector for each in from_weights(known(trained, name=name))])
    effects = np.linalg.norm(weights @ closed.T, axis=0)
    np.testing.assert_allclose(effects, np.linalg.svd(weights)[1][:4], rtol=1e-6)
    components = from_components(known(trained, name=name))
    assert [each.facts["component"] for each in components] == [1, 2, 3, 4]
    vectors = torch.from_numpy(np.stack([each.vector for each in components])).float()
    with torch.no_grad():
        moved = [(space.features(2 * vector[None]) - space.features(-2 * vector[None])).norm() for vector in vectors]
        random = torch.nn.functional.normalize(torch.randn(200, 8, generator=torch.Generator().manual_seed(0)), dim=1)
        other = (space.features(2 * random) - space.features(-2 * random)).norm(dim=1)
    assert moved[0] > other.quantile(0.75)
    for each in (closed, vectors.numpy()):
        np.testing.assert_allclose(np.linalg.norm(each, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_edit_and_its_control_differ_in_the_move_alone(trained, photos, encoders, name):
    given = batch(photos)
    edited, control = (method(kind, trained, encoders, name).tamper(given) for kind in (LatentEdit, Inversion))
    assert np.array_equal(edited.masks, control.masks)
    for made in (edited, control):
        outside = made.masks == 0
        assert np.array_equal(made.images[outside], given.images[outside]) and (made.images != given.images).any()
    assert all((a != b).any() for a, b in zip(edited.images, control.images, strict=True))
    for row, other, labels in zip(edited.rows, control.rows, given.labels, strict=True):
        drawn, same = json.loads(row["edit"]), json.loads(other["edit"])
        assert same.pop("strength") == 0 and 1.2 <= abs(drawn.pop("strength")) <= 2.2
        assert drawn == same and row["region"] == "face" and row["outline"] == "average"
        if drawn["direction"] == "labels":
            assert drawn["column"] == "gender" and drawn["from"] == labels["gender"] != drawn["to"]
    assert len({json.loads(row["edit"])["direction"] for row in edited.rows}) > 1


def test_each_face_is_edited_by_its_seed_alone(trained, photos, encoders):
    given, edit = batch(photos), method(LatentEdit, trained, encoders)
    whole = edit.tamper(given)
    alone = edit.tamper(TamperBatch(given.images[4:5], given.landmarks[:1], [4], (), given.labels[4:5]))
    assert np.array_equal(alone.images[0], whole.images[4]) and alone.rows[0] == whole.rows[4]
    other = edit.tamper(TamperBatch(given.images[4:5], given.landmarks[:1], [5], (), given.labels[4:5]))
    assert not np.array_equal(other.images, alone.images)
    again = method(LatentEdit, trained, encoders, background="re-encoded").tamper(given)
    for before, after, row in zip(whole.images, again.images, again.rows, strict=True):
        assert np.array_equal(after, coded(before, json.loads(row["edit"])["jpeg_quality"]))


def test_a_face_that_fills_the_frame_leaves_a_rim_of_the_photo(trained, photos, encoders):
    given = batch(photos, 2)
    points = np.array([[4.0, 4], [28, 4], [16, 16], [6, 27], [26, 27]])  # eyes at both edges of the frame
    huge = TamperBatch(given.images, np.repeat(points[None], 2, 0), given.seeds, (), given.labels)
    masks = method(LatentEdit, trained, encoders).tamper(huge).masks
    assert all(0.5 < (mask >= 128).mean() < 1 for mask in masks)


def test_a_set_says_what_was_inverted_and_how_well(trained, photos, encoders, tmp_path):
    edit = method(LatentEdit, trained, encoders, labels={"gender": GENDERS})
    made = tamper_set(edit, photos, tmp_path / "edit", name="edit:dcgan", counts={"test": 4}, seed=0,
                      on_progress=silent)  # fmt: skip
    facts, table = made.card.provenance, made.table
    assert facts["inverted"]["weights_sha256"] == trained["dcgan"].card.weights_sha256
    assert facts["directions"]["labels"] == 1 and facts["directions"]["pca"] == 6
    assert 0 <= facts["directions"]["auc of gender Female to Male"] <= 1
    measured = [json.loads(text)["psnr_of_inversion"] for text in table["edit"]]
    assert facts["psnr_of_inversions"] == pytest.approx(np.mean(measured), abs=0.01)
    assert made.has_masks and set(made.table["gender"]) <= set(GENDERS)


def test_what_cannot_be_inverted_is_refused(trained, encoders, photos, tmp_path):
    for name, sentence in (("cgan", "told labels"), ("gan", "name one of dcgan"), ("pix2pix:colour", "no latents")):
        with pytest.raises(InputError, match=sentence):
            latent_space(written(tmp_path / name, name))
    other = written(tmp_path / "other", "dcgan", seed=1)
    with pytest.raises(InputError, match="inverts other weights"):
        TrainedEncoder.open(encoders["dcgan"], other)
    with pytest.raises(InputError, match=f"has no {FILE}; train the encoder first: bench run -g edit:dcgan"):
        TrainedEncoder.open(tmp_path, other)
    with pytest.raises(InputError, match="needs a trained generator and its encoder"):
        LatentEdit(LatentEdit.Settings()).tamper(batch(photos))
    large = TamperBatch(np.zeros((1, 64, 64, 3), np.uint8), np.full((1, 5, 2), np.nan), [0])
    with pytest.raises(InputError, match="64 px; dcgan makes 32"):
        method(LatentEdit, trained, encoders).tamper(large)


def test_labels_alone_need_labels_and_with_others_they_are_left_out(trained, photos, encoders, make_set, tmp_path):
    bare = make_set("bare", {"forge": 40}, resolution=SIDE)
    write_encoder(trained["dcgan"], bare.view("forge"), TINY, tmp_path, seed=0, on_progress=silent)
    without = {"dcgan": tmp_path}
    with pytest.raises(InputError, match=r"directions names labels alone; name a column with labels="):
        method(LatentEdit, trained, without, directions=("labels",))
    rows = method(LatentEdit, trained, without).tamper(batch(photos)).rows
    assert {json.loads(row["edit"])["direction"] for row in rows} == {"pca", "closed-form"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"directions": ()}, {"directions": ("labels", "age")}, {"labels": {"gender": ("Male", "Male")}},
        {"labels": {"a": ("1", "2"), "b": ("1", "2")}}, {"strength": (3.0, 1.0)}, {"inversion": {"steps": -1}},
        {"encoder": {"kimg": 0}}, {"components": 0},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        LatentEdit.Settings.model_validate(wrong)


def test_a_fresh_encoder_gives_the_mean_code():
    assert not Encoder((4, 8), SIDE, 8)(torch.rand(2, 3, SIDE, SIDE)).any()
