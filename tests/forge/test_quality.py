"""Each quality metric against a closed form or an independent implementation."""

import sys
import types
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.linalg import sqrtm
from scipy.ndimage import convolve, correlate1d, gaussian_filter
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from forge.core.errors import InputError
from forge.faces.imaging.decode import decode, resize
from forge.quality.checks import check_features, check_images
from forge.quality.face_rate import face_rate
from forge.quality.features import extract, extractor
from forge.quality.frechet import BLOCKS, frechet_distance, kernel_distance
from forge.quality.inception import check_weights, inception_distances
from forge.quality.ms_ssim import WEIGHTS, diversity, ms_ssim, scales_for, standard_error
from forge.quality.neighbours import copying, memorisation, nearest, neighbourhood
from forge.quality.obedience import obedience
from forge.quality.result import Share
from forge.quality.sliced_wasserstein import enlarge, shrink, sliced_wasserstein, wasserstein_1
from forge.quality.spectrum import azimuthal_profile, spectrum_distance
from forge.rendering import render_person_images

pytestmark = pytest.mark.e2e


def pictures(count, side=32, seed=0, smooth=2.0):
    """Smooth coloured noise around mid-grey, uint8 [count, side, side, 3]."""
    noise = np.random.default_rng(seed).normal(size=(count, side, side, 3))
    noise = gaussian_filter(noise, (0, smooth, smooth, 0), mode="wrap") if smooth else noise
    return np.clip(np.rint(128 + 40 * noise / noise.std()), 0, 255).astype(np.uint8)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (pictures(16).astype(np.float32), "float32; give uint8"),
        (pictures(16)[..., 0], "square RGB"),
        (pictures(16)[:, :20], "square RGB"),
        (pictures(15), "15 images; measuring needs at least 16"),
        (pictures(16)[:0], "0 images"),
        (pictures(16, side=16), "differ in resolution"),
    ],
)
def test_unusable_images_are_refused_with_the_fix(images, says):
    for metric in (sliced_wasserstein, spectrum_distance):
        with pytest.raises(InputError, match=says):
            metric(images, pictures(16))


def test_unequal_counts_are_refused():
    with pytest.raises(InputError, match="draw the same number"):
        sliced_wasserstein(pictures(17), pictures(16))
    check_images({"a": pictures(17), "b": pictures(16)})


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (np.zeros((20, 3), int), "give floats"),
        (np.zeros((20, 4)), "differ in dimension"),
        (np.zeros((5, 3)), "at least 16"),
        (np.full((20, 3), np.nan), "not finite"),
    ],
)
def test_unusable_features_are_refused(features, says):
    with pytest.raises(InputError, match=says):
        check_features({"a": np.zeros((20, 3)), "b": features})


def test_shares_carry_wilsons_interval():
    n, p, z = 256, 250 / 256, 1.959963984540054
    centre, half = (p + z**2 / 2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    share = Share.of(250, n)
    assert share.low == pytest.approx((centre - half) / (1 + z**2 / n))
    assert share.high == pytest.approx((centre + half) / (1 + z**2 / n))


# --- sliced Wasserstein ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-3, 3))
def test_wasserstein_on_a_grid_is_the_exact_one(seed, scale, shift):
    rng = np.random.default_rng(seed)
    x = (scale * rng.standard_t(4, 500)).astype(np.float32)
    y = (scale * (rng.normal(shift, 1.2, 500))).astype(np.float32)
    assert wasserstein_1(x, y) == pytest.approx(wasserstein_distance(x, y), rel=1e-3)


def test_wasserstein_of_constants():
    assert wasserstein_1(np.ones(9, np.float32), np.ones(9, np.float32)) == 0
    assert wasserstein_1(np.zeros(9, np.float32), np.full(9, 2, np.float32)) == pytest.approx(2)


def test_pyramid_is_that_of_karras():
    image = np.random.default_rng(0).random((1, 16, 16, 3)).astype(np.float32)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    smooth = convolve(image[0], kernel[:, :, None], mode="mirror")
    np.testing.assert_allclose(shrink(image)[0], smooth[::2, ::2], atol=1e-6)
    spread = np.zeros((32, 32, 3))
    spread[::2, ::2] = image[0]
    np.testing.assert_allclose(enlarge(image)[0], convolve(spread, 4 * kernel[:, :, None], mode="mirror"), atol=1e-6)


def test_sliced_wasserstein_against_sorting_all_patches():
    # with patches as large as the image there is one position and nothing random but the directions
    a, b = pictures(64, side=7, seed=1), pictures(64, side=7, seed=2, smooth=1)

    def described(images):
        patches = images.transpose(0, 3, 1, 2).astype(float)
        patches = (patches - patches.mean((0, 2, 3), keepdims=True)) / patches.std((0, 2, 3), keepdims=True)
        return patches.reshape(64, -1)

    axes = np.random.default_rng(5).standard_normal((4000, 147))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    x, y = (np.sort(described(images) @ axes.T, axis=0) for images in (a, b))
    value = sliced_wasserstein(a, b, patches=1, directions=4000)
    assert value.levels.keys() == {7}
    assert value.mean == pytest.approx(1000 * np.abs(x - y).mean(), rel=0.02)


def test_sliced_wasserstein_orders_and_is_deterministic():
    a, b = pictures(200, seed=1), pictures(200, seed=2)
    options = {"patches": 32, "directions": 128}
    same, other = sliced_wasserstein(a, a, **options), sliced_wasserstein(a, b, **options)
    blurred = sliced_wasserstein(pictures(200, seed=2, smooth=3), a, **options)
    assert set(same.levels) == {32, 16} and same.mean == 0
    # a cast common to all images is normalised away
    assert sliced_wasserstein(a // 2 + 60, a // 2, **options).mean == pytest.approx(0, abs=1e-3)
    assert 0 < other.mean < 0.5 * blurred.mean
    assert other == sliced_wasserstein(a, b, **options) != sliced_wasserstein(a, b, seed=1, **options)


def test_sliced_wasserstein_needs_a_patch():
    with pytest.raises(InputError, match="needs at least 7"):
        sliced_wasserstein(pictures(16, side=6), pictures(16, side=6))


# --- spectrum -------------------------------------------------------------------------------------------------------


def test_white_noise_is_flat_at_its_variance():
    grey = np.random.default_rng(0).normal(128, 20, (256, 32, 32, 1))
    images = np.rint(grey).clip(0, 255).astype(np.uint8).repeat(3, axis=3)
    frequencies, profile = azimuthal_profile(images)
    assert len(profile) == len(frequencies) == 23 and frequencies[15] == 0.5
    np.testing.assert_allclose(profile[2:], np.log10((20 / 255) ** 2), atol=0.05)


@pytest.mark.parametrize("cycles", [5, 12, 16])
def test_a_wave_peaks_at_its_frequency(cycles):
    wave = 128 + 100 * np.cos(2 * np.pi * cycles * np.arange(32) / 32)
    images = np.broadcast_to(wave[None, :, None, None], (16, 32, 32, 3)).astype(np.uint8)
    frequencies, profile = azimuthal_profile(images)
    assert frequencies[profile.argmax()] == cycles / 32


def test_spectrum_distance_sees_noise_and_a_factor():
    a = pictures(64)
    assert spectrum_distance(a, a).distance == 0
    noise = np.random.default_rng(0).normal(0, 20, (2, 64, 32, 32, 1)).round().astype(int).repeat(3, axis=4)
    once, twice = ((128 + factor * noise[0]).clip(0, 255).astype(np.uint8) for factor in (1, 2))
    assert spectrum_distance(twice, once).distance == pytest.approx(np.log10(4), abs=0.02)
    assert spectrum_distance(twice, once).reference == spectrum_distance(once, twice).candidate


# --- MS-SSIM --------------------------------------------------------------------------------------------------------


def naive_ms_ssim(a, b, scales):
    a, b = (image.astype(float) @ np.array([0.299, 0.587, 0.114]) for image in (a, b))
    ticks = np.arange(11) - 5
    kernel = np.exp(-(ticks**2) / 4.5)
    kernel /= kernel.sum()

    def smooth(image):
        return correlate1d(correlate1d(image, kernel, 0), kernel, 1)[5:-5, 5:-5]

    weights, value = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales]), 1.0
    for scale in range(scales):
        ma, mb = smooth(a), smooth(b)
        va, vb, ab = smooth(a * a) - ma**2, smooth(b * b) - mb**2, smooth(a * b) - ma * mb
        contrast = (2 * ab + 58.5225) / (va + vb + 58.5225)
        likeness = contrast * (2 * ma * mb + 6.5025) / (ma**2 + mb**2 + 6.5025)
        value *= max((likeness if scale == scales - 1 else contrast).mean(), 0) ** weights[scale]
        if scale < scales - 1:
            a, b = (x.reshape(len(x) // 2, 2, -1, 2).mean((1, 3)) for x in (a, b))
    return value


@pytest.mark.parametrize("side", [16, 64, 176])
def test_ms_ssim_against_a_naive_one(side):
    a = pictures(4, side=side)
    b = (0.7 * a + 0.3 * pictures(4, side=side, seed=1)).astype(np.uint8)
    assert scales_for(side) == {16: 1, 64: 3, 176: 5}[side]
    expected = [naive_ms_ssim(*pair, scales_for(side)) for pair in zip(a, b, strict=True)]
    np.testing.assert_allclose(ms_ssim(a, b), expected, atol=2e-4)
    np.testing.assert_allclose(ms_ssim(a, a), 1, atol=1e-6)


def test_diversity_falls_when_images_repeat():
    varied = pictures(64)
    few = varied[:2].repeat(32, axis=0)
    assert diversity(varied).mean < 0.3 < diversity(few).mean
    assert diversity(varied[:1].repeat(32, axis=0)).mean == pytest.approx(1)
    assert diversity(varied) == diversity(varied) != diversity(varied, seed=1)
    with pytest.raises(InputError, match="at least 11"):
        diversity(pictures(16, side=8))


def test_the_standard_error_of_pairs_that_share_images_is_the_deviation_of_their_mean():
    rng = np.random.default_rng(0)
    means, errors, independent = [], [], []
    for _ in range(400):  # 1,000 pairs of 200 images; a pair's value is the sum of what its images add, and noise
        first = rng.integers(0, 200, 1000)
        second = (first + rng.integers(1, 200, 1000)) % 200
        of_image = rng.normal(0, 1, 200)
        values = of_image[first] + of_image[second] + rng.normal(0, 1, 1000)
        means.append(values.mean())
        errors.append(standard_error(values, first, second))
        independent.append(values.std() / np.sqrt(1000))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)
    assert np.mean(independent) < 0.5 * np.std(means)


# --- features -------------------------------------------------------------------------------------------------------


def test_the_extractor_is_the_named_one_everywhere():
    assert extractor().sha256 == "893990321bbd55275d21ebf43407873c189dcf7603c4cb65603c03d5ba08cbd4"
    assert extractor().dimensions == extract(pictures(2)).shape[1] == 512


def test_features_do_not_depend_on_the_batch():
    images = pictures(70, side=64)
    np.testing.assert_allclose(extract(images)[[3, 69]], extract(images[[3, 69]]), rtol=1e-4, atol=1e-5)


def test_features_of_other_sizes_are_those_of_the_resized_image():
    images = pictures(3, side=96)
    small = np.stack([np.asarray(Image.fromarray(i).resize((64, 64), Image.Resampling.BILINEAR)) for i in images])
    np.testing.assert_array_equal(extract(images), extract(small))


def damaged(images, how, strength):
    rng = np.random.default_rng(0)
    if how == "blur":
        images = gaussian_filter(images.astype(float), (0, strength, strength, 0))
    elif how == "noise":
        images = images + rng.normal(0, strength, images.shape)
    else:
        rows = rng.choice(len(images), strength, replace=False)
        images = images[rows][rng.integers(0, strength, len(images))]
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clean():
    return pictures(150, side=64, seed=1), extract(pictures(150, side=64, seed=2))


@pytest.mark.parametrize(("how", "steps"), [("blur", (0.5, 1, 2)), ("noise", (4, 8, 16)), ("drop", (32, 8, 2))])
def test_more_damage_is_farther_away(clean, how, steps):
    images, other = clean
    away = [frechet_distance(extract(damaged(images, how, strength)), other) for strength in steps]
    assert frechet_distance(extract(images), other) < away[0] < away[1] < away[2]


# --- Fréchet and kernel distance ------------------------------------------------------------------------------------


def exact_cloud(mean, deviations, n=1000, seed=0):
    """Points whose sample mean and covariance are exactly these."""
    points = np.random.default_rng(seed).standard_normal((n, len(mean)))
    points -= points.mean(0)
    points = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
    return points * np.array(deviations) + np.array(mean)


def test_frechet_of_gaussians_in_closed_form():
    a, b = exact_cloud([0, 0, 1], [1, 2, 3]), exact_cloud([1, -2, 1], [2, 2, 0.5], seed=1)
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + (1 - 2) ** 2 + (3 - 0.5) ** 2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("n", [500, 20])  # 20 points in 30 dimensions: singular covariances
def test_frechet_against_scipys_matrix_root(n):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((n, 30)) @ rng.standard_normal((30, 30))
    b = rng.standard_normal((n, 30)) @ rng.standard_normal((30, 30)) + 1
    first, second = np.cov(a.T), np.cov(b.T)
    if n < 30:  # sqrtm wants regular matrices
        root = sum(np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)))
    else:
        root = np.trace(sqrtm(first @ second).real)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_against_a_double_loop():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((18, 5)), rng.standard_normal((20, 5)) + 0.5

    def mean_kernel(x, y, skip_diagonal):
        values = [
            (p @ q / 5 + 1) ** 3 for i, p in enumerate(x) for j, q in enumerate(y) if not (skip_diagonal and i == j)
        ]
        return np.mean(values)

    expected = mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b, False)
    assert kernel_distance(a, b).value == pytest.approx(expected)


def test_kernel_distance_is_unbiased_and_its_error_honest():
    estimates = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        estimates.append(kernel_distance(rng.standard_normal((240, 8)), rng.standard_normal((240, 8)), seed=seed))
    values, errors = (
        np.array([getattr(estimate, name) for estimate in estimates]) for name in ("value", "standard_error")
    )
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(40)
    assert 0.7 < errors.mean() / values.std() < 2
    assert (values < 0).any() and estimates[0].subsets == BLOCKS


# --- neighbours -----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0, 3))
def test_neighbourhood_against_brute_force(seed, k, shift):
    rng = np.random.default_rng(seed)
    fake, real = rng.standard_normal((31, 3)) + shift, rng.standard_normal((40, 3))

    def reach(points):
        return np.sort(cdist(points, points), axis=1)[:, k]  # column 0 is the point itself

    between = cdist(fake, real)
    scores = neighbourhood(fake, real, k=k)
    within = between <= reach(real)
    assert scores.precision == pytest.approx(within.any(1).mean())
    assert scores.density == pytest.approx(within.sum() / k / 31)
    assert scores.coverage == pytest.approx(within.any(0).mean())
    assert scores.recall == pytest.approx((between <= reach(fake)[:, None]).any(0).mean())


def test_neighbourhood_tells_lost_modes_from_lost_quality():
    rng = np.random.default_rng(0)
    real = rng.standard_normal((400, 4))
    narrow, wide = 0.2 * rng.standard_normal((400, 4)), 4 * rng.standard_normal((400, 4))
    assert neighbourhood(narrow, real).precision > 0.95 > 0.3 > neighbourhood(narrow, real).recall
    assert neighbourhood(wide, real).precision < 0.3 < 0.7 < neighbourhood(wide, real).recall
    with pytest.raises(InputError, match="k is 400"):
        neighbourhood(real, real, k=400)


def test_nearest_against_brute_force_and_its_error():
    rng = np.random.default_rng(0)
    queries, points = rng.standard_normal((9, 6)).astype(np.float32), rng.standard_normal((50, 6)).astype(np.float32)
    index, distance = nearest(queries, points, k=3)
    expected = cdist(queries, points)
    np.testing.assert_array_equal(index, expected.argsort(1)[:, :3])
    np.testing.assert_allclose(distance, np.sort(expected, 1)[:, :3], rtol=1e-5)
    with pytest.raises(InputError, match="at most 50"):
        nearest(queries, points, k=51)


def clouds():
    rng = np.random.default_rng(0)
    centres = 4 * rng.standard_normal((3, 6))
    return [centres[rng.integers(0, 3, n)] + rng.standard_normal((n, 6)) for n in (600, 200, 200)]


def test_authenticity_is_zero_for_copies_and_against_brute_force():
    training, fresh, unseen = clouds()
    assert memorisation(training[:100], training).authentic.value == 0
    result = memorisation(fresh, training, held_out=unseen)
    between, within = cdist(fresh, training), cdist(training, training)
    np.fill_diagonal(within, np.inf)
    expected = between.min(1) > within.min(1)[between.argmin(1)]
    assert result.authentic.hits == expected.sum() and 0.3 < result.authentic.value < 0.8
    assert result.median_distance == pytest.approx(np.median(between.min(1)))
    assert result.median_distance_held_out == pytest.approx(np.median(cdist(unseen, training).min(1)))
    assert memorisation(fresh, training).c_t is None


def test_c_t_is_negative_under_copying_and_positive_for_poor_fits():
    training, fresh, unseen = clouds()
    rng = np.random.default_rng(1)
    copies = training[:200] + 0.05 * rng.standard_normal((200, 6))
    half = np.concatenate([copies[:100], fresh[:100]])
    assert copying(copies, unseen, training)[0] < copying(half, unseen, training)[0] < -3
    assert abs(copying(fresh, unseen, training)[0]) < 3
    score, cells = copying(fresh + 3 * rng.standard_normal((200, 6)), unseen, training)
    assert score > 3 and 1 <= cells <= 5


def test_c_t_of_one_cell_is_the_z_score_of_won_pairs():
    training, fresh, unseen = clouds()
    ours, theirs = (cdist(points, training).min(1) for points in (fresh, unseen))
    wins = (ours[:, None] > theirs[None]).sum()
    expected = (wins - 200 * 200 / 2) / np.sqrt(200 * 200 * 401 / 12)
    assert copying(fresh, unseen, training, cells=1) == (pytest.approx(expected), 1)
    assert copying(fresh[:20], unseen[:20], training, cells=500)[1] == 1  # no cell has ten of either: all is one


# --- faces, labels, Inception ---------------------------------------------------------------------------------------


def test_face_rate_is_one_for_faces_and_zero_for_noise():
    people = render_person_images(0, 0, 4, size=144, images_per_person=1)
    faces = np.stack([resize(decode(face.jpeg).image, 64) for face in people])
    rate = face_rate(faces)
    assert rate.at_90.value == 1 and rate.at_95.n == 4 and rate.at_90.low < 0.6
    assert face_rate(pictures(4, side=64), n=2).at_90 == Share.of(0, 2)


def labelled(count, seed, flip=0.0):
    """Pictures with a bright left or right half and its name."""
    rng = np.random.default_rng(seed)
    right = rng.random(count) < 0.5
    images = pictures(count, side=16, seed=seed).astype(int)
    images[right, :, 8:] += 60
    images[~right, :, :8] += 60
    told = right ^ (rng.random(count) < flip)
    return images.clip(0, 255).astype(np.uint8), np.where(told, "right", "left")


def test_obedience_sees_which_labels_are_obeyed():
    train, test = labelled(256, 0), labelled(128, 1)
    good = obedience(*train, *test, *labelled(128, 2), seed=0)
    assert good.accuracy.value > 0.95 and good.agreement.value > 0.95 and 0.4 < good.chance < 0.65
    assert good == obedience(*train, *test, *labelled(128, 2), seed=0)
    bad = obedience(*train, *test, *labelled(128, 2, flip=0.5), seed=0)
    assert bad.accuracy == good.accuracy and bad.agreement.value < 0.65
    hits = [part.agreement.hits for part in bad.classes.values()]
    assert sum(hits) == bad.agreement.hits and set(bad.classes) == {"left", "right"}


def test_obedience_leaves_torchs_random_state_alone_and_refuses_bad_labels():
    images, names = labelled(32, 0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    obedience(images, names, images, names, images, names, seed=0)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(InputError, match="'up' has no training images"):
        obedience(images, names, images, names, images, np.full(32, "up"), seed=0)
    with pytest.raises(InputError, match="one class"):
        obedience(images, np.full(32, "left"), images, names, images, names, seed=0)
    with pytest.raises(InputError, match="one label an image"):
        obedience(images, names, images, names[:5], images, names, seed=0)


@pytest.fixture
def fidelity(monkeypatch):
    """A stand-in for torch-fidelity that remembers what it was asked."""
    requests = {}

    def calculate_metrics(**options):
        requests.update(options)
        return {
            "frechet_inception_distance": 12.5,
            "kernel_inception_distance_mean": 0.01,
            "kernel_inception_distance_std": 0.002,
        }

    monkeypatch.setitem(sys.modules, "torch_fidelity", types.SimpleNamespace(calculate_metrics=calculate_metrics))
    return requests


def test_fid_asks_torch_fidelity_with_the_local_weights(fidelity, tmp_path):
    weights = tmp_path / "inception.pth"
    torch.save({"w": torch.zeros(1)}, weights)
    images = pictures(20)
    distances = inception_distances(images, pictures(20, seed=1), weights=weights, seed=3)
    assert (distances.fid, distances.kid, distances.n, distances.kid_subset_size) == (12.5, 0.01, 20, 20)
    assert fidelity["feature_extractor_weights_path"] == str(weights) and fidelity["cuda"] is False
    assert fidelity["fid"] and fidelity["kid"] and fidelity["rng_seed"] == 3
    given = fidelity["input1"]
    assert len(given) == 20 and given[4].dtype == torch.uint8
    np.testing.assert_array_equal(given[4].permute(1, 2, 0), images[4])


def test_fid_is_computed_on_the_gpu_that_was_named(fidelity, tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: chosen.append(device) or nullcontext())
    weights = tmp_path / "inception.pth"
    torch.save({"w": torch.zeros(1)}, weights)
    inception_distances(pictures(20), pictures(20, seed=1), weights=weights, device="cuda:1")
    assert chosen == [torch.device("cuda:1")] and fidelity["cuda"] is True


def test_fid_refuses_what_is_missing(fidelity, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="is not a file"):
        check_weights(tmp_path / "none.pth")
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match="no plain PyTorch weights"):
        check_weights(tmp_path / "bad.pth")
    torch.save({"code": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(InputError, match="no plain PyTorch weights"):
        check_weights(tmp_path / "trap.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(InputError, match=r"pip install -e '.\[fid\]'"):
        check_weights(tmp_path / "bad.pth")


class Trap:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("this must not run",))
