"""Forgeries as training images: known answers for copies of the truth, for shuffled labels, and for none."""

import numpy as np
import pytest
import torch

from forge.quality.metric import AllImages, Labels, Sides
from forge.quality.result import SeedMean
from forge.quality.usefulness import FEWEST, RATIO, UsefulnessMetric, _counts, usefulness

pytestmark = pytest.mark.e2e


def halves(count, seed, *, strength=5):
    """Noise with one half a little brighter, and its name: easy with a thousand examples, hard with fifty."""
    rng = np.random.default_rng(seed)
    right = np.arange(count) % 2 == 1
    images = rng.integers(40, 200, (count, 16, 16, 3)) + rng.integers(-30, 30, (count, 1, 1, 3))
    images[right, :, 8:] += strength
    images[~right, :, :8] += strength
    return images.clip(0, 255).astype(np.uint8), np.where(right, "right", "left")


@pytest.fixture(scope="module")
def sides():
    return *halves(600, 0), *halves(400, 1)


@pytest.fixture(scope="module", autouse=True)
def short():
    """Trainings of 50 steps on images as small as they are: the task is easier than faces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forge.quality.usefulness.SIDE", 16)
        patch.setattr("forge.quality.usefulness._steps", lambda images: 50)
        yield


@pytest.fixture(scope="module")
def perfect(sides, short):
    """What forgeries get that are drawn as the real images are."""
    return usefulness(*sides, *halves(1200, 2), seed=0, sizes=(50, 2000))


def test_forgeries_like_the_reals_replace_them_and_help_where_these_are_few(perfect):
    assert (perfect.labels, perfect.chance, perfect.n, perfect.n_test) == (["left", "right"], 0.5, 600, 400)
    assert perfect.reals.value > 0.8 and abs(perfect.difference.value) < 0.06
    balanced, unbalanced = perfect.gains  # there are not 2,000 reals
    assert (balanced.reals, balanced.ratio, balanced.forgeries) == (50, 1, 1000)
    assert (unbalanced.reals, unbalanced.ratio, unbalanced.forgeries) == (50, RATIO, 40)
    assert balanced.gain.low > 0 and balanced.gain.value > 0.1
    for gain in perfect.gains:
        paired = np.subtract(gain.augmented.seeds, gain.without.seeds)
        assert gain.gain.seeds == pytest.approx(paired.tolist())


@pytest.mark.slow  # trains as many classifiers as all other tests here together
def test_forgeries_with_shuffled_labels_teach_nothing(sides, perfect):
    images, labels = halves(1200, 2)
    shuffled = usefulness(*sides, images, np.random.default_rng(0).permutation(labels), seed=0, sizes=(50,))
    assert abs(shuffled.forgeries.value - 0.5) < 0.12 and shuffled.difference.high < 0
    balanced, unbalanced = shuffled.gains
    assert balanced.gain.value < 0
    # where a label has five images, any others keep the classifier from learning them by heart: less than true ones
    assert unbalanced.gain.value < perfect.gains[1].gain.value - 0.05


def test_results_depend_on_the_seed_and_not_on_the_order_of_images(sides, monkeypatch):
    monkeypatch.setattr("forge.quality.usefulness._steps", lambda images: 4)
    images, labels, *test = (values[:200] for values in sides)
    forged, order = halves(400, 2), np.random.default_rng(0).permutation(200)
    state = torch.get_rng_state()
    results = usefulness(images, labels, *test, *forged, seed=0, sizes=())
    assert torch.equal(state, torch.get_rng_state())
    assert usefulness(images[order], labels[order], *test, *forged, seed=0, sizes=()) == results
    assert usefulness(images, labels, *test, *forged, seed=1, sizes=()).reals.seeds != results.reals.seeds


def test_interval_of_a_mean_over_seeds_is_students():
    # 1, 2, 3: deviation 1, t(2 degrees, 97.5 %) = 4.3027
    mean = SeedMean.of([1.0, 2.0, 3.0])
    assert (mean.value, mean.high - mean.value) == (2.0, pytest.approx(4.3027 / np.sqrt(3), abs=1e-4))
    assert mean.value - mean.low == pytest.approx(mean.high - mean.value)


@pytest.mark.parametrize(("total", "labels"), [(50, 2), (200, 2), (1000, 3), (50, 10)])
def test_sets_have_the_asked_size_and_balance(total, labels):
    balanced = _counts(total, labels, 0, 1)
    assert max(balanced) == min(balanced) and abs(sum(balanced) - total) <= labels / 2
    counts = _counts(total, labels, 1, RATIO)
    assert counts[1] == min(counts) >= 1 and abs(sum(counts) - total) <= labels
    assert counts[0] == pytest.approx(RATIO * counts[1], rel=0.5)


def test_what_has_no_labels_of_its_own_is_not_measured(sides, monkeypatch):
    metric, (real, labels, test, of_test) = UsefulnessMetric(), sides
    monkeypatch.setattr("forge.quality.usefulness.usefulness", lambda *images, **settings: "measured")

    def measured(given, *, wanted=True, held_out=test):
        return metric.measure(
            Sides(real, real, real, test, AllImages(real, real, held_out), {"side": given}, usefulness=wanted)
        )

    given = Labels(labels, labels, of_test)
    assert measured(given) == {"side": "measured"}
    assert measured(given, wanted=False) == measured(given, held_out=None) == {}
    assert measured(Labels(labels, labels, of_test, inherited=True)) == {}
    assert measured(Labels(np.full(600, ""), labels, of_test)) == {}
    monkeypatch.undo()
    # a label with fewer images than each classifier needs
    rare = np.where(np.arange(600) < FEWEST - 1, "right", "left")
    assert measured(Labels(rare, labels, of_test)) == {}
