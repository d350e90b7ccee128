"""The leaderboard as a part of the page."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.tables.formats import Sheet, rank, standing
from benchmarks.tables.leaderboard import Leaderboard


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


def standings(board: Leaderboard, protocol: int) -> Standings:
    """Lay out a leaderboard, the primary column first."""
    names = [board.primary, *(name for name in board.columns if name != board.primary)]
    lines = []
    for line in board.lines:
        cells = []
        for name in names:
            found, text = line.columns[name], standing(line.columns[name])
            value, _, interval = text.partition(" ")
            cells.append(
                Stand(None, "missing", text) if found.value is None else Stand(round(10 * found.value), value, interval)
            )
        lines.append((rank(line), line.detector, line.rank == 1, cells))
    notes = Sheet(board, "", protocol, {}).notes
    return Standings(board.primary, [(name, board.columns[name]) for name in names], lines, notes)
