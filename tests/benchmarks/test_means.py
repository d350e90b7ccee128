"""Means over generators and seeds: against paired DeLong, the definition, and simulated studies."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from benchmarks.evaluation import delong, means
from benchmarks.evaluation.interval import Interval
from forge.core.errors import InputError

pytestmark = pytest.mark.e2e


def shift(auc):
    return NormalDist().inv_cdf(auc) * math.sqrt(2)


def study(rng, n, auc, *, generators=3, detectors=1, skill=0.6):
    """Scores [detectors][generators] of n reals that all share and n forgeries of each generator, and their units.

    What makes an image hard is common to the detectors, `skill` of the variance.
    """
    real = rng.normal(size=n)
    outcomes = []
    forged = [rng.normal(size=n) for _ in range(generators)]
    for _ in range(detectors):
        own = math.sqrt(1 - skill)
        of_real = math.sqrt(skill) * real + own * rng.normal(size=n)
        rows = []
        for generator in forged:
            of_forged = math.sqrt(skill) * generator + own * rng.normal(size=n) + shift(auc)
            rows.append(np.concatenate([of_real, of_forged]))
        outcomes.append(rows)
    label = np.repeat([0, 1], n)
    units = [np.concatenate([np.arange(n), n * (g + 1) + np.arange(n)]) for g in range(generators)]
    return label, outcomes, units


def estimates(label, scores, units, choose=delong.auc_interval):
    values = [delong.components(label, score).auc for score in scores]
    influences = [means.influence(label, score) for score in scores]
    intervals = [choose(label, score) for score in scores]
    return means.estimates_of(values, intervals, means.covariance(units, influences))


def test_influence_squared_is_delongs_variance():
    rng = np.random.default_rng(0)
    label, score = rng.permutation(np.repeat([0, 1], [40, 25])), rng.integers(0, 9, 65)
    influences = means.influence(label, score)
    assert (influences**2).sum() == pytest.approx(delong.delong_variance(label, score))
    assert influences[label == 1].sum() == pytest.approx(0) and influences[label == 0].sum() == pytest.approx(0)


def test_a_difference_is_the_paired_delong_test():
    rng = np.random.default_rng(1)
    label, ((a,), (b,)), (unit,) = study(rng, 300, 0.8, generators=1, detectors=2)
    difference = means.combine(estimates(label, [a, b], [unit, unit], delong.auc_delong), [1, -1])
    expected = delong.delong_paired(label, a, b)
    assert difference.value == pytest.approx(expected.difference)
    assert (difference.low, difference.high) == pytest.approx((expected.interval.low, expected.interval.high))
    assert difference.p == pytest.approx(expected.p)


def test_covariance_is_a_sum_over_what_both_have_seen():
    rng = np.random.default_rng(2)
    units = [rng.integers(0, 20, 30), rng.integers(10, 40, 50)]
    adds = [rng.normal(size=30), rng.normal(size=50)]
    covariance = means.covariance(units, adds)
    for i in range(2):
        for j in range(2):
            direct = sum(adds[i][units[i] == unit].sum() * adds[j][units[j] == unit].sum() for unit in range(40))
            assert covariance[i, j] == pytest.approx(direct)


def slow(*values):
    """A case of a simulated study that `make test-slow` runs."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("n", "auc"), [(50, 0.8), slow(500, 0.8), (50, 0.99), slow(500, 0.99)])
def test_coverage_of_a_mean_over_generators(n, auc):
    """800 studies of three generators that share their reals; Newcombe's ends are conservative at .99 and n = 50."""
    rng, covered, studies = np.random.default_rng(n), 0, 800
    for _ in range(studies):
        label, (scores,), units = study(rng, n, auc)
        combined = means.combine(estimates(label, scores, units), [1 / 3] * 3)
        covered += combined.low <= auc <= combined.high
    assert 0.93 <= covered / studies <= (0.97 if auc < 0.9 else 0.99)


@pytest.mark.parametrize(("n", "auc"), [(50, 0.8), slow(500, 0.8), slow(500, 0.99)])
def test_coverage_and_level_of_a_difference_of_means(n, auc):
    rng, covered, rejected, studies = np.random.default_rng(n + 1), 0, 0, 500
    for _ in range(studies):
        label, (a, b), units = study(rng, n, auc, detectors=2)
        combined = means.combine(estimates(label, a + b, units * 2), [1 / 3] * 3 + [-1 / 3] * 3)
        covered += combined.low <= 0 <= combined.high
        rejected += combined.p < 0.05
        assert (combined.p < 0.05) == (not combined.low <= 0 <= combined.high)
    assert 0.93 <= covered / studies <= 0.99 and rejected == studies - covered


def test_people_who_repeat_widen_the_interval():
    """Four photos of each of 100 people, half of the variance within a person: as many people, not photos, count."""
    rng, ratios = np.random.default_rng(3), []
    label = np.repeat([0, 1], 400)
    for _ in range(20):
        person = np.repeat(rng.normal(size=100), 4) * math.sqrt(0.5)
        score = np.concatenate([person + rng.normal(size=400) * math.sqrt(0.5), rng.normal(size=400) + 1])
        adds = means.influence(label, score)
        people = np.concatenate([np.repeat(np.arange(100), 4), 1000 + np.arange(400)])
        ratios.append(means.covariance([people], [adds])[0, 0] / means.covariance([np.arange(800)], [adds])[0, 0])
    # variance of a mean of 4 correlated by .5 is 2.5 times that of independent ones, in the half the reals make
    assert np.mean(ratios) == pytest.approx(1 + 1.5 / 2, abs=0.2)


def test_perfect_separation_is_not_certainty():
    label, perfect = np.repeat([0, 1], 300), np.repeat([0.0, 1.0], 300)
    units = [np.arange(600), np.concatenate([np.arange(300), 600 + np.arange(300)])]
    combined = estimates(label, [perfect, perfect], units)
    alone = delong.auc_newcombe(1, 300, 300)
    mean = means.combine(combined, [0.5, 0.5])
    assert mean.value == 1 and mean.low == pytest.approx(alone.low)  # shared reals: the mean is no surer than one
    difference = means.combine(combined, [1, -1])
    assert difference.low < 0 < difference.high and difference.p == 1


@pytest.mark.parametrize(("own", "n"), [(0.0, 200), (0.03, 200), slow(0.03, 2000), slow(0.1, 200)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_coverage_over_seeds(seeds, own, n):
    """Each seed's run has a quality of its own, spread `own` around the truth; all seeds share the reals."""
    rng, covered, studies = np.random.default_rng(seeds), 0, 1000
    for _ in range(studies):
        # normal AUCs with the covariance of DeLong's theory: a shared part (reals) and one a seed (forgeries)
        image = 0.25 / n
        value = 0.8 + own * rng.normal(size=seeds) + math.sqrt(image / 2) * (rng.normal() + rng.normal(size=seeds))
        covariances = np.full((seeds, seeds), image / 2) + np.eye(seeds) * image / 2
        half = 1.959964 * math.sqrt(image)
        combined = means.over_seeds(means.Estimates(value, value - half, value + half, covariances), np.eye(seeds))
        covered += combined.low <= 0.8 <= combined.high
    assert 0.92 <= covered / studies <= 0.985


def test_one_seed_has_the_chance_of_images_alone():
    covariances = np.array([[1e-4]])
    combined = means.over_seeds(means.Estimates(np.array([0.8]), np.array([0.78]), np.array([0.82]), covariances), [1])
    assert (combined.sd, combined.share, combined.seeds) == (None, None, 1)
    assert (combined.low, combined.high) == pytest.approx((0.78, 0.82))


def test_seeds_that_differ_widely_show_in_sd_and_share():
    value = np.array([0.7, 0.8, 0.9])
    covariances = np.eye(3) * 1e-6
    combined = means.over_seeds(means.Estimates(value, value - 0.002, value + 0.002, covariances), np.eye(3))
    assert combined.sd == pytest.approx(0.1) and combined.share > 0.99
    assert combined.high - combined.value == pytest.approx(4.303 * 0.1 / math.sqrt(3), rel=0.01)  # t with 2 degrees


def test_a_detectable_difference_is_found_four_times_in_five():
    error = 0.01
    size = means.detectable([error])
    rng = np.random.default_rng(4)
    combined = np.abs(rng.normal(size, error, 20000)) > 1.959964 * error
    assert combined.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: means.covariance([np.arange(3)], [np.arange(2.0)]), "same rows"),
        (lambda: means.combine(means.Estimates(*np.zeros((3, 1)), np.eye(1)), [1, 1]), "2 weights for 1"),
        (lambda: means.estimates_of([0.5], [], np.eye(1)), "one interval per value"),
        (lambda: means.estimates_of([0.5] * 2, [Interval(0, 1, "", 0.9), Interval(0, 1, "", 0.95)], np.eye(2)),
         "of one level"),
        (lambda: means.detectable([]), "needs standard errors"),
    ],
)  # fmt: skip
def test_what_cannot_be_averaged_is_said(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
