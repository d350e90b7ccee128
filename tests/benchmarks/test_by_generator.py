"""Tables by tested generator: a column for each, and for each detector a row for each."""

import csv
import io
import json

import numpy as np
import pytest
from published_suite import publish_data
from test_leaderboard import GENERATORS, suite

from benchmarks.evaluation import roc
from benchmarks.evaluation.by_generator import columns_by_generator, generators_in, standings_by_generator
from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.leaderboard import ranked

SKILL = {"good": {"dcgan": 0.95, "gan": 0.9, "style": 0.7}, "bad": 0.6}


def test_a_column_for_each_generator_is_what_the_ranking_one_is_a_mean_of():
    cells = cells_of(suite(SKILL, seeds=(0, 1)))
    assert generators_in(cells, "unseen") == generators_in(cells) == list(GENERATORS)
    parts = columns_by_generator(cells, "unseen")
    order = ["unseen", *GENERATORS]
    board = ranked(parts, primary="unseen", meanings=dict.fromkeys(order, ""), order=order)
    whole = ranked(cells, primary="unseen")
    assert list(board.columns) == order
    for line, before in zip(board.lines, whole.lines, strict=True):
        assert (line.detector, line.rank) == (before.detector, before.rank)
        assert line.columns["unseen"] == before.columns["unseen"]
        values = [line.columns[name].value for name in GENERATORS]
        assert np.mean(values) == pytest.approx(line.columns["unseen"].value)  # each generator is a family here


def test_standings_are_the_means_of_each_generator_and_column():
    scores = suite(SKILL, seeds=(0, 1))
    standings = standings_by_generator(cells_of(scores))
    own = scores[scores["detector"].eq("good") & scores["trained_on"].eq("dcgan+gan")]
    aucs = [roc.auc(rows["label"], rows["score"]) for _, rows in own.groupby("seed")]
    mean = standings["good"]["style"]["unseen"]
    assert mean.value == pytest.approx(np.mean(aucs)) and 0 <= mean.low < mean.value < mean.high <= 1
    assert (mean.cells, mean.missing) == (2, 0)
    # one of two seeds is missing: no mean over the rest
    cut = scores[~(scores["detector"].eq("good") & scores["seed"].eq(1) & scores["trained_on"].eq("dcgan+gan"))]
    short = standings_by_generator(cells_of(cut))["good"]["style"]["unseen"]
    assert (short.value, short.cells, short.missing) == (None, 1, 1)


def test_the_commands_print_both(tmp_path, bench):
    publish_data(tmp_path / "reports" / "mine")
    code, out, _ = bench("leaderboard", "mine", "--per", "generator", "--format", "md")
    assert (
        code == 0
        and out.startswith("| rank | detector | unseen | ")
        and " | dcgan | gan | style | " in out.splitlines()[0]
    )
    code, out, _ = bench("leaderboard", "mine", "--per", "generator", "--format", "json")
    board = json.loads(out)
    assert board["primary"] == "unseen" and board["columns"]["style"] == "unseen, tested on style"
    assert board["title"] == "mine, unseen by generator"  # another label in LaTeX than the whole table's
    code, out, _ = bench("leaderboard", "mine", "--per", "detector", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and {row["detector"] for row in rows} == {"good", "bad"}
    by_json = json.loads(bench("leaderboard", "mine", "--per", "detector", "--format", "json")[1])["detectors"]
    for row in rows:
        value = by_json[row["detector"]][row["generator"]]["columns"][row["column"]]["value"]
        assert row["value"] == f"{value:.6f}"
    code, out, _ = bench("leaderboard", "mine", "--per", "detector", "--format", "latex", "--columns", "unseen")
    assert code == 0 and out.count(r"\begin{tabular}") == 2 and r"\textbf" not in out and "rank 1" not in out
    code, out, _ = bench("leaderboard", "mine", "--per", "detector")
    assert code == 0 and "mine, good by generator" in out and "style" in out
    assert bench("leaderboard", "mine", "--per", "detector", "--format", "html")[0] == 0


def test_generators_of_several_reports_keep_their_families(tmp_path, bench):
    for name in ("mine", "other"):
        publish_data(tmp_path / "reports" / name)
    code, out, _ = bench("leaderboard", "mine", "other", "--per", "detector", "--format", "json")
    rows = json.loads(out)["detectors"]["good"]
    assert code == 0 and len(rows) == 6 and all(row["family"] for row in rows.values())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--per", "family"), "known: detector, generator"),
        (("--per", "detector", "--by", "seen"), "ranks nothing"),
        (("--per", "detector", "--columns", "unsen"), "did you mean 'unseen'"),
        (("--per", "generator", "--columns", "styl"), "did you mean 'style'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, bench, words, sentence):
    publish_data(tmp_path / "reports" / "mine")
    code, out, err = bench("leaderboard", "mine", *words)
    assert (code, out) == (2, "") and sentence in err
