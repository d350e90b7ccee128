"""The leaderboard as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import fmean

from benchmarks.measures.results import Cell
from benchmarks.report.figures import Figure, Names
from benchmarks.report.numbers import estimate
from benchmarks.report.suite import primary
from benchmarks.report.svg import WIDTH, Axis, document, number, scale, shorten, text_at
from benchmarks.tables.leaderboard import Leaderboard, Line

_LINES = 20  # detectors


def picture(board: Leaderboard, cells: Sequence[Cell], names: Names) -> Figure:
    """A row a detector in the order of the table: its mean with its interval, and a ring for each test generator.

    Args:
        board: the leaderboard.
        cells: of all seeds.
        names: for the file.
    """
    lines = [line for line in board.lines if line.columns[board.primary].value is not None]
    shown = lines[:_LINES]
    row, left, right, top = 34.0, 8.0, WIDTH - 8, 46.0
    bottom = top + row * len(shown)
    of = {line.detector: _by_generator(primary(board, cells), line.detector) for line in shown}
    drawn = [value for found in of.values() for value in found.values()]
    lowest = min([0.5, *drawn, *(_ends(line, board.primary)[0] for line in shown)])
    low = max(0.0, int(lowest * 5) / 5)
    step = 0.1 if low >= 0.4 else 0.2
    count = round((1 - low) / step)
    axis = Axis(low, 1.0, [(round(low + i * step, 1), f"{low + i * step:.1f}") for i in range(count + 1)], "")

    def px(value: float) -> float:
        return left + float(axis.place(value)[0]) * (right - left)

    body = [
        f'<circle class="dot s4" cx="{number(left + 5)}" cy="8" r="4.5"/>',
        text_at(left + 14, 12, "mean, 95 % interval", kind="name"),
        f'<circle class="ring s5" cx="{number(left + 165)}" cy="8" r="3.5"/>',
        text_at(left + 174, 12, "one test generator", kind="name"),
    ]
    body += scale(sorted({*axis.ticks, (0.5, "0.5")}), px, top - 6, bottom)
    body.append(text_at(px(0.5), top - 12, "guessing", anchor="start", kind="tick"))
    body.append(text_at(right, bottom + 31, f"AUC, {board.primary}", anchor="end", kind="label"))
    for i, line in enumerate(shown):
        y, found = number(top + row * i + 22), line.columns[board.primary]
        rank = "" if line.rank is None else f"{line.rank}  "
        body.append(text_at(left, top + row * i + 10, f"{rank}{shorten(line.detector, 36)}", kind="name"))
        body.append(text_at(right, top + row * i + 10, _short(line, board.primary), anchor="end", kind="value"))
        for name, value in of[line.detector].items():
            title = f"<title>{escape(name)}: {value:.3f}</title>"
            body.append(f'<circle class="ring s5" cx="{number(px(value))}" cy="{y}" r="3.5">{title}</circle>')
        ends = [number(px(end)) for end in _ends(line, board.primary)]
        body.append(f'<path class="line s4" d="M{ends[0]} {y}H{ends[1]}"/>')
        body.append(f'<circle class="dot s4" cx="{number(px(found.value or 0.0))}" cy="{y}" r="4.5"/>')
    said = "; ".join(f"{line.detector} {_short(line, board.primary)}" for line in shown)
    alt = f"Mean AUC of each detector, {board.primary}: {said}."
    title = f"Mean AUC, {board.columns[board.primary]}"
    if len(lines) > _LINES:
        title += f"; the first {_LINES} of {len(lines)}"
    return Figure(names("overview"), title, document(WIDTH, bottom + 38, alt, "".join(body)), alt)


def _by_generator(cells: Sequence[Cell], detector: str) -> dict[str, float]:
    """Test generator -> AUC, the mean over seeds and trainings."""
    own = [cell for cell in cells if cell.detector == detector]
    names = sorted({cell.tested_on for cell in own})
    return {name: fmean(cell.auc for cell in own if cell.tested_on == name) for name in names}


def _ends(line: Line, column: str) -> tuple[float, float]:
    """Of the interval, inside of what an AUC can be."""
    found = line.columns[column]
    return max(0.0, found.low or 0.0), min(1.0, found.high or 0.0)


def _short(line: Line, column: str) -> str:
    """A value with its interval in brackets."""
    value = line.columns[column].value
    return "–" if value is None else str(estimate(value, *_ends(line, column)))
