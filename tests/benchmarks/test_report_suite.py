"""The page of a suite: what it draws in full, what it says beside the table, and the table as a picture."""

import re

import pandas as pd
import pytest
from synthetic import NO_PICTURES, Page, html_of, make_results, make_scores

from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.report.focus import focus, measures, with_slider
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.key_figure import leaderboard_figure
from benchmarks.report.plot.figure import FileNames
from benchmarks.report.results_table import ScoreIndex, shown_metrics
from benchmarks.report.sections import threshold_slider
from benchmarks.report.text.suite_summary import suite_notes
from benchmarks.report.write import write_report

GENERATORS = ("dcgan", "gan", "style")
#                 seen, left out, robust
SKILL = {"npr": (4.0, 2.5, 0.3), "xception": (4.0, 1.0, 1.5), "dct": (4.0, -1.0, 0.2), "random": (0.0, 0.0, 0.0)}


@pytest.fixture(scope="module")
def finished():
    skill = {}
    for name, (seen, unseen, _) in SKILL.items():
        for left in GENERATORS:
            others = "+".join(g for g in GENERATORS if g != left)
            skill[name, others] = {g: unseen if g == left else seen for g in GENERATORS}
            skill[name, left] = {g: seen if g == left else unseen for g in GENERATORS}
        skill[name, "+".join(GENERATORS)] = dict.fromkeys(GENERATORS, seen)
    scores = make_scores(skill, n=40)
    changed = make_scores({(n, "+".join(GENERATORS)): dict.fromkeys(GENERATORS, s[2]) for n, s in SKILL.items()}, n=40)
    scores = pd.concat([scores, changed[changed["split"] == "test"].assign(perturbation="jpeg30")], ignore_index=True)
    return make_results(scores, name="many").model_copy(update={"seeds": [0]}), scores, leaderboard(scores)


def test_what_leads_is_drawn_in_full(finished):
    results, _, board = finished
    assert [line.detector for line in board.lines] == ["npr", "xception", "random", "dct"]
    cells = [cell for cell in results.cells if cell.perturbation == "none"]
    shown = focus(cells, board)
    assert {cell.detector for cell in shown.single} == {"npr"} and len(shown.single) == 2
    assert {cell.detector for cell in shown.wrong} == {"npr", "xception"} and len(shown.wrong) == 6
    assert {(cell.trained_on, cell.tested_on) for cell in shown.paired} == {
        ("gan+style", "dcgan"), ("dcgan+style", "gan"), ("dcgan+gan", "style"),
    }  # fmt: skip
    assert "npr, which leads" in shown.notes["single"] and "unseen" in shown.notes["paired"]
    turned = with_slider(cells, board)
    assert [cell.detector for cell in turned] == ["npr"] * 3 + ["xception"] * 3 + ["dct"] * 3  # no control


def test_a_run_without_a_table_shows_its_hardest_results(finished):
    results, _, _ = finished
    cells = [cell for cell in results.cells if cell.perturbation == "none"]
    shown = focus(cells, None)
    assert len(shown.single) == 6 and "lowest AUC, 6 of 84" in shown.notes["single"]
    assert max(cell.auc for cell in shown.single) <= sorted(cell.auc for cell in cells)[5]
    assert focus(cells[:3], None).notes == {"single": "", "paired": "", "wrong": ""}
    assert with_slider(cells, None) == cells


def test_notes_say_who_is_robust_and_what_lies_below_chance(finished):
    results, _, board = finished
    robust, below = suite_notes(board, results.cells)
    assert "xception leads with 0.8" in robust and "npr has 0.5" in robust
    below_chance = [c for c in results.cells if c.detector == "dct" and not c.seen and c.perturbation == "none"]
    assert below.startswith(f"{len(below_chance)} of ") and "dct trained on" in below


def test_other_measures_are_means_with_their_range(finished):
    results, _, board = finished
    table = measures(board, results.cells, shown_metrics(results))
    assert [name for name, _ in table.lines] == [line.detector for line in board.lines] and table.cells == 3
    of = [c.eer for c in results.cells if c.detector == "npr" and c.condition == "unseen"]
    eer = dict(table.lines)["npr"][table.names.index("EER")]
    assert eer == (f"{sum(of) / 3:.2f}", f"{min(of):.2f} to {max(of):.2f}")
    assert dict(table.lines)["npr"][table.names.index("TPR at 1 % FPR")] == ("n too small", "")


def test_the_picture_has_a_row_a_detector_and_a_ring_a_generator(finished):
    results, _, board = finished
    figure = leaderboard_figure(board, results.cells, FileNames())
    assert figure.svg.count('class="dot s4"') == 1 + 4 and figure.svg.count('class="ring s5"') == 1 + 4 * 3
    names = re.findall(r'<text class="name"[^>]*>(\d+)  ([a-z]+)</text>', figure.svg)
    assert [name for _, name in names] == [line.detector for line in board.lines]
    assert all(f"{line.detector} 0." in figure.alt for line in board.lines)


def test_the_page_is_short_and_says_where_the_rest_is(finished, tmp_path):
    results, scores, board = finished
    write_report(tmp_path, ReportInputs(results, scores, NO_PICTURES, board=board))
    text = html_of(tmp_path)
    page = Page(text)
    assert len(page.all("caption")) == len(page.all("table"))
    assert "Other metrics" in text and "Every metric of all" not in text and "Paired tests" not in text
    written = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Leaderboard" in written and "results.csv" in written and len(written.splitlines()) < 160
    assert len(text.encode()) < 220_000


def test_a_mean_over_tests_of_which_some_have_no_value_is_not_taken(finished):
    results, _, board = finished
    metrics = shown_metrics(results)
    name = next(metric.id for metric in metrics if metric.title == "TPR at 1 % FPR")

    def shown(values):
        cells = [cell.model_copy(update={name: 0.4}) for cell in results.cells]
        own = [i for i, cell in enumerate(cells) if cell.detector == "npr" and cell.condition == "unseen"]
        for i, value in zip(own, values, strict=True):
            cells[i] = cells[i].model_copy(update={name: value})
        table = measures(board, cells, metrics)
        return dict(table.lines)["npr"][table.names.index("TPR at 1 % FPR")]

    assert shown([0.4, 0.4, 0.7]) == ("0.50", "0.40 to 0.70")
    assert shown([0.4, None, 0.7]) == ("n too small", "")


def test_sliders_of_unseen_generators_come_first_where_there_are_too_many(finished):
    results, scores, _ = finished
    seen, unseen = (next(cell for cell in results.cells if cell.seen is which) for which in (True, False))
    rows = ScoreIndex(scores)
    # copies that differ in their threshold alone; each slider starts at that of its cell
    many = [seen.model_copy(update={"threshold": -50.0 - i}) for i in range(threshold_slider.MAX_TESTS)]
    last = [unseen.model_copy(update={"threshold": 50.0 + i}) for i in range(3)]
    starts = [slider["thresholds"][slider["start"]] for slider in threshold_slider.sliders([*many, *last], rows)]
    assert len(starts) == threshold_slider.MAX_TESTS and sum(start > 0 for start in starts) == 3
