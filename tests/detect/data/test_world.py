"""Perturbations between camera and detector: formats, double JPEG, platforms, screens, kernels."""

import io

import numpy as np
import pytest
from PIL import Image

from detect.data.perturb import WORLD, by_strength, perturbation
from forge.core.errors import InputError
from forge.faces.imaging.jpeg import coded
from forge.rendering import render_person_images


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([face.image for face in render_person_images(0, 0, 4, size=64)])


def _error(name: str, faces: np.ndarray) -> float:
    return float(np.square(perturbation(name)(faces).astype(float) - faces).mean())


def test_stronger_ones_change_more(faces):
    for curve in by_strength(WORLD):
        errors = [_error(name, faces) for name in curve]
        assert errors == sorted(errors) and len(set(errors)) == len(errors), (curve, errors)


def test_formats_are_those_of_pillow(faces):
    for name, form, options in [("webp50", "WEBP", {}), ("avif50", "AVIF", {"speed": 6, "max_threads": 1})]:
        file = io.BytesIO()
        Image.fromarray(faces[1]).save(file, form, quality=50, **options)
        assert np.array_equal(perturbation(name)(faces[1:2])[0], np.asarray(Image.open(file).convert("RGB")))


def _blocking(image: np.ndarray, offset: int) -> float:
    """Mean step across the borders of blocks whose grid begins at `offset`, over that within blocks."""
    luma = image.mean(2)
    step = np.abs(np.diff(luma, axis=1)).mean(0)  # [W - 1]; step[i] is between columns i and i + 1
    border = (np.arange(len(step)) + 1) % 8 == offset
    return float(step[border].mean() / max(step[~border].mean(), 0.01))


def test_double_jpeg_has_the_blocks_of_two_grids(monkeypatch):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(float)[..., None].repeat(3, 2)
    noisy = np.clip(smooth + np.random.default_rng(0).normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)[None]
    change = perturbation("double-jpeg100")
    monkeypatch.setattr(type(change), "first", 5)
    blocky = change(noisy)[0]
    assert _blocking(blocky, 4) > 2 and _blocking(blocky, 0) < 1.2  # the coarse one, off the grid
    aligned = perturbation("double-jpeg5")(noisy)[0]
    assert _blocking(aligned, 0) > 2  # the last one, on it
    # other qualities are chains
    moved = perturbation("jpeg5+shift4+jpeg100")(noisy)[0]
    assert _blocking(moved, 4) > 2


def test_a_shift_moves_whole_pixels(faces):
    moved = perturbation("shift3")(faces)
    assert np.array_equal(moved[:, 3:, 3:], faces[:, :-3, :-3])
    assert np.array_equal(moved[:, :3, 3:], faces[:, 2::-1, :-3])  # mirrored


def test_platforms_shrink_compress_and_enlarge_in_this_order(faces):
    # below the platform's longest side nothing is resized
    for name, quality in [("whatsapp1600", 80), ("facebook1000", 85), ("telegram1280", 87)]:
        assert np.array_equal(perturbation(name)(faces[:1])[0], coded(faces[0], quality))
    # 2048 of 4096 px: half the side
    small = np.asarray(Image.fromarray(faces[0]).resize((32, 32), Image.Resampling.LANCZOS))
    expected = Image.fromarray(coded(small, 85)).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(perturbation("facebook4096")(faces[:1])[0], np.asarray(expected))
    with pytest.raises(InputError, match="the longest side of the photo in pixels must be a whole number from 256 to"):
        perturbation("telegram80")


def test_grey_is_pillows_luma(faces):
    grey = perturbation("grey")(faces)
    assert np.array_equal(grey[2, ..., 1], np.asarray(Image.fromarray(faces[2]).convert("L")))
    assert (grey == grey[..., :1]).all()


def test_a_screenshot_has_a_rim_of_one_colour(faces):
    for image in perturbation("screenshot10")(faces):
        rim = np.concatenate([image[:6].reshape(-1, 3), image[:, -6:].reshape(-1, 3)])
        assert len(np.unique(rim)) == 1
        assert image[6:-6, 6:-6].std() > 10
    others = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    colours = perturbation("screenshot10")(others)[:, 0, 0, 0]
    # white, black and greys about equally often
    assert min((colours == 0).sum(), (colours == 255).sum(), (colours % 255 > 0).sum()) > 5


def test_moire_adds_stripes_of_its_amplitude(faces):
    white = np.full((1, 64, 64, 3), 200, np.uint8)
    stripes = perturbation("moire10")(white)[0].astype(float) - 200
    assert 5 < np.abs(stripes).max() <= 10 and abs(stripes.mean()) < 1
    spectrum = np.abs(np.fft.fft2(stripes[..., 0])) ** 2
    # two directions hold nearly all of the energy: a few cells and their mirror images, with leakage
    assert np.sort(spectrum.ravel())[-24:].sum() > 0.8 * spectrum.sum()
    assert not np.array_equal(stripes[..., 0], stripes[..., 2])  # coloured


def test_kernels_are_those_of_pillow(faces):
    image = Image.fromarray(faces[0])
    for name in ("nearest", "bicubic", "lanczos"):
        kernel = Image.Resampling[name.upper()]
        expected = image.resize((32, 32), kernel).resize((64, 64), kernel)
        assert np.array_equal(perturbation(f"resize-{name}50")(faces[:1])[0], np.asarray(expected))
