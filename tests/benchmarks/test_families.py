"""Means over families of generators: weights, both intervals, their coverage, what thresholds do."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from test_leaderboard import rows_of, union

from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.column import Column, weights_of
from benchmarks.evaluation.families import new_family
from benchmarks.evaluation.formats import Sheet, markdown, to_csv
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.results import TestResult
from benchmarks.evaluation.thresholds import means_of, with_thresholds
from benchmarks.protocol import Protocol
from benchmarks.report.text.suite_summary import suite_sentences
from forge.core.errors import InputError

FAMILIES = {"cgan": "conv-gan", "dcgan": "conv-gan", "gan": "dense-gan", "style": "style-gan"}
TWINS = Protocol(families=FAMILIES)


def unseen(skill, families=FAMILIES, *, seeds=(0,), n=200):
    """Score rows of detectors that were trained on all families but one, once for each; skill: AUC by generator."""
    made = []
    for detector, aucs in skill.items():
        for family in sorted(set(families.values())):
            others = union(*(name for name, of in families.items() if of != family))
            tested = tuple(name for name, of in families.items() if of == family)
            for seed in seeds:
                rng = np.random.default_rng([seed, *map(ord, detector + family)])
                made.append(rows_of(detector, others, aucs, seed=seed, tested=tested, rng=rng, n=n))
    return pd.concat(made, ignore_index=True)


def test_the_primary_value_is_the_mean_over_families_of_the_mean_over_their_generators():
    scores = unseen({"a": {"cgan": 0.95, "dcgan": 0.9, "gan": 0.6, "style": 0.7}}, seeds=(0, 1))
    board = leaderboard(scores, protocol=TWINS)
    cells = cells_of(scores, TWINS)["a"]["unseen"]
    of = {name: np.mean([cell.auc for cell in cells if cell.family == name]) for name in set(FAMILIES.values())}
    standing = board.lines[0].columns["unseen"]
    assert standing.value == pytest.approx(np.mean(list(of.values()))) and standing.cells == 8
    assert standing.value != pytest.approx(np.mean([cell.auc for cell in cells]), abs=0.01)  # twins would count twice
    assert board.families == ["conv-gan", "dense-gan", "style-gan"] and not board.for_new_family
    assert standing.family_low < standing.low < standing.value < standing.high < standing.family_high
    # by protocol 1 the same rows have no such column: leaving a family out is not leaving one generator out
    older = leaderboard(scores, protocol=Protocol(1, FAMILIES))
    assert "unseen" not in older.columns and older.families == []
    assert all(line.columns[older.primary].family_low is None for line in older.lines)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12))
def test_each_family_has_the_same_weight(families):
    weights = weights_of(families)
    assert sum(weights) == pytest.approx(1)
    for family in set(families):
        share = sum(weight for weight, name in zip(weights, families, strict=True) if name == family)
        assert share == pytest.approx(1 / len(set(families)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_without_errors_of_images_it_is_students_interval(means):
    assume(np.ptp(means) > 1e-6)
    interval = new_family(means, np.zeros((len(means), len(means))))
    expected = stats.t.interval(0.95, len(means) - 1, np.mean(means), stats.sem(means))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue, abs=1e-9)


def test_errors_that_families_share_widen_it_and_their_own_do_not_count_twice():
    means = [0.7, 0.8, 0.9]
    alone = new_family(means, np.zeros((3, 3)))
    own = new_family(means, 0.01 * np.eye(3))
    shared = new_family(means, np.full((3, 3), 0.1))
    assert (own.low, own.high) == (alone.low, alone.high)  # part of the scatter of the means already
    assert shared.high - shared.low > alone.high - alone.low
    assert new_family([0.8] * 3, np.zeros((3, 3)))[:2] == pytest.approx((0.8, 0.8))
    with pytest.raises(InputError, match="two families"):
        new_family([0.7], np.zeros((1, 1)))


def test_it_is_never_narrower_than_the_interval_for_these_families():
    scores = unseen({"a": 0.8, "b": 0.8})
    column = Column({name: of["unseen"] for name, of in cells_of(scores, TWINS).items()})
    for fixed, new in (
        (column.mean("a"), column.mean_of_families("a")),
        (column.difference("a", "b"), column.difference_of_families("a", "b")),
    ):
        assert new.low <= fixed.low and new.high >= fixed.high and new.p >= fixed.p and new.families == 3


def _coverage(count, draw, repetitions, rng):
    """Share of new-family, and of Student-free fixed intervals, that contain the mean over all possible families.

    Each repetition draws families, and images that all of them share (the reals) or do not.
    """
    new = fixed = 0
    truth = draw(np.random.default_rng(1), 200_000).mean()
    for _ in range(repetitions):
        own, shared = 0.02, 0.015  # standard errors of an AUC over images
        means = draw(rng, count) + rng.normal(0, own, count) + rng.normal(0, shared)
        errors = own**2 * np.eye(count) + shared**2
        interval = new_family(means, errors)
        new += interval.low <= truth <= interval.high
        half = 1.96 * np.sqrt(errors.sum()) / count
        fixed += abs(means.mean() - truth) <= half
    return new / repetitions, fixed / repetitions


def _normal(rng, size):
    return rng.normal(0.8, 0.1, size)


def _skewed(rng, size):
    return rng.beta(4, 1, size)  # most families are easy, a few are not


@pytest.mark.parametrize("count", [3, 5, 8])
def test_coverage_of_a_new_family(count):
    """95 % where families scatter normally; the interval over images alone, which readers took for it, has far less."""
    new, fixed = _coverage(count, _normal, 1000, np.random.default_rng(count))
    assert 0.93 <= new <= 0.99
    assert fixed < 0.75


@pytest.mark.slow
@pytest.mark.parametrize(("count", "draw", "least"), [
    (2, _normal, 0.94), (5, _normal, 0.94), (20, _normal, 0.94), (5, _skewed, 0.88), (10, _skewed, 0.90),
])  # fmt: skip
def test_coverage_of_a_new_family_over_many_draws(count, draw, least):
    """Where most families are easy and some are not, few of them show too little of the hard ones: under 95 %."""
    new, _ = _coverage(count, draw, 10_000, np.random.default_rng(7))
    assert least <= new <= 0.97


FIVE = {name: f"family {name}" for name in "abcde"}


def test_from_five_families_on_the_interval_for_a_new_family_is_the_headline():
    skill = {name: 0.6 + 0.07 * i for i, name in enumerate(FIVE)}
    scores = unseen({"x": skill, "y": 0.6}, FIVE, n=60)
    board = leaderboard(scores, protocol=Protocol(families=FIVE))
    assert board.for_new_family and len(board.families) == 5
    sheet = Sheet(board, "t", 2, {})
    assert sheet.headings[:4] == ["rank", "detector", "unseen", "95 %, these families"]
    text = markdown(sheet)
    assert "is shown first" in text and "for these families, by tests over images and seeds" in text
    standing = board.lines[0].columns["unseen"]
    value, ends, these = standing.value, sheet.rows[0][2], sheet.rows[0][3]
    assert ends != f"{value} {these}" and these.startswith("[")
    three = Sheet(leaderboard(unseen({"x": 0.8}, n=60), protocol=TWINS), "t", 2, {})
    assert three.headings[3] == "95 %, new family" and "from 5 families on" in "".join(three.notes)
    assert "family_low" in to_csv(sheet).splitlines()[0]


def test_a_run_of_one_family_says_what_ranks_it():
    twins = {"dcgan": "conv-gan", "cgan": "conv-gan"}
    scores = pd.concat([rows_of(name, trained, 0.8, tested=tuple(twins)) for name in "xy" for trained in twins])
    board = leaderboard(scores, protocol=Protocol(families=twins))
    assert board.primary == "matrix" and board.families == []
    notes = " ".join(Sheet(board, "t", 2, {}).notes)
    assert "Ranked by matrix" in notes and "conditions.unseen" in notes and "new family" not in notes
    assert "conditions.unseen" not in " ".join(Sheet(board, "t", 1, {}).notes)


def _cells(scores, **values):
    """Cells of the tests of score rows with these metrics."""
    inside = []
    for (detector, trained_on, tested_on), _ in scores[scores["label"] == 1].groupby(
        ["detector", "trained_on", "generator"]
    ):
        inside.append(
            TestResult(
                detector=detector, trained_on=trained_on, tested_on=tested_on, condition="unseen", seed=0, n_real=9,
                n_forged=9, auc=0.9, auc_low=0.8, auc_high=1.0, auc_method="DeLong", threshold=0.5,
                **{name: value[tested_on] if isinstance(value, dict) else value for name, value in values.items()},
            )
        )  # fmt: skip
    return inside


def test_a_leader_whose_threshold_finds_nothing_is_said_to_be_so():
    scores = unseen({"leads": 0.9, "follows": 0.6})
    board = leaderboard(scores, protocol=TWINS)
    low = _cells(scores, balanced_accuracy={"cgan": 0.5, "dcgan": 0.6, "gan": 0.5, "style": 0.5}, tpr_at_fpr_1pct=0.3)
    judged = with_thresholds(board, {"": low})
    line = judged.lines[0]
    assert line.balanced_accuracy == pytest.approx((0.55 + 0.5 + 0.5) / 3)  # over families, as the AUC
    assert any("threshold of leads" in sentence and "0.52" in sentence for sentence in suite_sentences(judged))
    fine = with_thresholds(board, {"": _cells(scores, balanced_accuracy=0.56, tpr_at_fpr_1pct=None)})
    assert (
        not any("threshold of leads" in sentence for sentence in suite_sentences(fine))
        and not suite_sentences(board)[1:]
    )
    assert fine.lines[0].tpr_at_fpr_1pct is None  # undefined in some tests: no mean over the rest
    headings = Sheet(judged, "t", 2, {}).headings
    assert headings[-4:-2] == ["balanced accuracy", "TPR at 1 % FPR"]
    assert "TPR at 1 % FPR" not in Sheet(fine, "t", 2, {}).headings


def test_results_hold_every_mean_with_both_intervals():
    scores = unseen({"a": 0.9, "b": 0.6})
    board = with_thresholds(leaderboard(scores, protocol=TWINS), {"": _cells(scores, balanced_accuracy=0.8)})
    means = {(mean.detector, mean.column): mean for mean in means_of(board)}
    assert set(means) == {("a", "unseen"), ("b", "unseen")}
    a, standing = means["a", "unseen"], board.lines[0].columns["unseen"]
    assert (a.low, a.high, a.family_low, a.family_high) == (
        standing.low, standing.high, standing.family_low, standing.family_high,
    )  # fmt: skip
    assert a.balanced_accuracy == pytest.approx(0.8) and a.tpr_at_fpr_1pct is None
