"""Point metrics against scikit-learn, brute force, closed forms and invariants."""

import doctest
import itertools
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics as sk

from benchmarks.evaluation import bootstrap, calibration, delong, roc
from forge.core.errors import InputError

rng = np.random.default_rng(11)
SETS = {
    "distinct": (rng.integers(0, 2, 300), rng.normal(size=300)),
    "ties": (rng.integers(0, 2, 300), rng.integers(0, 7, 300) / 7),
    "good": (y := rng.integers(0, 2, 300), y * 2 + rng.normal(size=300)),
    "inverted": (y, -y * 2 + rng.normal(size=300)),
    "rare": (np.arange(300) < 9, rng.normal(size=300) + (np.arange(300) < 9)),
    "two": (np.array([1, 0]), np.array([0.25, 0.75])),
    "constant": (np.arange(40) % 2, np.full(40, 0.5)),
    "float32": (y, (y + rng.normal(size=300)).astype(np.float32)),
}
each_set = pytest.mark.parametrize(("label", "score"), SETS.values(), ids=SETS.keys())

# Few distinct values, so that ties within and between the classes are the rule; both classes present.
labelled = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, n, elements=st.integers(0, 1)).filter(lambda a: 0 < a.sum() < a.size),
        hnp.arrays(np.float64, n, elements=st.integers(-6, 6).map(float)),
    )
)


def probability(score):
    return 1 / (1 + np.exp(-np.asarray(score, dtype=float)))


@each_set
def test_agrees_with_scikit_learn(label, score):
    assert roc.auc(label, score) == pytest.approx(sk.roc_auc_score(label, score), abs=1e-12)
    assert roc.average_precision(label, score) == pytest.approx(sk.average_precision_score(label, score), abs=1e-12)
    for bound in (0.01, 0.1, 0.37):
        expected = sk.roc_auc_score(label, score, max_fpr=bound)
        assert roc.partial_auc(label, score, max_fpr=bound) == pytest.approx(expected, abs=1e-12)
    p = probability(score)
    assert calibration.brier(label, p) == pytest.approx(sk.brier_score_loss(label, p))
    assert calibration.log_loss(label, p) == pytest.approx(sk.log_loss(label, p))
    assert roc.accuracy(label, score, 0.4) == pytest.approx(sk.accuracy_score(label, score >= 0.4))
    assert roc.balanced_accuracy(label, score, 0.4) == pytest.approx(sk.balanced_accuracy_score(label, score >= 0.4))
    fpr, tpr, thresholds = sk.roc_curve(label, score, drop_intermediate=False)
    for ours, theirs in zip(roc.roc_curve(label, score), (thresholds, fpr, tpr), strict=True):
        np.testing.assert_allclose(ours, theirs)
    tn, fp, fn, tp = sk.confusion_matrix(label, score >= 0.4).ravel()
    assert roc.confusion(label, score, 0.4) == (tp, fp, tn, fn)


@each_set
def test_average_precision_at_half_is_that_of_reweighted_classes(label, score):
    label = np.asarray(label)
    weight = np.where(label == 1, 1 / label.sum(), 1 / (1 - label).sum())
    expected = sk.average_precision_score(label, score, sample_weight=weight)
    assert roc.average_precision(label, score, prevalence=0.5) == pytest.approx(expected, abs=1e-12)
    share = float(label.mean())
    at_own = roc.average_precision(label, score, prevalence=share)
    assert at_own == pytest.approx(roc.average_precision(label, score), abs=1e-12)


@given(labelled)
def test_auc_is_the_share_of_pairs_in_order(data):
    label, score = data
    forged, real = score[label == 1], score[label == 0]
    pairs = [(f > r) + 0.5 * (f == r) for f, r in itertools.product(forged, real)]
    assert roc.auc(label, score) == pytest.approx(np.mean(pairs), abs=1e-14)


@given(labelled, st.randoms(use_true_random=False))
def test_ranking_metrics_ignore_monotone_transforms_and_row_order(data, random):
    label, score = data
    order = list(range(label.size))
    random.shuffle(order)
    for metric in (
        roc.auc,
        roc.average_precision,
        roc.eer,
        roc.partial_auc,
        lambda a, b: roc.tpr_at_fpr(a, b, 0.2),
    ):
        assert metric(label[order], np.exp(score[order] / 3)) == metric(label, score)


@given(labelled)
def test_swapping_the_classes_mirrors(data):
    label, score = data
    assert roc.auc(1 - label, score) == pytest.approx(1 - roc.auc(label, score), abs=1e-14)
    assert roc.auc(label, -score) == pytest.approx(1 - roc.auc(label, score), abs=1e-14)
    assert roc.eer(label, -score) == pytest.approx(1 - roc.eer(label, score), abs=1e-12)
    assert roc.eer(1 - label, -score) == pytest.approx(roc.eer(label, score), abs=1e-12)


def test_constant_scores_are_chance():
    label, score = SETS["constant"]
    assert roc.auc(label, score) == 0.5
    assert roc.eer(label, score) == 0.5
    assert roc.partial_auc(label, score) == pytest.approx(0.5)
    assert roc.average_precision(label, score, prevalence=0.3) == pytest.approx(0.3)


@given(labelled)
def test_eer_lies_on_the_interpolated_roc_and_between_neighbouring_operating_points(data):
    label, score = data
    value = roc.eer(label, score)
    _, fpr, tpr = roc.roc_curve(label, score)
    # Independent of the implementation: both error rates as functions of the position along the curve, by bisection.
    position = np.arange(fpr.size)
    low, high = 0.0, fpr.size - 1.0
    for _ in range(80):
        middle = (low + high) / 2
        below = np.interp(middle, position, fpr) < 1 - np.interp(middle, position, tpr)
        low, high = (middle, high) if below else (low, middle)
    assert value == pytest.approx(np.interp(low, position, fpr), abs=1e-9)
    errors = np.stack([fpr, 1 - tpr])
    assert errors.min(axis=0).max() - 1e-12 <= value <= errors.max(axis=0).min() + 1e-12


def test_eer_of_two_gaussians_is_the_closed_form():
    grid = NormalDist()
    quantiles = np.array([grid.inv_cdf((i + 0.5) / 4000) for i in range(4000)])
    label = np.repeat([0, 1], 4000)
    for shift in (0.5, 2.0, 4.0):
        score = np.concatenate([quantiles, quantiles + shift])
        assert roc.eer(label, score) == pytest.approx(grid.cdf(-shift / 2), abs=5e-4)
        assert roc.auc(label, score) == pytest.approx(grid.cdf(shift / 2**0.5), abs=5e-4)


@given(labelled)
def test_tpr_at_fpr_never_exceeds_its_bound_and_rises_with_it(data):
    label, score = data
    forged, real = score[label == 1], score[label == 0]
    previous = 0.0
    for bound in (0.03, 0.1, 0.25, 0.5, 1.0):
        value = roc.tpr_at_fpr(label, score, bound)
        if 1 / real.size > bound:
            assert value is None
            continue
        allowed = [(forged >= t).mean() for t in [*score, np.inf] if (real >= t).mean() <= bound]
        assert value == pytest.approx(max(allowed))
        assert value >= previous
        previous = value


def test_tpr_at_fpr_takes_a_false_positive_rate_that_equals_the_bound():
    score = np.concatenate([np.arange(100.0), [70.5, 50.0]])  # 29 reals lie above 70.5
    label = np.repeat([0, 1], [100, 2])
    assert roc.tpr_at_fpr(label, score, 0.29) == 0.5
    assert roc.tpr_at_fpr(label, score, 0.28) == 0.0
    assert roc.tpr_at_fpr(label, score, 0.01) == 0.0
    assert roc.tpr_at_fpr(label, score, 0.0099) is None


@given(labelled)
def test_best_threshold_reaches_the_greatest_balanced_accuracy(data):
    label, score = data
    reachable = [roc.balanced_accuracy(label, score, t) for t in score]
    accuracy = roc.balanced_accuracy(label, score, roc.best_threshold(label, score))
    assert accuracy == pytest.approx(max(reachable))


def test_best_threshold_is_midway_and_its_ties_are_settled():
    assert roc.best_threshold([0, 1], [1, 4]) == 2.5
    # 0|1 0|1: cutting at 1.5 and at 6 are equally good; the wider gap wins, and among equal gaps the lower threshold
    assert roc.best_threshold([0, 1, 0, 1], [1, 2, 4, 8]) == 6
    assert roc.best_threshold([0, 1, 0, 1], [1, 2, 3, 4]) == 1.5
    assert roc.best_threshold([1, 0], [1, 4]) == 1  # nothing beats chance: everything is called forged
    neighbour = np.nextafter(1.0, 2.0)
    assert roc.best_threshold([0, 1], [1.0, neighbour]) == neighbour
    with np.errstate(all="raise"):  # the gap itself would overflow
        assert roc.best_threshold([0, 1], [-1.7e308, 1.7e308]) == 0


def test_confusion_rates_of_one_class_alone():
    reals = roc.confusion([0, 0, 0, 0], [0.1, 0.6, 0.5, 0.2], 0.5)
    assert (reals.fpr, reals.tpr) == (0.5, None)
    assert roc.confusion([1, 1], [0.1, 0.6], 0.5).tpr == 0.5


def test_reliability_of_distinct_probabilities_has_equal_bins():
    p = rng.permutation(np.linspace(0.01, 0.99, 100))
    label = np.arange(100) % 2
    r = calibration.reliability(label, p, bins=15)
    assert r.images.sum() == 100
    assert set(r.images) <= {6, 7}
    blocks = np.split(np.argsort(p), np.cumsum(r.images)[:-1])
    np.testing.assert_allclose(r.probability, [p[b].mean() for b in blocks])
    np.testing.assert_allclose(r.forged, [label[b].mean() for b in blocks])
    expected = sum(b.size * abs(label[b].mean() - p[b].mean()) for b in blocks) / 100
    assert calibration.ece(label, p) == pytest.approx(expected)


@given(labelled, st.integers(1, 20), st.randoms(use_true_random=False))
def test_ties_share_a_bin_whatever_the_row_order(data, bins, random):
    label, score = data
    p = probability(score)
    r = calibration.reliability(label, p, bins=bins)
    assert r.images.sum() == label.size
    assert r.images.size <= min(bins, np.unique(p).size)
    assert (np.diff(r.probability) > 0).all()
    assert np.sum(r.images * r.forged) == pytest.approx(label.sum())
    order = list(range(label.size))
    random.shuffle(order)
    np.testing.assert_array_equal(calibration.reliability(label[order], p[order], bins=bins).forged, r.forged)


def test_calibration_extremes():
    label = np.array([0, 1, 0, 1])
    assert calibration.ece(label, label) == calibration.brier(label, label) == 0
    assert calibration.ece(label, 1 - label) == calibration.brier(label, 1 - label) == 1
    assert calibration.log_loss(label, 1 - label) == pytest.approx(-np.log(1e-15), rel=0.01)  # clipped, not infinite
    assert calibration.ece(label, [0.5] * 4) == 0  # right on average, though it tells nothing apart
    assert calibration.ece(label, [0.75] * 4) == 0.25


BAD = {
    "empty": ([], [], "label and score are empty"),
    "length": ([0, 1], [0.1, 0.2, 0.3], "label has 2 rows and score has 3"),
    "shape": ([0, 1], [[0.1], [0.2]], r"score must be one-dimensional, got shape \(2, 1\)"),
    "label 2": ([0, 1, 2], [0.1, 0.2, 0.3], "label must be 0 .real. or 1 .forged., found 2 in row 2"),
    "label -1": ([-1, 1], [0.1, 0.2], "found -1 in row 0"),
    "label NaN": ([0, np.nan], [0.1, 0.2], "found nan in row 1"),
    "label text": (["real", "forged"], [0.1, 0.2], "label must be a list of numbers"),
    "NaN": ([0, 1, 1], [0.1, np.nan, np.nan], r"score is NaN in row 1 \(2 of 3 rows"),
    "missing": ([0, 1], [0.1, None], "score is NaN in row 1"),
    "infinite": ([0, 1], [-np.inf, 0.2], "score is infinite in row 0"),
    "no real": ([1, 1], [0.1, 0.2], r"no real images \(label 0\) among 2 rows"),
    "no forged": ([0, 0, 0], [0.1, 0.2, 0.3], r"no forged images \(label 1\) among 3 rows"),
}
TAKES_SCORES = {
    "auc": roc.auc,
    "roc_curve": roc.roc_curve,
    "average_precision": roc.average_precision,
    "eer": roc.eer,
    "tpr_at_fpr": lambda label, score: roc.tpr_at_fpr(label, score, 0.5),
    "partial_auc": roc.partial_auc,
    "accuracy": lambda label, score: roc.accuracy(label, score, 0.5),
    "balanced_accuracy": lambda label, score: roc.balanced_accuracy(label, score, 0.5),
    "best_threshold": roc.best_threshold,
    "delong_variance": delong.delong_variance,
    "auc_interval": delong.auc_interval,
    "auc_bootstrap": bootstrap.auc_bootstrap,
    "bootstrap_interval": lambda label, score: bootstrap.bootstrap_interval(roc.eer, label, score),
}
TAKES_PROBABILITIES = {"brier": calibration.brier, "log_loss": calibration.log_loss, "ece": calibration.ece}


@pytest.mark.parametrize("function", TAKES_SCORES.values(), ids=TAKES_SCORES.keys())
@pytest.mark.parametrize(("label", "score", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_clear_sentence(function, label, score, message):
    with pytest.raises(InputError, match=message):
        function(label, score)


@pytest.mark.parametrize("function", TAKES_PROBABILITIES.values(), ids=TAKES_PROBABILITIES.keys())
@pytest.mark.parametrize(("label", "score", "message"), BAD.values(), ids=BAD.keys())
def test_bad_probability_is_one_clear_sentence(function, label, score, message):
    with pytest.raises(InputError, match=message.replace("score", "probability")):
        function(label, score)
    for outside in (1.2, -0.5):
        with pytest.raises(InputError, match=rf"probability must lie in \[0, 1\], found {outside} in row 1"):
            function([0, 1], [0.5, outside])


def test_bad_options_are_named():
    label, score = [0, 1], [0.1, 0.2]
    for call in (
        lambda: roc.tpr_at_fpr(label, score, 0),
        lambda: roc.partial_auc(label, score, max_fpr=1.5),
        lambda: roc.average_precision(label, score, prevalence=1),
        lambda: roc.average_precision(label, score, prevalence=float("nan")),
        lambda: calibration.ece(label, score, bins=0),
    ):
        with pytest.raises(InputError, match=r"must (lie in \(0, 1|be at least 1)"):
            call()


@settings(max_examples=30)
@given(labelled)
def test_metrics_leave_their_inputs_alone(data):
    label, score = data
    assume(label.size > 4)
    before = label.copy(), score.copy()
    roc.auc(label, score), roc.eer(label, score), roc.best_threshold(label, score)
    delong.auc_interval(label, score), bootstrap.auc_resamples(label, score, resamples=3)
    np.testing.assert_array_equal(before, (label, score))


@pytest.mark.parametrize("module", [roc, delong])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=60), st.floats(0.01, 1))
def test_a_threshold_at_a_false_positive_rate_is_the_lowest_that_keeps_it(rows, bound):
    label, score = np.array([int(forged) for forged, _ in rows]), np.array([float(value) for _, value in rows])
    if len(set(label)) < 2:
        return
    reals = score[label == 0]
    threshold = roc.threshold_at_fpr(label, score, bound)
    if 1 / len(reals) > bound + 1e-9:
        assert threshold is None
        return
    assert (reals >= threshold).mean() <= bound + 1e-9
    lower = score[score < threshold]
    if len(lower):  # calling one more distinct score forged breaks the bound
        assert (reals >= lower.max()).mean() > bound - 1e-9


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.4, 0.7, 0.9])), min_size=2, max_size=40),
       st.integers(1, 6))  # fmt: skip
def test_bins_of_the_ece_are_those_of_midranks(rows, bins):
    """Against SciPy's mean ranks: tied probabilities share the bin of their middle, not of their first or last."""
    label, probability = np.array([forged for forged, _ in rows], dtype=int), np.array([p for _, p in rows])
    midrank = stats.rankdata(probability, method="average")
    bin_of = np.floor(bins * (midrank - 0.5) / len(rows) + 1e-12).astype(int)
    gaps = [abs((label - probability)[bin_of == i].sum()) for i in range(bins)]
    if set(label) == {0, 1}:
        assert calibration.ece(label, probability, bins=bins) == pytest.approx(sum(gaps) / len(rows))
