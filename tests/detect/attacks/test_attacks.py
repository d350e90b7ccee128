"""Attacks: against closed forms of a linear detector, and what each must do to any detector."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Self

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from detect.attacks import ATTACKS
from detect.attacks.apgd import checkpoints
from detect.attacks.apply import apply
from detect.attacks.base import Knowledge
from detect.attacks.patch import window
from detect.attacks.spectrum_match import mean_power, radial
from detect.attacks.square import side_at
from detect.attacks.target import Target
from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary
from detect.detectors.controls import Random
from detect.detectors.registry import DETECTORS
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.progress import silent
from forge.generators import GENERATORS

COMPUTE = Compute("cpu", "fp32")
SHORT = {"apgd": {"steps": 20}, "square": {"queries": 60}, "patch": {"steps": 10}}


class WeightedSum(Detector[DetectorSettings]):
    """Sum of pixels times fixed weights; `blind` hides the gradient."""

    family = "weighted-sum"
    citation = "none, 2026"

    def __init__(self, size: int = 16, *, seed: int = 0, blind: bool = False) -> None:
        super().__init__(DetectorSettings(), size)
        self.weights = np.random.default_rng(seed).normal(0, 1, (size, size, 3))
        self.blind = blind

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        return FitSummary()

    def score(self, images, compute):
        return np.array([(image * self.weights).sum() for image in images.astype(np.float64)]).reshape(-1)

    def score_function(self, compute):
        weights = torch.from_numpy(self.weights)
        return None if self.blind else lambda pixels: (pixels.double() * weights).sum((1, 2, 3))

    def save(self, directory: Path) -> None:
        np.save(directory / "weights.npy", self.weights)

    @classmethod
    def load(cls, directory: Path, settings: DetectorSettings, resolution: int) -> Self:
        raise NotImplementedError


def images(count: int = 6, size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def made(name: str, **options):
    implementation = ATTACKS.load(name)
    return implementation(implementation.Settings(**(SHORT.get(name, {}) | options)))


def best_linf(pixels: np.ndarray, weights: np.ndarray, epsilon: int, sign: int) -> np.ndarray:
    """The lowest or highest weighted sum of images within a budget: every value at its end."""
    return np.clip(pixels.astype(int) - sign * epsilon * np.sign(weights).astype(int), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("aim", ["evade", "frame"])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd"])
def test_gradient_attacks_reach_the_optimum_of_a_linear_detector(name: str, aim: str) -> None:
    detector, pixels = WeightedSum(), images()
    result = apply(made(name), pixels, Target(detector, COMPUTE, aim), name=name, epsilon=4)
    assert np.array_equal(result.images, best_linf(pixels, detector.weights, 4, 1 if aim == "evade" else -1))
    assert result.largest == 4 and result.changed == 1 and result.flat == 0 and result.differentiated >= 1
    # no change of more than 4 grey levels has a lower ratio
    assert result.psnr >= 20 * np.log10(255 / 4) - 1e-9


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_in_l2_they_go_along_the_weights(name: str) -> None:
    detector, pixels = WeightedSum(), np.full((3, 16, 16, 3), 128, np.uint8)
    result = apply(made(name, norm="l2"), pixels, Target(detector, COMPUTE), name=name, epsilon=6)
    changes = result.images.astype(float) - pixels
    assert np.sqrt((changes**2).mean((1, 2, 3))).max() <= 6
    best = -6 * detector.weights / np.sqrt((detector.weights**2).mean())
    gained, possible = (changes * detector.weights).sum((1, 2, 3)), (best * detector.weights).sum()
    assert (gained / possible).min() > {"pgd": 0.95, "apgd": 0.99}[name]


def test_square_finds_by_scores_alone_much_of_what_the_gradient_shows() -> None:
    # weights of one sign per channel: squares of one colour can follow them
    detector, pixels = WeightedSum(blind=True), np.full((4, 16, 16, 3), 128, np.uint8)
    detector.weights = np.abs(detector.weights) * [1, -1, 1]
    possible = detector.score(pixels, COMPUTE) - detector.score(best_linf(pixels, detector.weights, 4, 1), COMPUTE)
    shares = []
    for queries in (30, 300):
        result = apply(made("square", queries=queries), pixels, Target(detector, COMPUTE), name="square", epsilon=4)
        shares.append((detector.score(pixels, COMPUTE) - detector.score(result.images, COMPUTE)) / possible)
        assert result.largest == 4 and result.scored == queries + 1 and result.differentiated == 0
    assert shares[1].min() > 0.5 and shares[1].mean() > shares[0].mean() + 0.1


def test_sides_of_squares_fall_as_published_and_stay_inside_the_image() -> None:
    # p = 0.8 halves after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000 queries
    sides = [side_at(query, 10_000, 0.8, 32, 32) for query in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)]
    assert sides == [round((0.8 / 2**n * 1024) ** 0.5) for n in (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
    assert side_at(0, 500, 1.0, 8, 8) == 7


def test_checkpoints_of_apgd_are_the_published_ones() -> None:
    # shares 0, .22, then p + max(p - previous - .03, .06)
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9, 10, 10]


def test_a_patch_changes_one_square_of_its_area_at_the_strongest_window() -> None:
    detector, pixels = WeightedSum(size=20), images(size=20)
    detector.weights[5:7, 11:13] *= 50
    result = apply(made("patch"), pixels, Target(detector, COMPUTE), name="patch")
    changed = (result.images != pixels).any(3)
    assert {tuple(np.unique(where)) for where in np.argwhere(changed)[:, 1:].T} == {(5, 6), (11, 12)}
    lowest = np.where(detector.weights > 0, 0, 255)[5:7, 11:13]
    assert (result.images[:, 5:7, 11:13] == lowest).all()


def test_the_window_of_a_patch_is_that_of_a_search_over_all_places() -> None:
    gradient = torch.randn(3, 12, 10, 3, generator=torch.Generator().manual_seed(0))
    inside = window(gradient, 0.1)
    strength = gradient.abs().sum(3)
    for image, chosen in zip(strength, inside[..., 0], strict=True):
        sums = {(y, x): float(image[y : y + 3, x : x + 3].sum()) for y in range(10) for x in range(8)}
        y, x = max(sums, key=sums.get)
        assert chosen.sum() == 9 and (chosen[y : y + 3, x : x + 3] == 1).all()


def test_matched_images_have_the_mean_power_of_the_other_class(sets) -> None:
    real, forged = sets[0].view("train"), sets[1].view("train")
    attack = made("spectrum-match")
    attack.learn(Knowledge(real=real, forged=forged))
    target = Target(WeightedSum(32), COMPUTE)
    before, after = forged.read(), apply(attack, forged.read(), target, name="spectrum-match").images
    wanted = mean_power(real).numpy()

    def distance(pixels: np.ndarray) -> float:
        power = (np.abs(np.fft.rfft2(pixels.transpose(0, 3, 1, 2), norm="ortho")) ** 2).mean(0)
        return float(np.abs(np.log((power + 1) / (wanted + 1))).mean())

    # the checkerboard is at the highest frequency; rounding and clipping leave the rest
    assert distance(after) < 0.1 * distance(before)
    framed = apply(attack, real.read(), Target(WeightedSum(32), COMPUTE, "frame"), name="spectrum-match").images
    assert (
        np.abs(np.diff(framed.astype(int), axis=2)).mean() > 2 * np.abs(np.diff(real.read().astype(int), axis=2)).mean()
    )


def test_a_gain_by_radius_is_one_for_each_ring() -> None:
    source = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 12, 12, generator=source)
    power = torch.fft.rfft2(image, norm="ortho").abs().square()[0]
    rings = radial(power)
    # over the whole plane, where every frequency stands once
    whole = torch.fft.fft2(image, norm="ortho").abs().square()[0]
    rows = torch.fft.fftfreq(12, 1 / 12)
    radius = torch.hypot(rows[:, None], rows[None]).round()
    for number in radius.unique():
        here = radius[:, :7] == number
        torch.testing.assert_close(rings[0][here], whole[0][radius == number].mean().expand(int(here.sum())))


def test_a_surrogate_is_attacked_in_place_of_the_detector() -> None:
    surrogate, detector, pixels = WeightedSum(seed=1), WeightedSum(seed=2, blind=True), images()
    attack = made("transfer")
    attack.learn(Knowledge(surrogate=SimpleNamespace(detector=surrogate)))
    target = Target(detector, COMPUTE)
    result = apply(attack, pixels, target, name="transfer", epsilon=2)
    assert np.array_equal(result.images, best_linf(pixels, surrogate.weights, 2, 1))
    assert target.scored == target.differentiated == 0  # the attacked detector is asked nothing


def test_latents_move_at_their_length_and_lower_the_score() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 3 * 16**2), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 16, 16)))
    begin = torch.randn(5, 6)
    seen: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        pixels = ((network(begin) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    known = {image.tobytes(): latent for image, latent in zip(pixels, begin, strict=True)}
    attack, detector = made("latent"), WeightedSum()
    attack.learn(
        Knowledge(
            generator=SimpleNamespace(generator=lambda **_: network),
            latents=lambda images: torch.stack([known[image.tobytes()] for image in images]),
        )
    )
    result = apply(attack, pixels, Target(detector, COMPUTE), name="latent")
    assert (detector.score(result.images, COMPUTE) < detector.score(pixels, COMPUTE)).all()
    # every latent that was tried has the length that it began with
    for tried in seen:
        torch.testing.assert_close(tried.norm(dim=1), begin.norm(dim=1), rtol=1e-4, atol=0)
    assert np.array_equal(apply(attack, pixels, Target(detector, COMPUTE), name="latent").images, result.images)


def test_laundered_images_are_those_an_autoencoder_gives_back() -> None:
    vae = GENERATORS.load("vae")
    architecture = vae(vae.Settings(widths=(8, 8), latent=4), 16)
    torch.manual_seed(0)
    network = architecture.generator().eval()
    trained = SimpleNamespace(generator=lambda **_: network, card=SimpleNamespace(name="vae"))
    attack, pixels = made("launder"), images()
    attack.learn(Knowledge(autoencoder=trained))
    result = apply(attack, pixels, Target(WeightedSum(), COMPUTE), name="launder").images
    with torch.no_grad():
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        expected = ((network.decode(network.encode(inputs)).clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1)
    assert np.abs(result.astype(int) - expected.numpy().astype(int)).max() <= 1


@pytest.fixture(scope="module")
def fitted(sets, tmp_path_factory):
    """A small network that separates both classes."""
    implementation = DETECTORS.load("meso4")
    settings = implementation.Settings(max_images=960, batch=16, learning_rate=0.005, validate_every=480)
    detector = implementation(settings, 32)
    views = [faces.view(split) for split in ("train", "val") for faces in sets]
    detector.fit(FitData(*views), FitContext(0, COMPUTE, tmp_path_factory.mktemp("work"), silent))
    return detector


def auc(detector, real: np.ndarray, forged: np.ndarray) -> float:
    scores = detector.score(np.concatenate([real, forged]), COMPUTE)
    return float(roc_auc_score(np.repeat([0, 1], [len(real), len(forged)]), scores))


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd", "square", "patch"])
def test_forgeries_of_a_network_that_separates_both_classes_score_lower(name: str, fitted, sets) -> None:
    real, forged = (faces.view("test").read() for faces in sets)
    assert auc(fitted, real, forged) > 0.95
    epsilon = 16 if ATTACKS.load(name).budget == "levels" else None
    result = apply(made(name), forged, Target(fitted, COMPUTE), name=name, epsilon=epsilon)
    before, after = fitted.score(forged, COMPUTE), fitted.score(result.images, COMPUTE)
    assert after.mean() < before.mean()
    if name in ("fgsm", "pgd", "apgd"):
        assert auc(fitted, real, result.images) < 0.8
    if name != "fgsm":  # which takes its one step whether or not it helps
        assert (after <= before).all()


def test_more_steps_and_larger_budgets_find_lower_scores(fitted, sets) -> None:
    forged = sets[1].view("test").read()

    def mean(name: str, epsilon: float, **options) -> float:
        result = apply(made(name, **options), forged, Target(fitted, COMPUTE), name=name, epsilon=epsilon)
        return float(fitted.score(result.images, COMPUTE).mean())

    by_budget = [mean("pgd", epsilon) for epsilon in (1, 2, 4, 8)]
    assert by_budget == sorted(by_budget, reverse=True)
    assert mean("apgd", 4, steps=50) <= mean("pgd", 4, steps=20) + 0.02 <= mean("fgsm", 4) + 0.04
    assert mean("pgd", 4, restarts=3) <= mean("pgd", 4)


def test_square_stops_at_forgeries_that_look_more_real_than_most_real_images(sets) -> None:
    real, forged, detector = sets[0].view("train"), sets[1].view("test").read()[:40], WeightedSum(32, blind=True)
    detector.weights = np.abs(detector.weights) * [1, -1, 1]

    def attacked(aim="evade", **options):
        method = made("square", queries=100, **options)
        method.learn(Knowledge(real=real))
        return apply(method, forged, Target(detector, COMPUTE, aim), name="square", epsilon=16)

    whole, short = attacked(stop_quantile=None), attacked(stop_quantile=0.8)
    start, before, after = (detector.score(pixels, COMPUTE) for pixels in (forged, whole.images, short.images))
    goal = np.quantile(detector.score(real.read(), COMPUTE), 0.2)
    there, done = start <= goal, after <= goal
    assert 0 < there.sum() < done.sum() < 40
    assert (after[there] == start[there]).all()  # no query changes them
    assert (after[~done] == before[~done]).all()  # the whole search
    assert (before <= after).all() and short.scored < 0.9 * whole.scored
    framed = [attacked("frame", stop_quantile=quantile).images for quantile in (None, 0.8)]
    assert np.array_equal(*framed)  # forged images are not what real ones are compared with


@pytest.mark.parametrize("name", ["pgd", "apgd", "square", "patch"])
def test_the_same_seed_gives_the_same_images(name: str, fitted, sets) -> None:
    forged, epsilon = sets[1].view("test").read()[:6], 4 if ATTACKS.load(name).budget == "levels" else None

    def attacked(seed: int) -> np.ndarray:
        return apply(made(name), forged, Target(fitted, COMPUTE), name=name, epsilon=epsilon, seed=seed).images

    assert np.array_equal(attacked(0), attacked(0))
    assert name == "patch" or not np.array_equal(attacked(0), attacked(1))


@pytest.mark.parametrize("epsilon", [0, -1, 0.5, 256, float("nan"), None])
def test_impossible_budgets_are_refused(epsilon) -> None:
    with pytest.raises(InputError, match="from 1 to 255"):
        apply(made("pgd"), images(), Target(WeightedSum(), COMPUTE), name="pgd", epsilon=epsilon)


def test_a_detector_without_a_gradient_is_refused_with_what_to_use() -> None:
    with pytest.raises(InputError, match="square or transfer"):
        apply(made("pgd"), images(), Target(WeightedSum(blind=True), COMPUTE), name="pgd", epsilon=4)
    with pytest.raises(ValueError, match="no gradient"):
        Target(WeightedSum(blind=True), COMPUTE).gradients(torch.zeros(1, 16, 16, 3))


def test_a_constant_detector_has_flat_gradients_and_keeps_its_images() -> None:
    detector, pixels = WeightedSum(), images()
    detector.weights[:] = 0
    result = apply(made("pgd"), pixels, Target(detector, COMPUTE), name="pgd", epsilon=4)
    assert np.array_equal(result.images, pixels)
    assert result.flat == 1 and result.changed == 0 and result.facts()["psnr"] is None


def test_what_an_attack_needs_must_be_there() -> None:
    for name, sentence in (
        ("spectrum-match", "real images"),
        ("transfer", "surrogate"),
        ("launder", "autoencoder"),
        ("latent", "latents"),
    ):
        with pytest.raises(InputError, match=sentence):
            made(name).learn(Knowledge())


def test_no_images_stay_no_images() -> None:
    for name in ("fgsm", "pgd", "apgd", "square"):
        result = apply(made(name), images()[:0], Target(WeightedSum(), COMPUTE), name=name, epsilon=4)
        assert result.images.shape == (0, 16, 16, 3) and result.changed == 0


def test_a_random_score_has_no_gradient_to_follow() -> None:
    assert not Target(Random(DetectorSettings(), 16), COMPUTE).differentiable


@pytest.mark.parametrize("name", sorted(ATTACKS.entries))
def test_an_attack_says_what_it_is_and_describes_every_setting(name: str) -> None:
    attack = ATTACKS.load(name)
    assert attack.__doc__ and any(year in attack.citation for year in ("19", "20"))
    assert attack.access in ("gradients", "scores", "nothing") and attack.budget in ("levels", "none")
    assert all(field.description for field in attack.Settings.model_fields.values())
