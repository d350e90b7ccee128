"""Ranks of many detectors against the worked example of Demšar 2006, scipy, and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.evaluation import ranks
from forge.core.errors import InputError

# AUCs of four decision trees on 14 data sets: table 6 of Demšar 2006, whose last two values of the data set voting
# are printed alike (0.975) and ranked 2 and 3
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.975, 0.9749], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_friedman_gives_the_worked_example():
    result = ranks.friedman(DEMSAR)
    assert result.mean_ranks.round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    n, k = DEMSAR.shape
    chi2 = 12 * n / (k * (k + 1)) * ((result.mean_ranks**2).sum() - k * (k + 1) ** 2 / 4)
    assert round(chi2, 2) == 9.28 and round((n - 1) * chi2 / (n * (k - 1) - chi2), 2) == 3.69  # printed, without ties
    expected = stats.friedmanchisquare(*DEMSAR.T)  # with ties
    assert result.chi2 == pytest.approx(expected.statistic) and result.p == pytest.approx(expected.pvalue)
    assert result.f == pytest.approx(13 * result.chi2 / (42 - result.chi2)) and result.p_f < result.p < 0.05


def test_critical_differences_are_those_printed():
    assert ranks.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert ranks.critical_difference(4, 14, alpha=0.1) == pytest.approx(1.12, abs=0.005)
    # q of .05 in his table 5, for 2 to 10 classifiers
    printed = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for k, q in enumerate(printed, start=2):
        assert ranks.critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=0.0015)


def test_friedman_keeps_its_level_and_finds_a_difference():
    rng = np.random.default_rng(0)
    p = [ranks.friedman(rng.normal(size=(12, 5))).p_f for _ in range(1000)]
    assert 0.035 < np.mean(np.array(p) < 0.05) < 0.065
    assert ranks.friedman(rng.normal(size=(12, 5)) + 2 * np.arange(5)).p_f < 0.001


def test_friedman_without_any_order_and_with_one_order_everywhere():
    tied = ranks.friedman(np.ones((3, 4)))
    assert (tied.chi2, tied.p, tied.p_f) == (0, 1, 1) and tied.mean_ranks.tolist() == [2.5] * 4
    same = ranks.friedman(np.tile([0.9, 0.8, 0.7], (5, 1)))
    assert same.f == math.inf and same.p_f == 0 and same.chi2 == pytest.approx(10)  # N (k - 1)
    assert ranks.friedman([[0.9, 0.8]]).p_f == 1  # one test set decides nothing


def test_shared_ranks_follow_the_leader_and_not_the_chain():
    apart = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool)  # 0 = 1, 1 = 2, 0 > 2
    assert ranks.shared_ranks([0.9, 0.8, 0.7], apart) == [1, 1, 3]
    assert ranks.rank_intervals([0.9, 0.8, 0.7], apart) == [(1, 2), (1, 3), (2, 3)]
    assert ranks.shared_ranks([0.7, 0.9], [[0, 0], [0, 0]]) == [1, 1]


def test_rank_intervals_hold_the_true_ranks():
    """Five detectors of known quality, tests of all pairs after Holm: all true ranks inside in 95 % of studies."""
    from benchmarks.evaluation.delong import holm

    rng, truth, error = np.random.default_rng(1), np.array([3.0, 2.5, 2.4, 1.0, 0.9]), 0.3
    pairs = [(i, j) for i in range(5) for j in range(i)]
    inside = 0
    for _ in range(1000):
        seen = rng.normal(truth, error)
        z = [abs(seen[i] - seen[j]) / (error * math.sqrt(2)) for i, j in pairs]
        apart = np.zeros((5, 5), dtype=bool)
        for (i, j), p in zip(pairs, holm([2 * stats.norm.sf(value) for value in z]), strict=True):
            apart[i, j] = apart[j, i] = p < 0.05
        inside += all(low <= rank <= high for rank, (low, high) in enumerate(ranks.rank_intervals(seen, apart), 1))
    assert inside / 1000 >= 0.93


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ranks.friedman([[0.9], [0.8]]), "two detectors or more"),
        (lambda: ranks.friedman([[0.9, math.nan]]), "none may miss"),
        (lambda: ranks.critical_difference(1, 5), "needs two detectors"),
        (lambda: ranks.shared_ranks([1, 2], [[0, 1], [0, 0]]), "symmetric table of 2 x 2"),
        (lambda: ranks.rank_intervals([1, 2], [[0]]), "symmetric table of 2 x 2"),
    ],
)
def test_what_cannot_be_ranked_is_said(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
