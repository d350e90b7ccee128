"""Notes below a leaderboard explain the columns that are shown, and no others."""

import pytest
from test_leaderboard import suite

from benchmarks.cli.leaderboard import print_sheet
from benchmarks.evaluation.formats import Cost, Sheet
from benchmarks.evaluation.leaderboard import leaderboard

MISSING = "–: cells are missing."


def sheet(**measures):
    board = leaderboard(suite({"good": 0.9, "bad": 0.6}, n=60))
    lines = [line.model_copy(update=measures) for line in board.lines]
    costs = {"good": Cost(100.0, 5, 1.0), "bad": Cost(None, 5, 1.0)}
    return Sheet(board.model_copy(update={"lines": lines}), "a suite", 1, costs)


def printed(shown, capsys, monkeypatch, width=120):
    monkeypatch.setenv("COLUMNS", str(width))
    print_sheet(shown)
    return " ".join(capsys.readouterr().out.split())


def test_a_missing_speed_is_no_missing_cell(capsys, monkeypatch):
    text = printed(sheet(), capsys, monkeypatch)
    assert "–" in text and MISSING not in text


def test_missing_cells_are_noted(capsys, monkeypatch):
    whole = sheet()
    primary = whole.board.primary
    line = whole.board.lines[1]
    empty = line.columns[primary].model_copy(update={"value": None, "cells": 0})
    lacking = line.model_copy(update={"columns": line.columns | {primary: empty}, "rank": None})
    board = whole.board.model_copy(update={"lines": [whole.board.lines[0], lacking]})
    assert MISSING in printed(Sheet(board, "a suite", 1, {}), capsys, monkeypatch)


@pytest.mark.parametrize(
    ("shown", "note"),
    [
        (
            ["balanced accuracy", "TPR at 1 % FPR"],
            "Balanced accuracy at the threshold fixed on validation data, and TPR at 1 % FPR, are means over the tests "
            "of unseen.",
        ),
        (
            ["balanced accuracy"],
            "Balanced accuracy at the threshold fixed on validation data is a mean over the tests of unseen.",
        ),
        (["TPR at 1 % FPR"], "TPR at 1 % FPR is a mean over the tests of unseen."),
    ],
)
def test_measures_have_a_note_where_they_are_shown(shown, note):
    whole = sheet(balanced_accuracy=0.8, tpr_at_fpr_1pct=0.2)
    assert note in whole.notes_of(["rank", "unseen", *shown])
    assert not any("TPR" in line or "Balanced" in line for line in whole.notes_of(["rank", "unseen"]))


def test_a_narrow_terminal_leaves_out_the_notes_of_hidden_columns(capsys, monkeypatch):
    whole = sheet(balanced_accuracy=0.8, tpr_at_fpr_1pct=0.2)
    assert "TPR at 1 % FPR, are means" in printed(whole, capsys, monkeypatch)
    narrow = printed(whole, capsys, monkeypatch, width=46)
    assert "are means" not in narrow and "is a mean" not in narrow and "Not shown for want of width" in narrow


def test_the_interval_for_a_new_family_is_explained_where_it_is_shown():
    whole = sheet()
    assert whole.second == "95 %, new family"
    assert any("the interval for a new family adds" in note for note in whole.notes)
    hidden = whole.notes_of(["rank", "unseen"])
    assert any(note.endswith("Its interval is for these families.") for note in hidden)
    assert not any("adds" in note for note in hidden)
