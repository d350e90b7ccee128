"""More forgeries than reals: accuracy is balanced, calibration at equal prevalence and at that of the set."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss
from synthetic import NO_PICTURES, make_results, make_scores

from benchmarks.cli.outcome import outcome_table
from benchmarks.evaluation import calibration
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.evaluation.metrics import METRICS
from benchmarks.evaluation.metrics.calibration import Ece
from benchmarks.evaluation.proportions import balanced_interval
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.results_table import shown_value, table
from benchmarks.report.write import write_report

REPORTS = Path(__file__).parents[2] / "reports"


def uneven(reals=84, forged=1000):
    """Scores that know nothing and always say forged, as a random detector does whose threshold came from elsewhere."""
    table = make_scores({("random", "gan"): {"gan": 0.0}}, n=forged)
    table["probability"] = np.random.default_rng(0).uniform(0.9, 0.94, len(table))
    return table.drop(table.index[(table["label"] == 0) & (table.groupby("source").cumcount() % 12 != 0)])


@pytest.fixture(scope="module")
def cell():
    return evaluate(uneven())[0]


def test_guessing_among_many_forgeries_has_an_accuracy_of_one_half(cell):
    assert cell.n_forged == 1000 and cell.n_real < 90
    assert cell.accuracy == 0.5 and cell.accuracy_low <= 0.5 <= cell.accuracy_high
    assert cell.ece == pytest.approx(0.0, abs=0.03) and cell.ece_balanced == pytest.approx(0.42, abs=0.01)
    assert cell.brier < 0.1 and cell.brier_balanced > 0.4
    assert cell.ap > 0.9 and cell.ap_balanced == pytest.approx(0.5, abs=0.1)
    assert {"ap_balanced", "brier_balanced", "ece_balanced", "log_loss_balanced"} <= set(METRICS.entries)


def test_the_terminal_and_the_page_say_so(cell, tmp_path):
    scores = uneven()
    results = make_results(scores)
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        console.print(outcome_table(results))
    shown = captured.get()
    assert "balanced acc." in shown and "92" not in shown.rpartition("random")[2]
    write_report(tmp_path, ReportInputs(results, scores, NO_PICTURES))
    text = (tmp_path / "report.md").read_text()
    assert "Balanced accuracy at 0.5" in text and "at the set's prevalence)" in text and "equal prevalence" in text


@pytest.mark.parametrize("measure", ["brier", "log_loss", "ece"])
def test_balanced_measures_do_not_depend_on_the_sizes_of_the_classes(measure):
    rng = np.random.default_rng(1)
    label, probability = np.repeat([0, 1], [40, 60]), rng.random(100).round(2)
    function = getattr(calibration, measure)
    more = np.concatenate([np.arange(40).repeat(7), np.arange(40, 100)])
    wanted = function(label, probability, balanced=True)
    assert function(label[more], probability[more], balanced=True) == pytest.approx(wanted)
    assert function(label[more], probability[more]) != pytest.approx(wanted)
    even = np.r_[0:40, 40:80]
    assert function(label[even], probability[even], balanced=True) == pytest.approx(
        function(label[even], probability[even])
    )


def test_a_balanced_log_loss_is_that_of_weighted_images():
    rng = np.random.default_rng(2)
    label, p = np.repeat([0, 1], [30, 90]), rng.random(120)
    weights = np.where(label == 1, 1 / 90, 1 / 30)
    assert calibration.log_loss(label, p, balanced=True) == pytest.approx(log_loss(label, p, sample_weight=weights))
    squared = np.average((p - label) ** 2, weights=weights)
    assert calibration.brier(label, p, balanced=True) == pytest.approx(squared)


def test_the_interval_of_a_balanced_accuracy_covers_it():
    rng = np.random.default_rng(3)
    label, covered = np.repeat([0, 1], [40, 400]), 0
    for _ in range(400):
        hit = rng.random(440) < np.where(label == 1, 0.9, 0.6)
        ends = balanced_interval(hit, label)
        covered += ends.low <= 0.75 <= ends.high
        assert ends.low <= balanced_accuracy_score(label, np.where(hit, label, 1 - label)) <= ends.high
    assert 0.92 <= covered / 400 <= 0.99


def test_results_of_earlier_versions_stay_readable():
    stored = json.loads((REPORTS / "dcgan-xception-rendered-quick" / "results.json").read_text())
    assert stored["schema_version"] < 5
    results = Results.model_validate(stored)
    first = results.cells[0]
    assert first.at_equal_prevalence("ece") == first.ece and shown_value(first, Ece.facts())
    uneven_cell = TestResult(**(first.model_dump() | {"n_real": first.n_real - 1}))
    assert uneven_cell.at_equal_prevalence("ece") is None and first.accuracy_is_balanced
    of_all = table(results.model_copy(update={"cells": [uneven_cell]}))[0].values[3]
    assert of_all.endswith(" of all images")
    assert shown_value(uneven_cell, Ece.facts()).endswith("at the set's prevalence")
