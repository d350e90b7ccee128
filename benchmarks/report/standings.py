"""The leaderboard as a part of the page."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.protocol import condition_of_column, phrase_of_column
from benchmarks.report.numbers import estimate
from benchmarks.tables.column import CONTROLS
from benchmarks.tables.formats import Sheet, interval, rank, standing
from benchmarks.tables.leaderboard import Leaderboard, Line, Spread
from benchmarks.tables.thresholds import FINDS_NOTHING


@dataclass(frozen=True)
class Stand:
    """One cell: a colour step 0..10, the mean AUC and its interval; `step` None: cells are missing."""

    step: int | None
    value: str
    interval: str


@dataclass(frozen=True)
class Standings:
    """The table: columns with what they mean, a line a detector, notes below."""

    primary: str
    columns: list[tuple[str, str]]
    lines: list[tuple[str, str, bool, list[Stand]]]  # rank, detector, whether it leads, cells
    notes: list[str]
    spreads: list[Spread]


def standings(board: Leaderboard, protocol: int) -> Standings:
    """Lay out a leaderboard, the primary column first."""
    names = [board.primary, *(name for name in board.columns if name != board.primary)]
    lines = []
    for line in board.lines:
        cells = []
        for name in names:
            found, text = line.columns[name], standing(line.columns[name], new_family=board.for_new_family)
            value, _, ends = text.partition(" ")
            if name == board.primary and found.family_low is not None:
                ends += f"; {'these families' if board.for_new_family else 'new family'} "
                ends += interval(found, new_family=not board.for_new_family)
            cells.append(
                Stand(None, *(("not run", "") if not found.cells else ("missing", text)))
                if found.value is None
                else Stand(round(10 * found.value), value, ends)
            )
        lines.append((rank(line), line.detector, line.rank == 1, cells))
    notes = Sheet(board, "", protocol, {}).notes
    columns = [(name, board.columns[name]) for name in names]
    return Standings(board.primary, columns, lines, notes, board.spreads)


def verdict(board: Leaderboard) -> list[str]:
    """The table in two sentences: who leads and by how much, and what that leader loses where it counts."""
    ranked = [line for line in board.lines if line.rank is not None]
    if not ranked:
        return []
    leaders = [line for line in ranked if line.rank == 1]
    best = leaders[0]
    where = phrase_of_column(board.primary)
    said = f"{best.detector} leads with a mean AUC of {worded(best, board.primary)} {where}"
    if len(leaders) > 1:
        names = [line.detector for line in leaders[1:]]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        said += f"; {shown} cannot be told apart from it"
    sentences = [f"{said}. {len(ranked)} detectors are ranked."]
    if best.balanced_accuracy is not None and best.balanced_accuracy <= FINDS_NOTHING:
        sentences.append(
            f"The threshold of {best.detector}, fixed on validation data, finds next to nothing there: its balanced "
            f"accuracy is {best.balanced_accuracy:.2f}, and guessing has 0.50."
        )
    known = (name for name in board.columns if condition_of_column(name).seen and name != board.primary)
    other = next((name for name in known if best.columns[name].value is not None), None)
    if other:
        honest = [line.columns[other].value or 0.0 for line in ranked if line.detector not in CONTROLS]
        count = sum(value >= 0.99 for value in honest)
        sentences.append(
            f"On generators it was trained on it has {worded(best, other)}: there {count} of {len(honest)} detectors "
            "reach 0.99, controls not counted, so that column does not say which is better."
            if count
            else f"On generators it was trained on it has {worded(best, other)}."
        )
    return sentences


def worded(line: Line, column: str) -> str:
    """A mean with its interval, in words."""
    found = line.columns[column]
    if found.value is None or found.low is None or found.high is None:
        return "no value"
    shown = estimate(found.value, found.low, found.high)
    return f"{shown.value} (95\u00a0% interval {shown.low} to {shown.high})"
