"""Answers to a reviewer: parts of the variance, agreement of columns, another seed."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks.evaluation.cells import Scored, Where
from benchmarks.evaluation.column import Column, VarianceParts
from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.review import agreement, kendall, variance_parts, with_another_seed, with_twice_the_images
from benchmarks.report.run_report import RunReport
from benchmarks.report.text.review import review

REPORTS = Path(__file__).resolve().parents[2] / "reports"
NAMES = [f"d{n}" for n in range(6)]


def cell(auc, tested_on, *, seed=0, error=0.01, units=50, first=0, family=""):
    """Return a test whose AUC has a standard error, from units of its own or shared ones."""
    influence = np.full(units, error / math.sqrt(units))
    return Scored(
        Where("", tested_on, "none", seed),
        "t",
        auc,
        Interval(auc - 1.96 * error, auc + 1.96 * error, "DeLong", 0.95),
        influence,
        np.arange(first, first + units),
        family,
    )


def column_of(values, *, error=0.001):
    """Return cells of detectors on generators: values[detector][generator]."""
    return {
        name: [cell(auc, f"g{g}", error=error, first=100 * g) for g, auc in enumerate(of)]
        for name, of in values.items()
    }


def test_the_part_of_images_is_the_variance_of_the_mean_over_independent_tests():
    cells = {name: {"matrix": of} for name, of in column_of({"a": [0.9, 0.9], "b": [0.8, 0.8]}, error=0.02).items()}
    parts = variance_parts(cells, "matrix")
    assert parts["a"].images == pytest.approx(0.02**2 / 2)
    assert parts["a"].seeds is None
    assert parts["a"].generators == 0.0  # equal on all generators: less scatter than images explain


def test_the_part_of_generators_is_their_scatter_without_that_of_images():
    values = [0.6, 0.8, 0.95]
    cells = {"a": {"matrix": column_of({"a": values}, error=0.02)["a"]}}
    expected = (np.var(values, ddof=1) - 0.02**2) / 3
    assert variance_parts(cells, "matrix")["a"].generators == pytest.approx(expected)


def test_generators_of_a_family_are_grouped_and_controls_left_out():
    of = [
        cell(auc, f"g{n}", first=100 * n, family=family)
        for n, (auc, family) in enumerate(zip([0.6, 0.8, 0.9], "xxy", strict=True))
    ]
    cells = {"a": {"unseen": of}, "random": {"unseen": of}}
    parts = variance_parts(cells, "unseen")
    assert set(parts) == {"a"}
    errors = (0.01**2 / 2 + 0.01**2) / 2  # mean variance of the means of both families
    assert parts["a"].generators == pytest.approx((np.var([0.7, 0.9], ddof=1) - errors) / 2)


def test_the_parts_of_images_and_seeds_add_up_to_what_the_interval_is_made_of():
    rng = np.random.default_rng(0)
    cells = {
        name: [cell(0.8 + 0.05 * rng.normal(), "g", seed=seed, first=100 * seed) for seed in range(3)] for name in NAMES
    }
    column = Column(cells)
    parts, mean = column.variance_parts("d0"), column.mean("d0")
    assert parts.images == pytest.approx(0.01**2 / 3)
    assert mean.share == pytest.approx(parts.seeds / (parts.seeds + parts.images))


@pytest.mark.parametrize(
    ("images", "seeds", "number", "ratio"), [(0, 1, 1, 0.5**0.5), (1, 0, 2, 1), (1, 3, 2, 0.75**0.5)]
)
def test_another_seed_shrinks_the_part_of_seeds_alone(images, seeds, number, ratio):
    assert with_another_seed(VarianceParts(images, seeds, None), number) == pytest.approx(ratio)


@pytest.mark.parametrize(("images", "seeds", "ratio"), [(1, 1, 0.75**0.5), (1, None, 0.5**0.5), (0, 1, 1), (0, 0, 1)])
def test_twice_the_images_shrink_the_part_of_images_alone(images, seeds, ratio):
    assert with_twice_the_images(VarianceParts(images, seeds, None)) == pytest.approx(ratio)


def test_another_seed_than_one_is_not_known():
    assert with_another_seed(VarianceParts(1, None, None), 1) is None


@pytest.mark.parametrize(("sign", "tau"), [(1, 1.0), (-1, -1.0)])
def test_columns_of_one_order_and_of_the_opposite_one(sign, tau):
    first = column_of({name: [0.6 + 0.05 * n] * 3 for n, name in enumerate(NAMES)})
    second = column_of({name: [0.75 + sign * 0.02 * n] * 3 for n, name in enumerate(NAMES)})
    cells = {name: {"unseen": first[name], "robust": second[name]} for name in NAMES}
    agreed = agreement(cells, "unseen", "robust")
    assert (agreed.detectors, agreed.tau) == (6, pytest.approx(tau))
    assert agreed.low <= agreed.tau <= agreed.high
    assert agreed.high - agreed.low < 0.2  # the order is the same on every generator


def test_an_order_that_differs_between_generators_is_uncertain():
    rng = np.random.default_rng(1)
    first = column_of({name: list(rng.uniform(0.5, 1, 3)) for name in NAMES})
    second = column_of({name: list(rng.uniform(0.5, 1, 3)) for name in NAMES})
    agreed = agreement({name: {"unseen": first[name], "robust": second[name]} for name in NAMES}, "unseen", "robust")
    assert agreed.high - agreed.low > 0.5


def test_tau_is_that_of_scipy_with_ties():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 4, (50, 7)).astype(float), rng.integers(0, 4, (50, 7)).astype(float)
    assert kendall(a, b) == pytest.approx([kendalltau(*rows).statistic for rows in zip(a, b, strict=True)])


def test_few_detectors_have_no_agreement_and_equal_ones_no_order():
    few = {name: {"a": [cell(0.8, "g")], "b": [cell(0.8, "g")]} for name in NAMES[:4]}
    assert agreement(few, "a", "b") is None
    same = {name: {"a": [cell(0.8, "g", error=0.0)], "b": [cell(0.8, "g", error=0.0)]} for name in NAMES}
    assert agreement(same, "a", "b").tau == 0.0
    assert agreement({**few, "random": few["d0"]}, "a", "b") is None  # a control is no detector


def test_the_answers_on_a_published_run_rest_on_its_table():
    answers = {answer.question: answer for answer in review(RunReport(REPORTS / "arms-race"))}
    assert len(answers) == 6
    chance = answers["Is a detector that knows nothing at chance?"]
    assert chance.sentences[0].startswith("random has AUC 0.51 [")
    parts = next(answer for question, answer in answers.items() if "uncertainty" in question)
    assert {row[0] for row in parts.rows} == {"npr", "dct", "spectrum"}  # without the control
    assert {row[2] for row in parts.rows} == {"–"}  # one seed
    audits = next(answer for question, answer in answers.items() if "checks" in question)
    assert "0 failed" in audits.sentences[0] and "metadata" in audits.sentences[1]
    limits = answers["What can this table not say?"].sentences
    assert any("one seed" in sentence for sentence in limits)
    assert any("fairface at 64 px" in sentence for sentence in limits)


def test_without_doubt_about_images_what_differs_between_seeds_is_theirs():
    values = [0.8, 0.9, 1.0]
    cells = {"random": [cell(auc, "g", seed=seed, error=0.0, first=100 * seed) for seed, auc in enumerate(values)]}
    assert Column(cells).variance_parts("random").seeds == pytest.approx(np.var(values, ddof=1) / 3)
