"""Metrics of detection: a plug-in is one file, seen in CSV, page and report.md; what is no metric is named."""

import csv
import io
import json

import pytest
from rich.console import Console
from sklearn.metrics import f1_score
from synthetic import NO_PICTURES, ONE, call_bench, html_of, make_results, make_scores
from test_quality_plugins import BRIGHTNESS

from benchmarks.cli.outcome import outcome_table
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.metrics import METRICS, facts_of, load_metrics
from benchmarks.evaluation.metrics.base import check_id
from benchmarks.evaluation.results import CSV_COLUMNS, Results, TestResult, to_csv
from benchmarks.evaluation.results_of import evaluated
from benchmarks.report.digests import write_sums
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.results_table import shown_value
from benchmarks.report.write import write_report
from forge.core.errors import BenchWarning, InputError
from forge.core.registry import allow_files

F1 = """
from benchmarks.evaluation.metrics.base import Metric, Value


class F1(Metric):
    id = "f1"
    title = "F1 score"
    meaning = "Harmonic mean of precision and recall at the threshold fixed on validation images."
    unit = "percent"

    def compute(self, test):
        called, forged = test.score >= test.threshold, test.label == 1
        return Value(float(2 * (called & forged).sum() / (called.sum() + forged.sum())))


class Taken(F1):
    id = "auc"


class Odd(F1):
    id = "F 1"


class Raising(F1):
    def compute(self, test):
        raise RuntimeError("no such thing")


class Infinite(F1):
    def compute(self, test):
        return Value(float("inf"))


class Method(F1):
    id = "copy"


class Unit(F1):
    unit = "seconds"


class Unmakeable(F1):
    def __init__(self):
        raise RuntimeError("no")


class Nameless(Metric):
    def compute(self, test):
        return Value(1.0)


NOT_ONE = 3
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "my.py"
    file.write_text(F1)
    allow_files([f"{file}:F1"])
    return file


def test_a_metric_from_a_file_is_in_results_csv_page_and_report(plugin, tmp_path):
    reference, scores = f"{plugin}:F1", make_scores(ONE, n=60)
    measured = evaluated(scores, [reference])
    results = Results.model_validate(make_results(scores).model_dump() | measured)
    cell, test = results.cells[0], scores[scores["split"] == "test"]
    wanted = f1_score(test["label"], test["score"] >= cell.threshold)
    assert cell.value("f1") == pytest.approx(wanted) and results.metrics[-1].name == reference
    write_report(tmp_path / "report", ReportInputs(results, scores, NO_PICTURES))
    row = next(csv.DictReader(io.StringIO((tmp_path / "report/results.csv").read_text())))
    assert float(row["f1"]) == pytest.approx(wanted, abs=1e-6)
    shown = shown_value(cell, results.metrics[-1])
    assert shown.endswith(" %")
    for text in (html_of(tmp_path / "report"), (tmp_path / "report/report.md").read_text()):
        assert "F1 score" in text and shown in text
    again = Results.model_validate(json.loads((tmp_path / "report/results.json").read_text()))
    # the code of the metric is not needed to read its values; summary and notes were added when the report was written
    assert again.model_copy(update={"summary": [], "notes": []}) == results


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Taken", "every result has a field 'auc' already"),
        ("Odd", "must be lower case letters"),
        ("Method", "every result has a field 'copy' already"),
        ("Unit", "unit: Input should be 'percent'"),
        ("Unmakeable", "cannot be made: 'no'"),
        ("Nameless", "does not define id, title, meaning"),
        ("NOT_ONE", "is no metric: it must be a subclass"),
        ("Gone", "defines no 'Gone'"),
    ],
)
def test_what_is_no_metric_is_named(plugin, name, sentence):
    with pytest.raises(InputError, match=sentence):
        load_metrics([f"{plugin}:{name}"])


def test_two_of_one_id_and_what_cannot_be_computed_are_named(plugin):
    with pytest.raises(InputError, match="its id 'f1' is taken"):
        load_metrics([f"{plugin}:F1", f"{plugin}:Raising"])
    scores = make_scores(ONE, n=60)
    for name, sentence in (("Raising", "metric f1 failed: RuntimeError: no such thing"), ("Infinite", "f1 is inf")):
        with pytest.raises(InputError, match=sentence):
            evaluate(scores, load_metrics([f"{plugin}:{name}"]))


def test_a_metric_that_fails_costs_its_own_values_alone(plugin):
    with pytest.warns(BenchWarning, match="metric f1 failed and has no value: RuntimeError: no such thing"):
        results = evaluated(make_scores(ONE, n=60), [f"{plugin}:Raising"])
    assert results["metrics"][-1]["missing"] == "failed" and results["cells"][0]["f1"] is None
    assert results["cells"][0]["eer"] is not None


def test_a_report_made_again_from_its_scores_keeps_what_it_cannot_compute(plugin, tmp_path, monkeypatch, capsys):
    bench, scores = call_bench(tmp_path, monkeypatch, capsys), make_scores(ONE, n=60)
    measured = evaluated(scores, ["my.py:F1"])
    results = Results.model_validate(make_results(scores, name="mine").model_dump() | measured)
    write_report(tmp_path / "reports/mine", ReportInputs(results, scores, NO_PICTURES))
    write_sums(tmp_path / "reports/mine")
    file = tmp_path / "reports/mine/results.json"
    before = json.loads(file.read_text())
    code, _, err = bench("report", "mine", "--from-scores")
    assert code == 0 and "metric f1 keeps its stored values; to compute them again name its file with --plugin" in err
    after = json.loads(file.read_text())
    assert after["metrics"] == before["metrics"] and after["cells"] == before["cells"]
    code, _, err = bench("report", "mine", "--from-scores", "--plugin", "my.py:F1")
    assert (code, err) == (0, "") and json.loads(file.read_text())["cells"] == before["cells"]


def test_the_command_line_takes_and_checks_metrics(plugin, tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    run = ("run", "-g", "gan", "-d", "dct", "--preset", "smoke", "--dry-run", "--json")
    keys = [
        {row["stage"]: row["key"] for row in json.loads(bench(*run, *more)[1])}
        for more in ((), ("--metric", "my.py:F1"))
    ]
    assert {stage for stage in keys[0] if keys[0][stage] != keys[1][stage]} == {"evaluate", "report"}
    plugin.write_text(F1.replace("2 * (called", "2.0 * (called"))
    changed = {row["stage"]: row["key"] for row in json.loads(bench(*run, "--metric", "my.py:F1")[1])}
    assert {stage for stage in changed if changed[stage] != keys[1][stage]} == {"evaluate", "report"}
    (tmp_path / "brightness.py").write_text(BRIGHTNESS)
    both = {
        row["stage"]: row["key"] for row in json.loads(bench(*run, "--metric", "my.py:F1,brightness.py:Brightness")[1])
    }
    assert {stage for stage in both if both[stage] != changed[stage]} == {"floor rendered", "quality gan", "report"}
    code, _, err = bench(*run, "--metric", "f2")
    assert code == 2 and "metric 'f2' is not known" in err and "bench list metrics" in err and err.count("\n") == 1
    assert "pauc" in bench("list", "metrics")[1]


def test_the_protocol_s_metrics_are_described_and_ordered():
    facts = facts_of()
    assert [metric.id for metric in facts] == list(METRICS.entries) and all(
        metric.title and metric.meaning for metric in facts
    )
    assert [metric.title for metric in facts if metric.shown][:3] == ["EER", "TPR at 1 % FPR", "Balanced accuracy"]
    columns = to_csv([], facts).strip().split(",")
    assert columns == [*CSV_COLUMNS, *METRICS.entries]
    known = {metric.id for metric in facts}
    assert all(metric.equal_prevalence in known | {""} for metric in facts)


def test_a_number_of_any_size_has_four_digits():
    facts = MetricFacts(id="cost", name="cost", title="Cost", meaning="", better="lower", unit="number", interval=True)
    base = evaluate(make_scores(ONE, n=60))[0].model_dump()
    values = {"cost": 12345.678, "cost_low": 12000.0, "cost_high": None}
    assert shown_value(TestResult(**base | values), facts) == "1.235e+04"
    assert shown_value(TestResult(**base | values | {"cost_high": 2e4}), facts) == "1.235e+04 [1.2e+04, 2e+04]"
    assert shown_value(TestResult(**base), facts) is None


def test_ids_are_checked_against_the_ends_of_intervals():
    assert check_id("f1", frozenset({"auc"})) is None
    assert "'eer_low'" in check_id("eer_low", frozenset({"eer_low"}))
    assert "'x_low'" in check_id("x", frozenset({"x_low"}))


def test_brackets_in_the_title_of_a_metric_are_no_markup(plugin):
    scores = make_scores(ONE, n=60)
    measured = evaluated(scores, [f"{plugin}:F1"])
    measured["metrics"][-1]["title"] = "rate [/s]"
    results = Results.model_validate(make_results(scores).model_dump(mode="json") | measured)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(outcome_table(results))
    assert "rate [/s]" in captured.get()
