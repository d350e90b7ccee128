"""Leaderboard of a suite: the mean AUC of each detector in each condition, ranked."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.evaluation.formats import Sheet, interval, mark, rank, standing
from benchmarks.evaluation.leaderboard import Leaderboard, Spread
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class Mean:
    """One field: a colour step 0..10, the mean AUC and its interval; `step` None: results are missing."""

    step: int | None
    value: str
    interval: str


@dataclass(frozen=True)
class LeaderboardContent(Content):
    """The table: columns with their definitions, a line per detector, notes below."""

    primary: str
    columns: list[tuple[str, str]]
    lines: list[tuple[str, str, bool, list[Mean]]]  # rank, detector, whether it leads, fields
    notes: list[str]
    spreads: list[Spread]


class LeaderboardSection(Section):
    """The leaderboard."""

    id, title, position = "leaderboard", "Leaderboard", 200
    template, text_template = "leaderboard.html.j2", "leaderboard.md.j2"

    def build(self, run: RunView) -> LeaderboardContent | None:
        """Lay out the leaderboard; None for a run that is no suite."""
        return leaderboard_content(run.board, run.results.protocol_version) if run.board else None


def leaderboard_content(board: Leaderboard, protocol: int) -> LeaderboardContent:
    """Lay out a leaderboard, the primary column first."""
    names = [board.primary, *(name for name in board.columns if name != board.primary)]
    lines = []
    for line in board.lines:  # every field is text: the template does no arithmetic
        fields = []
        for name in names:
            # value, space, interval: split again, since the page sets them on two lines
            column, text = line.columns[name], standing(line.columns[name], new_family=board.for_new_family)
            value, _, ends = text.partition(" ")
            # both intervals of the primary column: the headline's, and the other one by name
            if name == board.primary and column.family_low is not None:
                ends += f"; {'these families' if board.for_new_family else 'new family'} "
                ends += interval(column, new_family=not board.for_new_family)
            if column.value is None:
                # "missing": some of its tests failed; "not run": the run asked for none
                fields.append(Mean(None, *(("missing", text) if column.cells else ("not run", ""))))
            else:
                fields.append(Mean(round(10 * column.value), value + mark(column), ends))
        lines.append((rank(line), line.detector, line.rank == 1, fields))
    columns = [(name, board.columns[name]) for name in names]
    return LeaderboardContent(board.primary, columns, lines, Sheet(board, "", protocol, {}).notes, board.spreads)
