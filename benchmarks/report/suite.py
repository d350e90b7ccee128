"""The page of a suite: its table is the answer, and what is drawn in full belongs to those that lead it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.measures.audit import METADATA, RANDOM
from benchmarks.measures.detection.base import MetricFacts
from benchmarks.measures.results import Cell
from benchmarks.protocol import Condition
from benchmarks.report import figures
from benchmarks.report.numbers import estimate
from benchmarks.report.standings import worded
from benchmarks.report.words import finding
from benchmarks.tables.column import CONTROLS
from benchmarks.tables.leaderboard import Leaderboard

_CELLS = 6  # panels of one cell each
_DUELS = 5  # panels of one pairing each
_GALLERIES = 16
_FEW = 2  # panels of a suite where one would do
_LEADERS = 2  # detectors of a suite whose mistakes are shown
_ALL = "scores.parquet has them all."


@dataclass(frozen=True)
class Focus:
    """Which cells get panels of their own, and what is said of the choice.

    Attributes:
        single: for histograms and calibration.
        paired: for ROC.
        errors: for DET.
        wrong: for the images that were misjudged.
        said: of single, paired and wrong, in a sentence; empty where all cells are shown.
    """

    single: list[Cell]
    paired: list[Cell]
    errors: list[Cell]
    wrong: list[Cell]
    said: dict[str, str]


def focus(cells: Sequence[Cell], board: Leaderboard | None) -> Focus:
    """Of a run the hardest cells, of a suite those of the column that ranks it and of the detectors that lead."""
    ranked = primary(board, cells) if board else []
    if board is None or not ranked:
        parts = {
            "single": figures.hardest(cells, _CELLS),
            "paired": figures.hardest_duels(cells, _DUELS),
            "wrong": figures.hardest(cells, _GALLERIES),
        }
        what = {"single": "results", "paired": "pairings", "wrong": "results"}
        said = {
            name: ""
            if len(part) == len(cells)
            else f"The {what[name]} with the lowest AUC, {len(part)} of {len(cells)} results; {_ALL}"
            for name, part in parts.items()
        }
        return Focus(parts["single"], parts["paired"], parts["paired"], parts["wrong"], said)
    leaders = [line.detector for line in board.lines if line.rank is not None and line.detector not in CONTROLS]
    of = {name: [cell for cell in ranked if cell.detector == name] for name in leaders}
    best, first = leaders[:_LEADERS], leaders[:1]
    where = f"The {board.primary} tests"
    return Focus(
        single=figures.hardest([cell for name in first for cell in of[name]], _FEW),
        paired=figures.hardest_duels(ranked, _DUELS),
        errors=figures.hardest_duels(ranked, _FEW),
        wrong=[cell for name in best for cell in of[name]][:_GALLERIES],
        said={
            "single": f"{where} that are hardest for {', '.join(first)}, which leads; {_ALL}",
            "paired": f"{where}; {_ALL}",
            "wrong": f"{where} of {' and '.join(best)}, which lead; {_ALL}",
        },
    )


def notes(board: Leaderboard, cells: Sequence[Cell]) -> list[str]:
    """What must be known beside the two sentences on the table."""
    ranked = [line for line in board.lines if line.rank is not None]
    found = []
    robust = [
        line for line in ranked if Condition.ROBUST in line.columns and line.columns[Condition.ROBUST].value is not None
    ]
    if ranked and robust:
        toughest = max(robust, key=lambda line: line.columns[Condition.ROBUST].value or 0.0)
        said = f"On changed images (JPEG, blur, noise and the like) {toughest.detector} leads"
        said += f" with {worded(toughest, 'robust')}"
        best = ranked[0]
        if best is not toughest and best in robust:
            said += f"; {best.detector} has {worded(best, 'robust')}"
        found.append(f"{said}.")
    honest = [cell for cell in cells if cell.detector not in (RANDOM, METADATA) and not cell.seen]
    below = [cell for cell in honest if finding(cell) == "reversed"]
    if below:
        worst = min(below, key=lambda cell: cell.auc)
        shown = estimate(worst.auc, worst.auc_low, worst.auc_high)
        found.append(
            f"{len(below)} of {len(honest)} results on generators that were not seen lie below chance, lowest "
            f"{worst.detector} trained on {worst.trained_on} and tested on {worst.tested_on}, {shown}. What was "
            "learned as a sign of forgery is more common in the real images there. Such values are shown as they are: "
            "flipping the score would need to know the answer."
        )
    return found


@dataclass(frozen=True)
class Measures:
    """Other measures than the AUC: a line a detector, each the mean over its cells with the lowest and the highest."""

    names: list[str]
    lines: list[tuple[str, list[tuple[str, str]]]]
    cells: int


def primary(board: Leaderboard, cells: Sequence[Cell]) -> list[Cell]:
    """The cells of the column that ranks, as they are in the leaderboard."""
    return [cell for cell in cells if (cell.trained_on, cell.tested_on, cell.perturbation) in board.tests]


def measures(board: Leaderboard, cells: Sequence[Cell], measured: Sequence[MetricFacts]) -> Measures | None:
    """Means over the cells of the primary column and all seeds; None where a suite has none of its own.

    Args:
        board: the leaderboard.
        cells: of all seeds.
        measured: the metrics that are shown.
    """
    own = primary(board, cells)
    lines = []
    for line in board.lines:
        of = [cell for cell in own if cell.detector == line.detector]
        if of:
            lines.append((line.detector, [_ranged(of, one) for one in measured]))
    most = max((sum(cell.detector == name for cell in own) for name, _ in lines), default=0)
    return Measures([one.title for one in measured], lines, most) if lines else None


def _ranged(cells: Sequence[Cell], metric: MetricFacts) -> tuple[str, str]:
    of = [cell.at_equal_prevalence(metric.id) if metric.equal_prevalence else cell.value(metric.id) for cell in cells]
    values = [value for value in of if value is not None]
    if len(values) < len(cells):
        return metric.missing, ""
    return f"{fmean(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"


def dialled(cells: Sequence[Cell], board: Leaderboard | None) -> list[Cell]:
    """The cells whose threshold can be turned: of a suite those it ranks by, the leader's first, without controls."""
    if board is None:
        return list(cells)
    place = {line.detector: i for i, line in enumerate(board.lines) if line.detector not in CONTROLS}
    ranked = [cell for cell in primary(board, cells) if cell.detector in place]
    return sorted(ranked, key=lambda cell: (place[cell.detector], -cell.auc)) or list(cells)
