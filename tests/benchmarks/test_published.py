"""Committed suites come out again: every AUC, mean and rank from the stored scores."""

import json
from pathlib import Path

import pytest
from synthetic import call_bench

REPORTS = Path(__file__).parents[2] / "reports"
PUBLISHED = ("faces64-quick",)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_committed_suite_comes_out_again_to_the_last_digit(name, tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    code, out, err = bench("reproduce", name, "--reports", str(REPORTS), "--json")
    assert (code, err) == (0, "")
    counts = json.loads(out)["counts"]
    assert counts["IDENTICAL"] > 500 and counts["IDENTICAL"] == sum(counts.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_photo_was_shown_in_it(name):
    results = json.loads((REPORTS / name / "results.json").read_text(encoding="utf-8"))
    assert not results["data"]["shown"] and "--show-real" not in results["command"]
