"""Where results and reports lie: a flag, else a variable of the environment, else a folder of the current one."""

import json

import pytest
from synthetic import NO_PICTURES, ONE, TINY, make_results, make_scores

from benchmarks import load
from benchmarks.cli import completion
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report


def test_one_variable_moves_each_place(bench, tmp_path, monkeypatch):
    elsewhere = tmp_path / "else where"
    scores = make_scores(ONE, n=60)
    write_report(elsewhere / "mine", ReportInputs(make_results(scores, name="mine"), scores, NO_PICTURES))
    assert bench("show", "mine")[0] == 2  # not in reports/
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "kept"))
    monkeypatch.setenv("BENCH_REPORTS", str(elsewhere))
    rows = {row["what"]: row for row in json.loads(bench("doctor", "--json")[1])}
    places = {"store": ("BENCH_HOME", tmp_path / "kept"), "reports": ("BENCH_REPORTS", elsewhere)}
    for what, (variable, folder) in places.items():
        assert rows[what]["found"].startswith(f"{folder} (") and variable in rows[what]["advice"]
    assert "store elsewhere" not in rows
    address = json.loads(bench("doctor", "--json", "--store", "memory://shared")[1])
    rows = {row["what"]: row["found"] for row in address}
    assert rows["store"].startswith(str(tmp_path / "kept")) and rows["store elsewhere"] == "memory://shared"
    assert [run["name"] for run in json.loads(bench("list", "runs", "--json")[1])] == ["mine"]
    assert load("mine").name == "mine" and completion.runs("mi") == ["mine"]
    assert json.loads(bench("list", "runs", "--json", "--reports", "none")[1]) == []  # a flag wins


@pytest.mark.usefixtures("trained_gan")
@pytest.mark.e2e
def test_by_default_reports_lie_beside_the_store_and_published_ones_are_found(bench, tmp_path, monkeypatch):
    from published_suite import publish_suite

    monkeypatch.delenv("BENCH_REPORTS")
    publish_suite(tmp_path / "reports" / "published")
    published = {file: file.read_bytes() for file in (tmp_path / "reports").rglob("*") if file.is_file()}
    assert bench("leaderboard", "published")[0] == 0 and "published" in bench("list", "runs")[1]
    assert bench("run", "-g", "gan", "-d", "dct", *TINY, "--name", "published", "--quiet")[0] == 0
    assert (tmp_path / "runs/reports/published/index.html").is_file()
    assert {file: file.read_bytes() for file in (tmp_path / "reports").rglob("*") if file.is_file()} == published
    assert "reports/published" in bench("show", "published")[1]  # the run's own comes first
