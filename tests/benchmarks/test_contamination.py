"""Test sets that a detector was trained on are marked in every form of the leaderboard."""

import csv
import io
import json
from types import SimpleNamespace

import pandas as pd
import pytest

from benchmarks.evaluation import formats
from benchmarks.evaluation.contamination import MARK, names_of, seen_tests, with_marks
from benchmarks.evaluation.formats import Sheet
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.report.sections.leaderboard import leaderboard_content
from benchmarks.workflow.seen_files import RunFiles

from .test_evaluate import rows


@pytest.mark.parametrize(
    ("test_set", "names"),
    [
        ("external:ProGAN", {"progan"}),
        ("external:ForenSynths/progan", {"forensynths", "progan"}),
        ("external:celeb-df", {"celebdf", "celeb", "df"}),
        ("external:FF++ c23", {"ffpp", "c23"}),
    ],
)
def test_names_in_the_name_of_a_test_set(test_set, names):
    assert names_of(test_set) == names


def test_a_test_is_seen_by_name_or_by_files():
    tests = {"external:progan": {"a"}, "external:mine": {"b", "c"}, "external:progan2": set()}
    assert seen_tests(["ProGAN", "lsun"], [], tests) == {"external:progan": "trained on ProGAN"}
    assert seen_tests([], ["c", "z"], tests) == {"external:mine": "1 of 2 files were in its training"}
    assert seen_tests([], [], tests) == {}


def test_files_are_those_of_the_splits_that_a_fit_reads():
    table = pd.DataFrame({"split": ["train", "val", "test", "forge"], "source_sha256": ["a", "b", "c", None]})
    pair = pd.DataFrame({"split": ["test", "test"], "source_sha256": ["b", "c"]})
    run = RunFiles(
        [SimpleNamespace(table=table), SimpleNamespace(table=pd.DataFrame({"split": ["train"]}))],
        [("external:mine", SimpleNamespace(table=pair))],
    )
    assert run.seen([], fitted=True) == {"external:mine": "1 of 2 files were in its training"}
    assert run.seen([], fitted=False) == {} and run.seen(["mine"], fitted=False)
    assert RunFiles([], []).seen(["mine"], fitted=True) == {}


@pytest.fixture(scope="module")
def board():
    scores = pd.concat([rows(name, generators=("a", "b"), shift=shift) for name, shift in (("dct", 1), ("npr", 2))])
    return leaderboard(scores)


def test_every_form_marks_the_mean_and_says_why(board):
    column = board.primary
    test = sorted(board.tests_of[column])[0]
    facts = [SimpleNamespace(name="npr", seen={test: "trained on progan", "external:other": "trained on progan"})]
    sheet = Sheet(with_marks(board, facts), "title", 2, {})
    note = f"{MARK} The detector has seen a test set of this mean. npr in {column}: {test} (trained on progan)."
    text = formats.markdown(sheet)
    assert note in text and text.count(MARK) == 2  # the mean of npr, and the footnote
    assert note in formats.html(sheet).replace("&#x27;", "'")
    table = list(csv.DictReader(io.StringIO(formats.to_csv(sheet))))
    assert {row["detector"]: row[f"{column} seen"] for row in table} == {"npr": test, "dct": ""}
    lines = {line["detector"]: line for line in json.loads(formats.to_json(sheet))["lines"]}
    assert lines["npr"]["columns"][column]["seen"] == {test: "trained on progan"}
    assert "seen" not in lines["dct"]["columns"][column]
    page = leaderboard_content(sheet.board, 2)
    fields = {name: cells[0].value for _, name, _, cells in page.lines}
    assert fields["npr"].endswith(MARK) and MARK not in fields["dct"] and note in page.notes


def test_without_a_seen_set_nothing_changes(board):
    assert with_marks(board, [SimpleNamespace(name="npr", seen={})]) is board
    sheet = Sheet(board, "title", 2, {})
    assert MARK not in formats.markdown(sheet) and "seen" not in formats.to_csv(sheet).splitlines()[0].split()
