"""Two detectors of a suite against each other."""

import json

import pandas as pd
import pytest
from synthetic import NO_PICTURES, call_bench, make_results
from test_leaderboard import GENERATORS, rows_of, suite, union

from benchmarks.evaluation import comparison
from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report
from forge.core.errors import UnknownNameError

SKILL = {"good": 0.9, "bad": 0.7}
ALL = [rows_of(name, union(*GENERATORS), 0.9, seed=seed) for name in SKILL for seed in (0, 1)]
SCORES = pd.concat([suite(SKILL, seeds=(0, 1)), *ALL, rows_of("good", "gan", 0.99)])


def test_the_primary_column_says_what_the_leaderboard_says():
    by_column = {column.what: column for column in comparison.columns(cells_of(SCORES), "good", "bad")}
    assert set(by_column) == {"unseen", "seen"}  # only one of them was trained on gan alone
    (pair,) = leaderboard(SCORES).differences
    column = by_column["unseen"]
    assert (column.difference, column.low, column.high) == pytest.approx((-pair.difference, -pair.high, -pair.low))
    assert column.p_holm < 0.05 < by_column["seen"].p_holm and column.cells == 6
    assert column.a - column.b == pytest.approx(column.difference)


def test_the_other_way_round_is_the_other_sign():
    column, other = (comparison.columns(cells_of(SCORES), *names)[0] for names in (("good", "bad"), ("bad", "good")))
    assert (column.difference, column.low, column.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert column.p_holm == pytest.approx(other.p_holm)


def test_every_cell_of_a_column():
    cells = cells_of(SCORES)
    differences = comparison.single(cells["good"]["unseen"], cells["bad"]["unseen"])
    assert [column.what for column in differences][:2] == ["style, seed 0", "style, seed 1"] and len(differences) == 6
    assert all(column.cells == 1 and column.difference > 0 for column in differences)


def test_names_are_checked():
    with pytest.raises(UnknownNameError, match="did you mean 'good'"):
        comparison.columns(cells_of(SCORES), "god", "bad")


def test_the_command_prints_and_draws(tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    rows = SCORES[SCORES["seed"].eq(0)]
    val = rows.assign(split="val", sample_id="v" + rows["sample_id"])
    for name in set(val["trained_on"]):
        val.loc[val["trained_on"].eq(name) & val["generator"].ne(""), "generator"] = name.split("+")[0]
    whole = pd.concat([rows, val.drop_duplicates(["detector", "trained_on", "sample_id"])], ignore_index=True)
    write_report(tmp_path / "reports" / "mine", ReportInputs(make_results(whole, name="mine"), whole, NO_PICTURES))
    code, out, err = bench("compare", "good", "bad", "--suite", "mine")
    assert (code, err) == (0, "") and "unseen" in out and "p < 0.001" in out
    picture = (tmp_path / "pictures" / "mine" / "good-vs-bad.svg").read_text()
    assert picture.startswith("<svg") and "AUC of good minus that of bad" in picture
    code, out, _ = bench("compare", "good", "bad", "--suite", "mine", "--column", "unseen", "--json")
    assert code == 0 and len(json.loads(out)) == 3
    for arguments, sentence in (
        (("good", "good"), "compared with itself"),
        (("good", "bat"), "did you mean 'bad'"),
        (("good", "bad", "--column", "same"), "column of both"),
    ):
        code, _, err = bench("compare", *arguments, "--suite", "mine")
        assert code == 2 and sentence in err
