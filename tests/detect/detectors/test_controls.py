"""Controls: chance where nothing is to be seen, and what a file's history leaves in the pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import laplace
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from detect.detectors.base import FitData
from detect.detectors.registry import DETECTORS
from detect.features.cues import trivial_cues
from detect.features.jpeg import QUALITIES, visible_quality
from forge.core.compute import Compute
from forge.core.errors import CorruptError


class Held:
    """A view of images in memory."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def read(self, positions=slice(None)):
        return self.images[positions]

    def batches(self, size):
        for start in range(0, len(self), size):
            yield self.images[start : start + size]


def textured(count, size=64, seed=0):
    """Noise whose amplitude falls with frequency as in photos; colour channels alike but not equal."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]) + 1 / size
    noise = rng.normal(size=(count, 4, size, size))
    shaped = np.fft.ifft2(np.fft.fft2(noise) / frequency**1.2).real
    shaped *= 35 / shaped.std(axis=(2, 3), keepdims=True)
    mixed = shaped[:, :1] + 0.4 * shaped[:, 1:]
    return np.clip(mixed.transpose(0, 2, 3, 1) + 120, 0, 255).astype(np.uint8)


def saved(images, quality, subsampling=2):
    """Through Pillow's JPEG and back; subsampling 0 is 4:4:4, 2 is 4:2:0."""
    back = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
        back.append(np.asarray(Image.open(file)))
    return np.stack(back)


def seen(images):
    return visible_quality(torch.from_numpy(np.ascontiguousarray(images))).numpy()


def fitted(name, real, forged, context, seed=0):
    implementation = DETECTORS.load(name)
    detector = implementation(implementation.Settings(), real.shape[1])
    summary = detector.fit(FitData(Held(real), Held(forged), Held(real), Held(forged)), context(seed))
    return detector, summary


def auc(detector, real, forged):
    scores = [detector.score(images, Compute()) for images in (real, forged)]
    return roc_auc_score(np.repeat([0, 1], [len(real), len(forged)]), np.concatenate(scores))


# JPEG traces


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [40, 50, 75, 90, 95])
def test_a_jpegs_quality_is_seen(quality, subsampling):
    quality_seen = seen(saved(textured(24), quality, subsampling))
    assert (quality_seen > 0).mean() > 0.95
    assert np.abs(np.median(quality_seen) - quality) <= 1


def plain(size=64):
    """Images that were never saved as JPEG, some of them with regular patterns."""
    y, x = np.indices((size, size))
    rng = np.random.default_rng(3)
    base = textured(24, size, seed=1)
    ramps = np.clip(x * rng.uniform(0.2, 4, (24, 1, 1)) + y * rng.uniform(0, 2, (24, 1, 1)), 0, 255)
    boards = [((x // step + y // step) % 2 * 2 - 1)[..., None] * height for step in (1, 2, 4) for height in (3, 12, 40)]
    yield "textured", base
    yield "moved", saved(textured(24, size + 8, seed=2), 75)[:, 3:-5, 4:-4]
    yield "smooth", np.repeat(ramps[..., None], 3, axis=3).astype(np.uint8)
    yield "noise", rng.integers(0, 256, (24, size, size, 3), dtype=np.uint8)
    yield "one colour", np.full((4, size, size, 3), 77, np.uint8)
    yield "black and white", np.where(base > 128, 255, 0).astype(np.uint8)
    yield "sixteen levels", (base // 16 * 16).astype(np.uint8)
    yield "large pixels", base[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)
    for board in boards:
        yield "checkerboard on texture", np.clip(base[:8].astype(int) + board, 0, 255).astype(np.uint8)
        yield "checkerboard alone", np.clip(np.full_like(base[:1], 120).astype(int) + board, 0, 255).astype(np.uint8)


def test_what_was_no_jpeg_shows_none():
    assert {name: int((seen(images) > 0).sum()) for name, images in plain()} == dict.fromkeys(dict(plain()), 0)


def test_sizes_that_are_no_multiple_of_eight_keep_their_whole_blocks():
    whole = saved(textured(6, 72), 80)
    assert np.array_equal(seen(whole[:, :68, :68]), seen(whole[:, :64, :64]))
    assert np.array_equal(seen(whole[:, :7, :7]), np.zeros(6)) and seen(whole[:0]).shape == (0,)


def test_metadata_is_constant_where_nothing_is_visible(context):
    real, forged = textured(40, 32, seed=1), textured(40, 32, seed=2)
    detector, _ = fitted("metadata", real, forged, context)
    assert auc(detector, real, forged) == 0.5
    assert np.ptp(detector.score(np.concatenate([real, forged]), Compute())) == 0


@pytest.mark.parametrize("which", ["real", "forged", "both"])
def test_metadata_sees_a_class_that_was_saved_as_jpeg(which, context, tmp_path):
    def classes(seed):
        real, forged = textured(40, seed=seed), textured(40, seed=seed + 1)
        return saved(real, 75) if which != "forged" else real, saved(forged, 92) if which != "real" else forged

    detector, summary = fitted("metadata", *classes(1), context)
    assert auc(detector, *classes(3)) > 0.97 and summary.facts["best_val_auc"] > 0.97
    detector.save(tmp_path)
    loaded = type(detector).load(tmp_path, detector.settings, 64)
    assert np.array_equal(loaded.score(classes(3)[0], Compute()), detector.score(classes(3)[0], Compute()))
    assert detector.parameters == QUALITIES.stop


# trivial cues


def test_trivial_cues_are_numpys_and_scipys():
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 10, 3), dtype=np.uint8)
    images[4] = 90
    grey = images @ np.array([0.299, 0.587, 0.114])
    sharp = [np.log(laplace(image)[1:-1, 1:-1].var() + 0.01) for image in grey]
    expected = np.column_stack([images.mean(axis=(1, 2)), images.std(axis=(1, 2)), sharp])
    np.testing.assert_allclose(trivial_cues(torch.from_numpy(images)).numpy(), expected, atol=1e-9)


def test_trivial_cues_tell_by_colour_contrast_and_sharpness(context):
    real = textured(60, 32)
    brighter = np.clip(textured(60, 32, seed=1) + np.array([30, 0, 0]), 0, 255).astype(np.uint8)
    flatter = (textured(60, 32, seed=2) * 0.6 + 48).astype(np.uint8)
    sharper = np.clip(
        textured(60, 32, seed=3) + np.random.default_rng(0).normal(0, 12, (60, 32, 32, 3)), 0, 255
    ).astype(np.uint8)
    for forged in (brighter, flatter, sharper):
        detector, _ = fitted("trivial-cues", real, forged, context)
        assert auc(detector, real, forged) > 0.95


# random


def test_random_scores_are_uniform_and_fixed_by_bytes_and_seed(context, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2000, 8, 8, 3), dtype=np.uint8)
    detector, _ = fitted("random", images[:2], images[2:4], context, seed=5)
    scores = detector.score(images, Compute())
    assert kstest(scores, "uniform").pvalue > 0.01 and len(np.unique(scores)) == 2000
    order = np.random.default_rng(1).permutation(2000)
    assert np.array_equal(detector.score(images[order], Compute()), scores[order])
    changed = images.copy()
    changed[:, 0, 0, 0] ^= 1
    other, _ = fitted("random", images[:2], images[2:4], context, seed=6)
    for fresh in (detector.score(changed, Compute()), other.score(images, Compute())):
        assert abs(np.corrcoef(fresh, scores)[0, 1]) < 0.1
    detector.save(tmp_path)
    loaded = type(detector).load(tmp_path, detector.settings, 8)
    assert np.array_equal(loaded.score(images, Compute()), scores)
    (tmp_path / "seed.json").write_text("[]")
    with pytest.raises(CorruptError, match="has no whole number `seed`"):
        type(detector).load(tmp_path, detector.settings, 8)
