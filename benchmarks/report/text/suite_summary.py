"""Sentences that open the report of a suite: who leads, on perturbed images too, and what lies below chance."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM
from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.leaderboard import Leaderboard, Line
from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import TestResult
from benchmarks.evaluation.thresholds import FINDS_NOTHING
from benchmarks.protocol import Condition, TrainSet, condition_of_column, phrase_of_column
from benchmarks.report.text.summary import finding


def suite_sentences(board: Leaderboard) -> list[str]:
    """Summarize a leaderboard in two sentences: the leader with its mean AUC, and its AUC on seen generators."""
    # a board of unranked detectors has nothing to open with
    ranked = [line for line in board.lines if line.rank is not None]
    if not ranked:
        return []
    leaders = [line for line in ranked if line.rank == 1]
    best = leaders[0]
    lead = f"{best.detector} leads with a mean AUC of {mean_in_words(best, board.primary)} "
    lead += phrase_of_column(board.primary)
    if len(leaders) > 1:
        names = [line.detector for line in leaders[1:]]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        lead += f"; no paired test separates it from {shown}"
    sentences = [f"{lead}. {len(ranked)} detectors are ranked." if len(ranked) > 1 else f"{lead}."]
    # a high AUC with a useless threshold would mislead readers
    if best.balanced_accuracy is not None and best.balanced_accuracy <= FINDS_NOTHING:
        sentences.append(
            f"The threshold of {best.detector}, fixed on validation data, finds next to nothing there: its balanced "
            f"accuracy is {best.balanced_accuracy:.2f}, and guessing has 0.50."
        )
    # Columns on seen generators, of either protocol, that do not rank.
    columns = (name for name in board.columns if condition_of_column(name).seen and name != board.primary)
    seen = next((name for name in columns if best.columns[name].value is not None), None)
    if seen:
        # controls are expected at chance
        means = [line.columns[seen].value or 0.0 for line in ranked if line.detector not in CONTROLS]
        count = sum(value >= 0.99 for value in means)
        sentences.append(
            f"On generators it was trained on it has {mean_in_words(best, seen)}: there {count} of {len(means)} "
            "detectors reach 0.99 (controls not counted), so that column does not show which detector is better."
            if count
            else f"On generators it was trained on it has {mean_in_words(best, seen)}."
        )
    return sentences


def suite_notes(board: Leaderboard, cells: Sequence[TestResult]) -> list[str]:
    """Return notes on perturbed images and on results below chance."""
    ranked = [line for line in board.lines if line.rank is not None]
    notes = []
    robust = [
        line for line in ranked if Condition.ROBUST in line.columns and line.columns[Condition.ROBUST].value is not None
    ]
    if ranked and robust:
        toughest = max(robust, key=lambda line: line.columns[Condition.ROBUST].value or 0.0)
        note = f"On perturbed images (JPEG, blur, noise and others) {toughest.detector} leads"
        note += f" with {mean_in_words(toughest, Condition.ROBUST)}"
        best = ranked[0]
        # the leader of the primary column beside the leader under perturbation
        if best is not toughest and best in robust:
            note += f"; {best.detector} has {mean_in_words(best, Condition.ROBUST)}"
        notes.append(f"{note}.")
    # Controls below chance by luck are no finding.
    unseen = [cell for cell in cells if cell.detector not in (RANDOM, METADATA) and not cell.seen]
    below = [cell for cell in unseen if finding(cell) == "reversed"]
    if below:
        worst = min(below, key=lambda cell: cell.auc)
        shown = estimate(worst.auc, worst.auc_low, worst.auc_high)
        training = TrainSet.parse(worst.trained_on).readable
        notes.append(
            f"{len(below)} of {len(unseen)} results on unseen generators are below chance, the lowest is "
            f"{worst.detector} trained on {training} and tested on {worst.tested_on}, {shown}. The "
            "learned cues of forgery are more frequent in the real images there. The values are not inverted, since "
            "that would use the labels of the test."
        )
    return notes


def mean_in_words(line: Line, column: str) -> str:
    """Format a mean with its interval."""
    standing = line.columns[column]
    if standing.value is None or standing.low is None or standing.high is None:
        return "no value"
    # A non-breaking space before the sign keeps number and sign on one line.
    shown = estimate(standing.value, standing.low, standing.high)
    return f"{shown.value} (95\u00a0% interval {shown.low} to {shown.high})"
