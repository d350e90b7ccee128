"""Intervals and paired tests against direct definitions, other solvers, symmetry and simulated coverage."""

import itertools
import math
import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from benchmarks.evaluation import bootstrap, delong, proportions, resampling, roc
from benchmarks.evaluation.interval import wilson
from forge.core.errors import InputError

NORMAL = NormalDist()


def gaussian(rng, n_forged, n_real, *, auc):
    """A set whose true AUC is known: unit normals, forged ones shifted."""
    label = np.repeat([1, 0], [n_forged, n_real])
    return label, rng.normal(size=label.size) + label * NORMAL.inv_cdf(auc) * math.sqrt(2)


def identities(rng, people, photos, *, auc, n_forged=300):
    """Reals that share half of their variance within a person; forgeries on their own. The true AUC is as asked."""
    person = np.repeat(np.arange(people), photos)
    real = rng.normal(size=people)[person] * math.sqrt(0.5) + rng.normal(size=person.size) * math.sqrt(0.5)
    forged = rng.normal(size=n_forged) + NORMAL.inv_cdf(auc) * math.sqrt(2)
    label = np.repeat([0, 1], [real.size, forged.size])
    return label, np.concatenate([real, forged]), np.concatenate([person, -1 - np.arange(n_forged)])


def components(label, score):
    """DeLong's structural components from their definition, pair by pair."""
    forged, real = score[label == 1], score[label == 0]
    psi = (forged[:, None] > real) + 0.5 * (forged[:, None] == real)
    return psi.mean(axis=1), psi.mean(axis=0)


# --- DeLong -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_delong_variance_is_that_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat([0, 1], [rng.integers(2, 60), rng.integers(2, 60)]))
    score = rng.normal(size=label.size) if seed % 2 else rng.integers(0, 5, label.size).astype(float)
    v10, v01 = components(label, score)
    expected = np.var(v10, ddof=1) / v10.size + np.var(v01, ddof=1) / v01.size
    assert delong.delong_variance(label, score) == pytest.approx(expected, rel=1e-12)
    interval = delong.auc_delong(label, score, level=0.9)
    half = 1.6448536269514722 * math.sqrt(expected)
    assert interval.low == pytest.approx(max(0, v10.mean() - half))
    assert interval.high == pytest.approx(min(1, v10.mean() + half))


def test_delong_of_a_set_small_enough_for_paper():
    # reals 1 3, forged 2 4 5: psi = [1 0; 1 1; 1 1], V10 = 1/2 1 1, V01 = 1 2/3; variances 1/12 and 1/18
    variance = delong.delong_variance([0, 0, 1, 1, 1], [1, 3, 2, 4, 5])
    assert variance == pytest.approx(1 / 12 / 3 + 1 / 18 / 2)


def test_paired_delong_is_that_of_the_covariance_matrix():
    rng = np.random.default_rng(3)
    label = np.repeat([1, 0], [70, 50])
    common = rng.normal(size=120) + label
    a, b = common + rng.normal(size=120) * 0.5, np.round(common + rng.normal(size=120), 1)
    (a10, a01), (b10, b01) = components(label, a), components(label, b)
    covariance = np.cov(a10, b10) / 70 + np.cov(a01, b01) / 50
    contrast = np.array([1, -1])
    variance = contrast @ covariance @ contrast
    paired = delong.delong_paired(label, a, b)
    difference = roc.auc(label, a) - roc.auc(label, b)
    assert paired.difference == pytest.approx(difference)
    assert paired.variance == pytest.approx(variance)
    assert paired.p == pytest.approx(2 * stats.norm.sf(abs(difference) / math.sqrt(variance)))
    low, high = stats.norm.interval(0.95, difference, math.sqrt(variance))
    assert (paired.interval.low, paired.interval.high) == pytest.approx((low, high))
    mirrored = delong.delong_paired(label, b, a)
    assert (mirrored.difference, mirrored.z, mirrored.p) == pytest.approx((-paired.difference, -paired.z, paired.p))


def test_paired_delong_without_variance_does_not_claim_certainty():
    label = np.repeat([1, 0], 50)
    perfect = label * 2.0
    same = delong.delong_paired(label, perfect, perfect + 1)
    assert (same.difference, same.z, same.p) == (0, 0, 1)
    assert same.interval.low < 0 < same.interval.high
    alone = delong.auc_newcombe(1.0, 50, 50)
    assert (same.interval.low, same.interval.high) == pytest.approx((alone.low - 1, 1 - alone.low))
    small, large = (
        delong.delong_paired(y := np.repeat([1, 0], n), y * 1.0, np.zeros(2 * n)) for n in (2, 50)
    )  # perfect against constant: a difference of 1/2
    assert small.p > 0.05
    assert small.interval.low < 0
    assert large.p < 1e-6
    assert large.interval.low > 0


def test_paired_delong_holds_its_size_and_finds_a_difference():
    rng = np.random.default_rng(5)
    null, power = 0, 0
    for _ in range(400):
        label = np.repeat([1, 0], 150)
        common = rng.normal(size=300) + label
        a, b = (common + rng.normal(size=300) for _ in range(2))
        null += delong.delong_paired(label, a, b).p < 0.05
        power += delong.delong_paired(label, common, b).p < 0.05
    assert 0.02 <= null / 400 <= 0.09  # nominal .05; 400 studies have a standard error of .011
    assert power / 400 > 0.5


# --- Newcombe ---------------------------------------------------------------------------------------------------------


@given(auc=st.floats(0, 1), m=st.integers(1, 3000), n=st.integers(1, 3000), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_newcombe_solves_its_equation_and_is_symmetric(auc, m, n, level):
    interval = delong.auc_newcombe(auc, m, n, level=level)
    assert 0 <= interval.low <= auc <= interval.high <= 1
    z = stats.norm.ppf((1 + level) / 2)
    N = (m + n) / 2 - 1
    for t in (interval.low, interval.high):
        variance = t * (1 - t) * (1 + N * (1 - t) / (2 - t) + N * t / (1 + t)) / (m * n)
        assert abs(auc - t) == pytest.approx(z * math.sqrt(variance), abs=1e-7)
    mirrored = delong.auc_newcombe(1 - auc, m, n, level=level)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - interval.high, 1 - interval.low), abs=1e-7)


def test_newcombe_of_perfect_separation_is_not_empty():
    for m, n in ((2, 2), (20, 30), (1000, 1000)):
        top = delong.auc_newcombe(1.0, m, n)
        assert top.high == 1
        assert 0 < top.low < 1
        # Divided by 1 - t > 0 the equation has this one root left; brentq finds it on its own.
        z2, N = stats.norm.ppf(0.975) ** 2, (m + n) / 2 - 1
        root = optimize.brentq(
            lambda t, m=m, n=n, z2=z2, N=N: 1 - t - z2 * t * (1 + N * (1 - t) / (2 - t) + N * t / (1 + t)) / (m * n),
            0,
            1,
        )
        assert top.low == pytest.approx(root, abs=1e-12)
        bottom = delong.auc_newcombe(0.0, m, n)
        assert bottom.low == 0
        assert bottom.high == pytest.approx(1 - root)
    assert delong.auc_newcombe(1.0, 1, 1).low < 0.5  # one image of each class shows next to nothing


def test_newcombe_narrows_with_images_and_widens_with_level():
    def width(n, level):
        interval = delong.auc_newcombe(0.9, n, n, level=level)
        return interval.high - interval.low

    assert width(20, 0.95) > width(50, 0.95) > width(500, 0.95)
    assert width(50, 0.99) > width(50, 0.95) > width(50, 0.8)


# --- Bootstrap over identities ----------------------------------------------------------------------------------------

#                real a a b b c, forged on their own     |  d has a real and two forgeries, e a real and one
SMALL = {
    "real identities": ("0000011", [1, 3, 2, 6, 4, 5, 2], ["a", "a", "b", "b", "c", None, None]),
    "in both classes": ("00011101", [1, 3, 2, 2, 4, 1, 5, 3], ["a", "b", "d", "d", "d", "e", "e", "f"]),
    "forged identities": ("001111", [2, 3, 1, 4, 3, 5], ["", "", "g", "g", "h", "h"]),
}


@pytest.mark.parametrize(("labels", "score", "groups"), SMALL.values(), ids=SMALL.keys())
def test_resamples_follow_the_exact_bootstrap_distribution(labels, score, groups, monkeypatch):
    monkeypatch.setattr(resampling, "_CHUNK", 1000)  # many chunks, the last one short
    label = np.array([int(c) for c in labels])
    score, names = np.array(score, dtype=float), np.array(groups, dtype=object)
    units = {}
    for row, name in enumerate(groups):
        units.setdefault(name or f"row {row}", []).append(row)
    strata = {}
    for rows in units.values():
        strata.setdefault(frozenset(label[rows]), []).append(rows)
    draws = [itertools.product(members, repeat=len(members)) for members in strata.values()]
    exact = []  # every resample there is, all equally likely
    for draw in itertools.product(*draws):
        rows = np.concatenate([rows for stratum in draw for rows in stratum])
        exact.append(components(label[rows], score[rows])[0].mean())
    resamples = bootstrap.auc_resamples(label, score, groups=names, resamples=4001, seed=1)
    assert resamples.shape == (4001,)
    assert set(np.round(resamples, 9)) <= set(np.round(exact, 9))
    assert len(set(np.round(exact, 9))) > 3
    assert resamples.mean() == pytest.approx(np.mean(exact), abs=4 * np.std(exact) / math.sqrt(4001))
    assert resamples.std() == pytest.approx(np.std(exact), rel=0.06)
    assert stats.kstest(resamples, exact).statistic < 0.04


def test_bootstrap_is_settled_by_its_seed_and_unnamed_rows_stand_alone():
    label, score, groups = identities(np.random.default_rng(2), 20, 5, auc=0.8)
    first, again, other = (bootstrap.auc_resamples(label, score, groups=groups, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    alone = bootstrap.auc_resamples(label, score, resamples=50)
    for unnamed in ([None] * label.size, np.full(label.size, np.nan), [""] * label.size, np.arange(label.size)):
        np.testing.assert_array_equal(bootstrap.auc_resamples(label, score, groups=unnamed, resamples=50), alone)


def test_bootstrap_of_independent_rows_agrees_with_delong():
    label, score = gaussian(np.random.default_rng(4), 400, 600, auc=0.85)
    spread = bootstrap.auc_resamples(label, score).std()
    assert spread == pytest.approx(math.sqrt(delong.delong_variance(label, score)), rel=0.08)


def test_generic_bootstrap_of_the_auc_agrees_with_the_fast_one():
    label, score, groups = identities(np.random.default_rng(6), 40, 6, auc=0.85)
    fast = bootstrap.auc_bootstrap(label, score, groups=groups, resamples=1000)
    generic = bootstrap.bootstrap_interval(roc.auc, label, score, groups=groups, resamples=1000, seed=9)
    assert (generic.low, generic.high) == pytest.approx((fast.low, fast.high), abs=0.01)
    rows = bootstrap.bootstrap_interval(roc.auc, label, score, resamples=1000)
    assert generic.high - generic.low > 1.2 * (rows.high - rows.low)
    assert (generic.method, rows.method) == ("bootstrap over identities", "bootstrap")


@pytest.mark.parametrize(
    "metric",
    [roc.eer, roc.average_precision, roc.partial_auc, lambda a, b: roc.tpr_at_fpr(a, b, 0.1)],
)
def test_generic_bootstrap_surrounds_the_metric(metric):
    label, score = gaussian(np.random.default_rng(7), 150, 150, auc=0.85)
    interval = bootstrap.bootstrap_interval(metric, label, score, resamples=300)
    assert interval.low < metric(label, score) < interval.high
    assert 0.02 < interval.high - interval.low < 0.4


def test_generic_bootstrap_is_none_where_the_set_is_too_small_for_the_metric():
    label, score = gaussian(np.random.default_rng(7), 50, 50, auc=0.85)
    assert bootstrap.bootstrap_interval(lambda a, b: roc.tpr_at_fpr(a, b, 0.01), label, score) is None


def test_generic_bootstrap_of_perfect_separation_is_not_empty():
    label = np.repeat([1, 0], [300, 500])
    eer = bootstrap.bootstrap_interval(roc.eer, label, label * 1.0 + np.linspace(0, 0.5, 800), resamples=20)
    assert eer.low == 0
    # z^2 units on the wrong side of n: Wilson's upper end of 0 / n, for the smaller class
    assert eer.high == pytest.approx(wilson(0, 300).high, rel=0.05)
    assert eer.method == "bootstrap, + z^2 images"
    groups = np.arange(800) // 10
    people = bootstrap.bootstrap_interval(roc.eer, label, label * 1.0, groups=groups, resamples=20)
    assert people.high > 5 * eer.high  # 30 and 50 identities know less than 300 and 500 independent images


# --- Which interval ---------------------------------------------------------------------------------------------------


def test_auc_interval_chooses_as_the_protocol_says():
    rng = np.random.default_rng(1)
    large, small = gaussian(rng, 200, 200, auc=0.9), gaussian(rng, 199, 900, auc=0.9)
    assert delong.auc_interval(*large) == delong.auc_delong(*large)
    assert delong.auc_interval(*small) == delong.auc_newcombe(roc.auc(*small), 199, 900)
    label = large[0]
    for score, low, high in ((label, 0.990, 1), (-label, 0, 0.010), (label * 0, 0.444, 0.556)):
        interval = delong.auc_interval(label, score)
        assert interval.method == "Newcombe"
        assert interval.low == pytest.approx(low, abs=0.001)
        assert interval.high == pytest.approx(high, abs=0.001)
    unique = [f"photo {i}" for i in range(400)]
    assert delong.auc_interval(*large, groups=unique).method == "DeLong"


def test_auc_interval_with_repeated_identities():
    rng = np.random.default_rng(1)
    label, score, groups = identities(rng, 40, 20, auc=0.9)
    interval = delong.auc_interval(label, score, groups=groups, resamples=200, seed=3)
    assert interval == bootstrap.auc_bootstrap(label, score, groups=groups, resamples=200, seed=3)
    assert interval.method == "bootstrap over identities"
    few_label, few_score, few_groups = identities(rng, 10, 40, auc=0.9)
    few = delong.auc_interval(few_label, few_score, groups=few_groups)
    expected = delong.auc_newcombe(roc.auc(few_label, few_score), 300, 10)
    assert (few.low, few.high, few.method) == (expected.low, expected.high, "Newcombe over identities")
    perfect = delong.auc_interval(label, label, groups=groups)
    assert perfect.low == delong.auc_newcombe(1.0, 300, 40).low  # 40 people are not 800 independent images


# Binomial bound: of 400 studies at a true coverage of .95 the share that covers has a standard error of .011, so .91
# to .99 is 3.7 standard errors either way. The seeds are fixed; what this catches is a wrong formula, not a bad day.
STUDIES = 400


def coverage(one_study, truth):
    return sum(i.low <= truth <= i.high for i in (one_study() for _ in range(STUDIES))) / STUDIES


@pytest.mark.parametrize("n", [50, 500])
@pytest.mark.parametrize("auc", [0.7, 0.9])
def test_coverage_of_delong_and_newcombe(n, auc):
    rng = np.random.default_rng(n)
    assert 0.91 <= coverage(lambda: delong.auc_delong(*gaussian(rng, n, n, auc=auc)), auc) <= 0.99
    newcombe = lambda: delong.auc_newcombe(roc.auc(*gaussian(rng, n, n, auc=auc)), n, n)  # noqa: E731
    assert 0.91 <= coverage(newcombe, auc) <= 0.99


def test_coverage_at_a_high_auc_and_few_images_is_why_newcombe_is_there():
    rng = np.random.default_rng(2)
    assert coverage(lambda: delong.auc_delong(*gaussian(rng, 50, 50, auc=0.99)), 0.99) < 0.85
    assert coverage(lambda: delong.auc_interval(*gaussian(rng, 50, 50, auc=0.99)), 0.99) >= 0.93


def test_coverage_of_the_identity_bootstrap_where_delong_of_rows_fails():
    rng = np.random.default_rng(3)
    rows, people = 0, 0
    for _ in range(STUDIES):
        label, score, groups = identities(rng, 60, 10, auc=0.85)
        interval = delong.auc_interval(label, score, groups=groups, resamples=400)
        assert interval.method == "bootstrap over identities"
        people += interval.low <= 0.85 <= interval.high
        naive = delong.auc_delong(label, score)
        rows += naive.low <= 0.85 <= naive.high
    assert 0.90 <= people / STUDIES <= 0.99  # a percentile interval over 60 people covers about .93
    assert rows / STUDIES < 0.85


# --- Proportions, Holm, options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (1, 3), (37, 200), (999, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_agrees_with_scipy(k, n, level):
    expected = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    interval = wilson(k, n, level=level)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_proportion_interval_counts_people_where_they_repeat():
    rng = np.random.default_rng(5)
    habit = rng.random(80) < 0.3  # a person is called forged always or never
    hit, person = np.repeat(habit, 10), np.repeat(np.arange(80), 10)
    assert proportions.proportion_interval(hit) == wilson(hit.sum(), 800)
    people = proportions.proportion_interval(hit, groups=person)
    truth = wilson(habit.sum(), 80)
    assert people.method == "bootstrap over identities"
    assert (people.low, people.high) == pytest.approx((truth.low, truth.high), abs=0.03)
    few = proportions.proportion_interval(hit[:100], groups=person[:100])
    assert few.method == "Wilson over identities"
    assert few.high == wilson(habit[:10].sum(), 10).high
    never = proportions.proportion_interval(np.zeros(800), groups=person)
    assert never.high == wilson(0, 80).high


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=50)
def test_holm_is_the_smallest_level_that_rejects(p_values):
    adjusted = delong.holm(p_values)
    for alpha in (0.01, 0.05, 0.3, 0.8):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[index] * (len(p_values) - step) > alpha:
                break
            rejected.add(index)
        assert rejected == {i for i, p in enumerate(adjusted) if p <= alpha}


def test_bad_options_are_named():
    label, score = gaussian(np.random.default_rng(0), 300, 300, auc=0.8)
    bad = {
        "level must lie": lambda: delong.auc_interval(label, score, level=95),
        "one identity per row, shape .600,., got shape .2,": lambda: delong.auc_interval(label, score, groups=[1, 2]),
        "one identity per row, shape .600,., got shape .3,": lambda: bootstrap.auc_bootstrap(
            label, score, groups=[1, 2, 3]
        ),
        "resamples must be at least 1": lambda: bootstrap.auc_bootstrap(label, score, resamples=0),
        "2 images of each class, got 1 forged and 2 real": lambda: delong.delong_variance([0, 0, 1], [1, 2, 3]),
        "label has 600 rows and score has 599": lambda: delong.delong_paired(label, score, score[1:]),
        "auc must lie": lambda: delong.auc_newcombe(1.2, 5, 5),
        "got 0 forged and 5 real": lambda: delong.auc_newcombe(1, 0, 5),
        "0 <= successes <= n": lambda: wilson(3, 2),
        "n > 0": lambda: wilson(0, 0),
        "hit must be": lambda: proportions.proportion_interval([]),
        "p-values must": lambda: delong.holm([0.5, math.nan]),
    }
    for message, call in bad.items():
        with pytest.raises(InputError, match=message):
            call()


def test_nothing_heavy_is_imported():
    code = "import sys, benchmarks.evaluation.delong; print(sorted(sys.modules.keys() & {'scipy', 'torch', 'pandas'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("draws", "size"), [([], 3), ([0], 1), ([2, 0, 2, 2], 4)])
def test_counts_are_those_of_bincount(draws, size):
    dtype_drawn = np.array(draws, dtype=np.int32)
    assert np.array_equal(resampling.counts_of(dtype_drawn, size), np.bincount(dtype_drawn, minlength=size))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("people", [None, 7, 40])
@pytest.mark.parametrize("apart", [0.0, 1.0, 9.0])
def test_the_fast_interval_of_the_eer_is_the_plain_one(tied, people, apart):
    rng = np.random.default_rng(3)
    label = rng.integers(2, size=90)
    score = rng.normal(size=90) + apart * label
    score = np.round(score) if tied else score
    groups = None if people is None else rng.integers(people, size=90).astype(str)
    plain = bootstrap.bootstrap_interval(roc.eer, label, score, groups=groups, resamples=300)
    fast = bootstrap.eer_bootstrap(label, score, groups=groups, resamples=300)
    assert (fast.method, fast.level) == (plain.method, plain.level)
    assert (fast.low, fast.high) == pytest.approx((plain.low, plain.high), abs=1e-12)
