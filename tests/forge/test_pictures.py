"""Pictures of generators: what stands where in them, that walks close, that planted copies are found."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

from forge.core.errors import InputError
from forge.faces.faceset import FaceSet
from forge.faces.imaging.grids import cut_grid, grid, sheet, write_grid
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS, visualize
from forge.generators.artifact import TrainedGenerator, write_generator
from forge.generators.base import Architecture, NetworkSettings
from forge.generators.labels import Condition
from forge.generators.memorization import closest, nearest
from forge.generators.stylegan_lite import StyledConv
from forge.generators.visualize import (
    Painter,
    closed_walk,
    filmstrip,
    moments,
    nearest_training,
    samples,
    slerp,
    walk,
    write_pictures,
)

pytestmark = pytest.mark.e2e

TWO = Condition({"age": ("old", "young"), "hat": ("no", "so", "yes")}, {"age": (0.3, 0.7), "hat": (0.5, 0.1, 0.4)})


class Tells(nn.Module):
    """Red tells the first label, green the second, blue the first number of the latent."""

    def forward(self, latents, labels=None):
        told = torch.zeros(len(latents), 2, dtype=torch.int64) if labels is None else labels
        colours = torch.stack([told[:, 0] / 2, told[:, 1] / 2, latents[:, 0].tanh()], 1)
        return colours[:, :, None, None].expand(-1, -1, 16, 16)


class Told(Architecture):
    citation, resolutions, conditional, Settings = "", (16,), "optional", NetworkSettings

    def generator(self):
        return Tells()

    def discriminator(self):
        return nn.Flatten()

    def latents(self, count, device):
        return torch.randn(count, 8, device=device)


def write(place: Path, kind: type[Architecture], condition: Condition | None = None, resolution=16, **network):
    """A generator with the weights it begins with, on disk and opened."""
    settings = kind.Settings(**network)
    made = kind(settings, resolution, condition.classes if condition else ())
    place.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = made.generator()
    for module in generator.modules():
        if isinstance(module, StyledConv):
            nn.init.constant_(module.noise_strength, 1.0)  # it begins at 0, where noise makes no difference
        elif isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.2)  # ten times the usual: an untrained picture is nearly grey
    card = {
        "name": "tiny", "architecture": "tiny.py:Tiny", "settings": settings.model_dump(), "resolution": resolution,
        "condition": condition.to_json() if condition else None, "seed": 0, "kimg": 20, "training": {},
        "data": {"name": "set", "digest": "0", "licence": "CC0", "images": 9}, "precision": "fp32", "parameters": {},
    }  # fmt: skip
    write_generator(place, raw=made.generator(), averaged=generator, discriminator=made.discriminator(), card=card)
    return TrainedGenerator.open(place, implementation=kind)


@pytest.fixture
def style(tmp_path):
    architecture = GENERATORS.load("stylegan-lite")
    return write(tmp_path / "style", architecture, latent=32, style=8, channels_base=64, channels_min=4, channels_max=8)


@pytest.fixture
def dcgan(tmp_path):
    return write(tmp_path / "dcgan", GENERATORS.load("dcgan"), latent=64, generator_width=4, discriminator_width=4)


@pytest.fixture
def written(monkeypatch):
    """What is written into pictures: (x, y, text)."""
    texts, draw = [], ImageDraw.ImageDraw.text

    def text(self, xy, text, *more, **settings):
        texts.append((*xy, text))
        return draw(self, xy, text, *more, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


def body(picture: Image.Image, columns: int, rows: int, side: int = 64):
    """The faces of a sheet, uint8 [rows, columns, side, side, 3]: its lower right corner."""
    width, height = columns * (side + 2) - 2, rows * (side + 2) - 2
    box = (picture.width - width, picture.height - height, picture.width, picture.height)
    return cut_grid(picture.crop(box), columns=columns).reshape(rows, columns, side, side, 3)


def flat(values, side=16):
    """Faces of one grey each, uint8 [n, side, side, 3]."""
    return np.broadcast_to(np.array(values, np.uint8)[:, None, None, None], (len(values), side, side, 3)).copy()


def test_a_sheet_keeps_every_face_and_writes_beside_it(written):
    faces = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), dtype=np.uint8)
    picture = sheet(faces, columns=3, caption="two\nlines", titles=["a", "b", "c"], labels=["first", "second"])
    assert (body(picture, 3, 2, 84)[:, :, ::3, ::3].reshape(faces.shape) == faces).all()  # three times as large
    assert [text for *_, text in written] == ["two", "lines", "a", "b", "c", "first", "second"]
    left, top = picture.width - 256, picture.height - 170
    assert [x - left for x, _, text in written if text in "abc"] == [42, 128, 214]  # the middle of each column
    assert [y - top for _, y, text in written if "s" in text and text != "lines"] == [42, 128]
    margin = np.asarray(picture)[:, :left].copy()
    assert margin.min() < 128 and (margin[:, :2] == 255).all()  # nothing is cut off
    assert sheet(faces, columns=3).size == (256, 170)
    assert np.asarray(sheet(flat([7], 64), columns=1)).shape == (64, 64, 3)


def test_a_grid_can_be_cut_again():
    faces = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    assert (cut_grid(grid(faces)) == faces).all()


def test_slerp_stays_on_the_sphere_and_meets_its_ends():
    a, b = (nn.functional.normalize(torch.randn(4, 16), dim=1) for _ in range(2))
    way = torch.stack([slerp(a, b, share) for share in (0.0, 0.25, 0.5, 1.0)])
    assert torch.allclose(way.norm(dim=2), torch.ones(4, 4), atol=1e-5)
    assert torch.allclose(way[0], a, atol=1e-5) and torch.allclose(way[3], b, atol=1e-5)
    assert torch.allclose(slerp(a, a, 0.3), a, atol=1e-3)


def test_a_walk_is_closed_and_even():
    points = torch.randn(5, 3, 16).mul(torch.tensor([1.0, 3.0, 1.0, 0.5, 1.0])[:, None, None]).unbind()
    way = closed_walk(points, 80)
    assert way.shape == (80, 3, 16) and torch.allclose(way[0], points[0], atol=1e-5)
    steps = (way - way.roll(-1, 0)).norm(dim=2)  # the last one leads back to the first
    middle = steps.median(0).values
    assert (steps.amax(0) < 1.1 * middle).all() and (steps.amin(0) > 0.3 * middle).all()  # corners are cut short
    assert (steps.quantile(0.15, dim=0) > 0.9 * middle).all()
    near = torch.stack([(way - point).norm(dim=2).amin(0) for point in points])
    assert (near < 0.6 * steps.amax(0)).all()  # every point is passed


@pytest.mark.parametrize("name", ["dcgan", "style"])
def test_the_frames_of_a_walk_have_no_jump_and_do_not_flicker(name, request):
    frames = walk(Painter(request.getfixturevalue(name))).astype(float)
    assert frames.shape == (80, 64, 6 * 66 - 2, 3)
    steps = np.square(frames - np.roll(frames, -1, axis=0)).mean(axis=(1, 2, 3)) ** 0.5
    far = np.square(frames - np.roll(frames, -24, axis=0)).mean() ** 0.5
    assert 0 < steps[-1] < 1.5 * np.median(steps) and steps.max() < 0.4 * far


def test_truncation_goes_from_one_face_to_many(style):
    faces = body(visualize.truncation(Painter(style)), 8, 5).astype(float)
    assert (faces[0] == faces[0, 0]).all()
    spread = faces.std(axis=1).mean(axis=(1, 2, 3))
    assert (np.diff(spread) > 0).all()
    again = body(samples(Painter(style)), 8, 8)
    assert len(np.unique(again.reshape(64, -1), axis=0)) == 64


def test_rows_hold_their_labels(tmp_path, written):
    painter = Painter(write(tmp_path / "g", Told, TWO))
    picture = body(samples(painter), 8, 6)[:, :, 0, 0]
    assert [text for *_, text in written] == [
        "age, hat; same latents in every row",
        *("old, no", "old, so", "old, yes", "young, no", "young, so", "young, yes"),
    ]
    assert (picture[:, :, 0] == np.array([128, 128, 128, 191, 191, 191])[:, None]).all()
    assert (picture[:, :, 1] == np.array([128, 191, 255] * 2)[:, None]).all()
    assert (picture[:, :, 2] == picture[0, :, 2]).all() and len(np.unique(picture[0, :, 2])) == 8
    assert painter.combinations(3).tolist() == [[1, 0], [1, 2], [0, 0]]  # .7 x .5, .7 x .4, .3 x .5
    assert len(np.unique(walk(painter)[:, 0, ::66, :2].reshape(80, -1), axis=0)) == 1  # labels stay as they are


def test_many_labels_are_cut_to_the_most_frequent(tmp_path, written):
    share = tuple(2.0**-i for i in range(1, 8))
    many = Condition({name: tuple("abcdefg") for name in "xyz"}, dict.fromkeys("xyz", share))
    painter = Painter(write(tmp_path / "g", Told, many))
    codes = painter.combinations()
    everything = np.stack(np.meshgrid(*[np.arange(7)] * 3), -1).reshape(-1, 3).sum(axis=1)
    assert sorted(codes.sum(axis=1)) == sorted(everything)[:16] and codes[0].tolist() == [0, 0, 0]
    samples(painter)
    assert written[1][2] == "the 16 most frequent of 343 label combinations"


def test_a_filmstrip_runs_from_first_to_last(tmp_path, written):
    trained = write(tmp_path / "g", Told)
    for kimg in range(1, 25):
        write_grid(trained.path / "samples" / f"{kimg:06d}k.png", flat([kimg * 10] * 64))
    write_grid(trained.path / "samples" / "newest.png", flat([0] * 64))
    moment_list = moments(trained)  # the card says 20 thousand
    assert [kimg for kimg, _ in moment_list] == [1, 4, 6, 9, 12, 15, 17, 20]
    picture = body(filmstrip(moment_list), 8, 6)
    assert (picture[:, :, 0, 0, 0] == np.array([[10, 40, 60, 90, 120, 150, 170, 200]])).all()
    titles = sorted(written[1:])
    assert [text for *_, text in titles] == ["1k", "4k", "6k", "9k", "12k", "15k", "17k", "20k"]
    early = replace(trained, path=trained.path / "snapshots" / "5k", card=trained.card.model_copy(update={"kimg": 5}))
    assert [kimg for kimg, _ in moments(early)] == [1, 2, 3, 4, 5]
    assert moments(replace(trained, path=tmp_path)) == []


def test_nearest_is_the_nearest():
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (700, 20, 20, 3), dtype=np.uint8)
    forged = rng.integers(0, 256, (600, 20, 20, 3), dtype=np.uint8)
    forged[[3, 599]] = training[[650, 1]]
    forged[5] = training[9] ^ 1
    indices, distances = nearest(forged, training)
    assert indices[[3, 5, 599]].tolist() == [650, 9, 1] and distances[[3, 599]].tolist() == [0, 0]
    assert 0 < distances[5] < 1 and np.sort(distances)[3] > 10
    uniform = nearest(flat([10, 100]), flat([90, 0, 13]))
    assert uniform[0].tolist() == [2, 0] and np.allclose(uniform[1], [3, 10])


def test_nearest_equals_the_comparison_of_every_pair():
    rng = np.random.default_rng(1)
    forged, training = (rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8) for count in (20, 30))
    small = [images.astype(float).reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)) for images in (forged, training)]
    every = np.sqrt(np.square(small[0][:, None] - small[1][None]).mean((2, 3, 4)))
    indices, distances = nearest(forged, training)
    assert (indices == every.argmin(axis=1)).all() and np.allclose(distances, every.min(axis=1), atol=1e-3)


def test_closest_looks_into_mirrors_and_all_batches():
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    faces = np.stack([training[25], training[4][:, ::-1]])
    closest_images, distances = closest(faces, np.array_split(training, 4))
    assert (closest_images == faces).all() and not distances.any()


def test_planted_copies_come_first(dcgan, make_set, tmp_path):
    painter = Painter(dcgan)
    forged = painter.faces(painter.latents(1000, "nearest"))
    rng = np.random.default_rng(0)
    others = rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    others[20], others[41] = forged[700], forged[31][:, ::-1]
    with FaceSetWriter(tmp_path / "real", "people", "real", 16, "research only", {}) as writer:
        writer.append(others, [{"id": str(i), "split": "forge" if i < 50 else "test"} for i in range(60)])
    nearest = nearest_training(painter, FaceSet.open(tmp_path / "real"))
    assert nearest.distances[:2].tolist() == [0, 0] and nearest.distances[2] > 1
    pairs = body(nearest.picture, 8, 2)[:, :2, ::4, ::4]
    assert (pairs[0] == pairs[1]).all() and (pairs[0] == forged[[31, 700]]).all()
    assert len(nearest.distances) == 1000 and len(nearest.real_baseline) == 10 and nearest.licence == "research only"
    with pytest.raises(InputError, match=r"has forged faces of 16 px; comparing .* needs real ones of 16 px"):
        nearest_training(painter, make_set("fakes", {"train": 4}, kind="forged"))
    with pytest.raises(InputError, match="has real faces of 32 px"):
        nearest_training(painter, make_set("large", {"train": 4}, resolution=32))


@pytest.mark.parametrize("animation", ["gif", "apng"])
def test_pictures_are_the_same_bytes_for_the_same_seed(style, tmp_path, animation):
    write_grid(style.path / "samples" / "000020k.png", flat(range(64)))
    digests = {}
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        files = write_pictures(Painter(style, seed), tmp_path / out, animation=animation)
        digests[out] = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    moving = "walk.gif" if animation == "gif" else "walk.png"
    assert set(digests["a"]) == {moving, "samples.png", "truncation.png", "filmstrip.png"}
    assert digests["a"] == digests["b"]
    changed = {name for name in digests["a"] if digests["a"][name] != digests["c"][name]}
    assert changed == {moving, "samples.png", "truncation.png"}
    picture = Image.open(tmp_path / "a" / moving)
    assert (picture.n_frames, picture.info["loop"], picture.info["duration"]) == (80, 0, 50)
    marked = Image.open(tmp_path / "a" / "samples.png").text
    assert "Synthetic" in marked["Source"] and marked["Software"] == "deepfake-bench"
    frames = walk(Painter(style))
    for number in (0, 40, 79):
        picture.seek(number)
        wrong = np.asarray(picture.convert("RGB")).astype(float) - frames[number]
        assert np.abs(wrong).max() == 0 if animation == "apng" else wrong.std() < 0.3 * frames[number].std()
