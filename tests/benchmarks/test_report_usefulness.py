"""The section on forgeries as training images: its table, figure and sentences, and why others have none."""

import pytest
from synthetic import NO_PICTURES, Page, make_results, make_scores

from benchmarks.evaluation.run_facts import UsefulnessRow
from benchmarks.evaluation.usefulness import usefulness_rows
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.page import build
from benchmarks.report.render import html, text
from forge.quality.result import SeedMean
from forge.quality.usefulness import Gain, Usefulness

BOTH = {("xception", "cgan+dcgan"): {"cgan": 2.0, "dcgan": 2.0}}


def means(low, high):
    """Accuracies without and with forgeries over three seeds, and their paired differences."""
    without, augmented = [low, low + 0.01, low - 0.01], [high, high + 0.012, high - 0.01]
    difference = [b - a for a, b in zip(without, augmented, strict=True)]
    return tuple(map(SeedMean.of, (without, augmented, difference)))


def measured():
    reals, forgeries, difference = means(0.78, 0.66)
    gains = []
    for reals_of, ratio, added, ends in (
        (50, 1, 1000, (0.6, 0.65)),
        (50, 10, 40, (0.52, 0.6)),
        (200, 1, 1000, (0.7, 0.7)),
    ):
        without, augmented, gain = means(*ends)
        gains.append(
            Gain(reals=reals_of, ratio=ratio, forgeries=added, without=without, augmented=augmented, gain=gain)
        )
    score = Usefulness(
        labels=["Female", "Male"], rare="Male", chance=0.5, n=2000, n_test=3196, forgeries=forgeries, reals=reals,
        difference=difference, gains=gains,
    )  # fmt: skip
    return usefulness_rows({"gender": score})


@pytest.fixture(scope="module")
def results():
    run = make_results(make_scores(BOTH, n=40))
    cgan, dcgan = run.generators
    conditional = cgan.model_copy(update={"usefulness": measured(), "condition": {"values": {"gender": ["F", "M"]}}})
    return run.model_copy(update={"generators": [conditional, dcgan]})


def test_rows_are_flat_and_in_order():
    rows = measured()
    assert [(row.design, row.reals, row.forgeries) for row in rows] == [
        ("in place", 2000, 2000), ("balanced", 50, 1000), ("unbalanced", 50, 40), ("balanced", 200, 1000),
    ]  # fmt: skip
    assert all(row.low <= row.difference <= row.high and (row.seeds, row.labels) == (3, 2) for row in rows)
    assert UsefulnessRow.model_validate_json(rows[0].model_dump_json()) == rows[0]


def test_the_section_shows_both_questions_and_why_others_have_none(results):
    page = build(ReportInputs(results, make_scores(BOTH, n=40), NO_PICTURES))
    shown, plain = Page(html(page)), text(page)
    words = " ".join("".join(shown.text).split())
    assert "Forgeries as training images" in words
    assert "trained on 2,000 forgeries alone, a classifier has a balanced accuracy of 0.66 on real faces" in words
    assert "as many real ones 0.78 (chance 0.50)" in words
    assert "raise the accuracy in 2 and lower it in 0 of 3 settings" in words
    assert "50 real, few of “Male”" in words and "the same + 40 forged" in words
    assert "dcgan was not measured: it is told no labels" in words
    assert any(
        attrs.get("aria-label", "").startswith("Gain from forgeries of cgan, gender") for attrs in shown.all("svg")
    )
    assert "| 2,000 real | 2,000 forged | 0.780 | 0.661 |" in plain


def test_without_labelled_forgeries_the_section_is_left_out(results):
    plain = results.model_copy(update={"generators": [results.generators[1]]})
    page = build(ReportInputs(plain, make_scores(BOTH, n=40), NO_PICTURES))
    assert "Forgeries as training images" not in html(page)
