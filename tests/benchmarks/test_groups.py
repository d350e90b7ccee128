"""Groups of people: planted gaps are found, others are not claimed, numbers are those of the plain measures."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import NO_PICTURES, Page, html_of, make_results
from test_leaderboard import GENERATORS, rows_of

from benchmarks.evaluation import roc
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.evaluation.groups import groups
from benchmarks.evaluation.interval import wilson
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report


def labelled(scores, *, shift=0.0, names=("a", "b"), told=False, seed=0):
    """Give every real face a group by its number, and shift the scores of the last group's reals."""
    number = scores["sample_id"].str.extract(r"(\d+)$")[0].astype(int)
    group = np.array(names)[number % len(names)]
    known = scores["generator"].eq("") | told
    last = scores["generator"].eq("") & (group == names[-1])
    return scores.assign(hair=np.where(known, group, None), score=scores["score"] + shift * last)


def with_val(scores):
    val = scores.assign(split="val", sample_id=scores["sample_id"].str.replace(r"(\d+)$", r"9\1", regex=True))
    return pd.concat([scores, val], ignore_index=True)


def one_test(**options):
    return with_val(labelled(rows_of("d", "gan", {"gan": 0.9}, tested=("gan",), n=400), **options))


def test_numbers_are_those_of_the_plain_measures():
    scores = one_test(told=True)
    cells = evaluate(scores)
    facts, gaps = groups(scores, cells)
    assert [(fact.group, fact.n_real, fact.n_forged) for fact in facts] == [("a", 200, 200), ("b", 200, 200)]
    test = scores[scores["split"].eq("test")]
    for fact in facts:
        real = test[test["generator"].eq("") & test["hair"].eq(fact.group)]
        forged = test[test["generator"].eq("gan")]
        pair = pd.concat([real, forged])
        assert fact.auc == pytest.approx(roc.auc(pair["label"], pair["score"]))
        called = real["score"] >= cells[0].threshold
        expected = wilson(int(called.sum()), 200)
        assert (fact.fpr, fact.fpr_low, fact.fpr_high) == pytest.approx((called.mean(), expected.low, expected.high))
        own = forged[forged["hair"].eq(fact.group)]
        assert fact.tpr == pytest.approx((own["score"] >= cells[0].threshold).mean())
    assert {gap.measure for gap in gaps} == {"AUC", "FPR", "TPR"}
    fpr = next(gap for gap in gaps if gap.measure == "FPR")
    by_group = {fact.group: fact.fpr for fact in facts}
    assert fpr.gap == pytest.approx(by_group[fpr.highest] - by_group[fpr.lowest])


def test_a_planted_gap_is_found_with_its_groups():
    scores = one_test(shift=1.5)
    _, gaps = groups(scores, evaluate(scores))
    by_measure = {gap.measure: gap for gap in gaps}
    assert set(by_measure) == {"AUC", "FPR"}  # the forgeries carry no labels
    assert (by_measure["FPR"].lowest, by_measure["FPR"].highest) == ("a", "b") and by_measure["FPR"].low > 0.1
    assert (by_measure["AUC"].lowest, by_measure["AUC"].highest) == ("b", "a") and by_measure["AUC"].low > 0


def test_where_there_is_no_gap_none_is_claimed():
    """Six groups alike: the interval of the largest gap must reach 0 in 95 % of studies."""
    claimed = {"AUC": 0, "FPR": 0}
    studies = 60
    for study in range(studies):
        rng = np.random.default_rng(study)
        rows = rows_of("d", "gan", {"gan": 0.85}, tested=("gan",), n=360, rng=rng)
        rows["score"] = rng.normal(size=len(rows)) + 1.4 * rows["label"]
        fixed = SimpleNamespace(detector="d", trained_on="gan", seed=0, threshold=0.7)
        for gap in groups(labelled(rows, names=tuple("abcdef")), [fixed])[1]:
            claimed[gap.measure] += gap.low > 0
    assert max(claimed.values()) <= 0.1 * studies


def test_unseen_generators_are_what_counts_and_a_person_counts_once():
    parts = [rows_of("d", "gan", {"gan": 0.99, "dcgan": 0.7, "style": 0.7}, n=120, seed=seed) for seed in (0, 1)]
    scores = with_val(labelled(pd.concat(parts, ignore_index=True)))
    facts, _ = groups(scores, evaluate(scores))
    assert [(fact.group, fact.n_real) for fact in facts] == [("a", 60), ("b", 60)]
    assert all(fact.auc < 0.85 for fact in facts)  # gan, which it was trained on, is left out
    assert facts[0].fpr_low < facts[0].fpr < facts[0].fpr_high


@pytest.mark.parametrize(
    "spoil",
    [
        lambda scores: scores.drop(columns="hair"),
        lambda scores: scores.assign(hair=None),
        lambda scores: scores.assign(hair="all alike"),
        lambda scores: scores.assign(hair=scores["sample_id"]),  # as many values as faces
        lambda scores: scores.assign(hair=np.where(scores["sample_id"].eq("3"), "rare", "usual")),
    ],
)
def test_labels_that_make_no_groups_are_left_out(spoil):
    scores = spoil(one_test())
    assert groups(scores, evaluate(scores)) == ([], [])


def test_generators_that_all_were_seen_still_count():
    scores = with_val(labelled(rows_of("d", "+".join(sorted(GENERATORS)), 0.9, n=100)))
    facts, _ = groups(scores, evaluate(scores))
    assert len(facts) == 2 and facts[0].auc > 0.8


def test_the_page_shows_the_gaps(tmp_path):
    scores = one_test(shift=1.5)
    facts, gaps = groups(scores, evaluate(scores))
    results = make_results(scores).model_copy(update={"groups": facts, "gaps": gaps})
    write_report(tmp_path, ReportInputs(results, scores, NO_PICTURES))
    text = html_of(tmp_path)
    Page(text)
    assert 'id="groups"' in text and "Every group: 2 rows" in text
    assert "<td>hair</td><td>FPR</td><td>a</td><td>b</td>" in text
