"""Intervals end at 0 and 1 in every format, values near 1 stay apart, and every list names the same leader."""

import csv
import io
import json

import numpy as np
import pytest
from test_leaderboard import suite

from benchmarks.cli.leaderboard import print_sheet
from benchmarks.evaluation import formats, numbers
from benchmarks.evaluation.formats import Sheet
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.reproduce import Value, verdict

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def sheet():
    """Two seeds that differ widely: an interval with one degree of freedom."""
    scores = suite({"good": 0.9, "bad": 0.1}, seeds=(0, 1), n=60)
    later = (scores["seed"] == 1) & (scores["label"] == 1)
    scores.loc[later, "score"] += np.where(scores.loc[later, "detector"] == "good", 2.0, -2.0)
    return Sheet(leaderboard(scores), "a suite", 1, {})


def test_no_interval_of_a_mean_auc_leaves_0_to_1(sheet):
    lines = json.loads(formats.to_json(sheet))["lines"]
    ends = [column[end] for line in lines for column in line["columns"].values() for end in ("low", "high")]
    assert min(ends) == 0.0 and max(ends) == 1.0
    row = next(csv.DictReader(io.StringIO(formats.to_csv(sheet))))
    assert float(row["unseen high"]) == 1.0
    for pair in json.loads(formats.to_json(sheet))["differences"]:
        assert -1 <= pair["low"] <= pair["high"] <= 1


def test_the_spread_of_a_column_compares_with_the_widths_that_are_shown():
    scores = suite({"good": 0.9, "fair": 0.7, "bad": 0.1}, seeds=(0, 1), n=60)
    later = (scores["seed"] == 1) & (scores["label"] == 1)
    scores.loc[later, "score"] += scores.loc[later, "detector"].map({"good": 2.0, "fair": 1.0, "bad": -2.0})
    board = leaderboard(scores)
    (spread,) = board.spreads
    standings = [line.columns[spread.column] for line in board.lines]
    assert {0.0, 1.0} & {end for standing in standings for end in (standing.low, standing.high)}
    assert spread.width == np.median([standing.high - standing.low for standing in standings])


def test_a_report_published_with_wider_intervals_is_still_reproduced():
    then = Value(what="svm, union", value=0.9, low=0.5, high=1.248)
    assert verdict(then, then.model_copy(update={"high": 1.0})).status == "IDENTICAL"
    assert verdict(then, then.model_copy(update={"high": 0.99})).status == "WITHIN"


def test_values_near_one_are_told_apart(sheet, capsys):
    shown = [numbers.near_one(value) for value in (0.9999, 0.998, 0.991, 0.95, 0.5, 0.0004, 1.0)]
    assert shown == ["0.9999", "0.998", "0.991", "0.95", "0.50", "0.0004", "1"]
    wide = [numbers.estimate(value, 0.95, 1.0).value for value in (0.9999, 0.998, 0.96)]
    assert wide == ["0.9999", "0.998", "0.96"]
    line = sheet.board.lines[0]
    near = {name: line.columns["unseen"].model_copy(update={"value": value, "low": 0.9, "high": 1.0})
            for name, value in (("first", 0.9999), ("second", 0.998))}  # fmt: skip
    columns = line.columns | near
    board = sheet.board.model_copy(
        update={"lines": [line.model_copy(update={"columns": columns})], "columns": dict.fromkeys(columns, "")}
    )
    print_sheet(Sheet(board, "a suite", 1, {}))
    assert {"0.9999", "0.998"} <= set(capsys.readouterr().out.split())
