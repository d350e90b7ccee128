"""The figure beside the summary: the ranked detectors of a suite, or every result of a run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from benchmarks.evaluation.leaderboard import Leaderboard, Line
from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import TestResult
from benchmarks.report.focus import primary
from benchmarks.report.pairing_table import ranked_detectors
from benchmarks.report.plot.figure import Figure, FileNames
from benchmarks.report.plot.plot import Axis
from benchmarks.report.plot.row_plot import Mark, RowPlot
from benchmarks.report.score_figures import colours

_ROWS = 20  # detectors in one figure
# Colour and shape both say it, for readers who do not see one of them.
_SEEN, _UNSEEN = ("s4", "ring"), ("s5", "dot")  # CSS class and shape of tests on seen and unseen generators


def results_figure(cells: Sequence[TestResult], names: FileNames) -> Figure:
    """Draw every AUC with its interval, one test per row."""
    styles = colours(cells)
    axis = _auc_axis(min(cell.auc_low for cell in cells), "AUC with 95 % interval")
    plot, shown = RowPlot(axis), []
    for cell in cells:
        arrow = f"{_trained_on(cell)}{cell.tested_on}"
        # with one detector its name in each row would say nothing
        name = arrow if len(styles) == 1 < len(cells) else f"{cell.detector}: {arrow}"
        text = str(estimate(cell.auc, cell.auc_low, cell.auc_high))
        style = styles[cell.detector].split()[0]
        plot.row(name, text, [Mark(cell.auc, style, (cell.auc_low, cell.auc_high), caps=True)])
        shown.append(f"{name}: {text}")
    alt = f"AUC with 95 % interval. {'; '.join(shown)}."
    return Figure(names("overview"), "Every result with its interval", plot.svg(alt), alt)


def pairings_figure(cells: Sequence[TestResult], names: FileNames) -> Figure:
    """Draw one row per detector, with a mark and its interval for every pairing of training and test generator."""
    ranked = ranked_detectors(cells)
    chosen = ranked[:_ROWS]
    # of what is drawn: a detector that is left out must not stretch the axis
    lowest = min(cell.auc_low for cell in cells if cell.detector in chosen)
    legend = [("generator seen in training", *_SEEN), ("never seen", *_UNSEEN)]
    plot, shown = RowPlot(_auc_axis(lowest, "AUC with 95 % interval"), legend=legend), []
    for name in chosen:
        tests = sorted((cell for cell in cells if cell.detector == name), key=lambda cell: cell.seen)
        plot.row(name, "", [_mark(cell) for cell in tests])
        shown.append(f"{name}: " + ", ".join(f"{c.trained_on} to {c.tested_on} {c.auc:.3f}" for c in tests))
    alt = f"AUC of each detector on each pairing of training and test generator. {'; '.join(shown)}."
    # Rows are joined over seeds; the title says so.
    seeds = len({cell.seed for cell in cells})
    title = "Each detector on every generator" + (f", {seeds} seeds" if seeds > 1 else "")
    if len(ranked) > _ROWS:
        title += f", the first {_ROWS} of {len(ranked)}"
    return Figure(names("overview"), title, plot.svg(alt), alt)


def leaderboard_figure(board: Leaderboard, cells: Sequence[TestResult], names: FileNames) -> Figure:
    """Draw one row per detector in the order of the leaderboard: its mean AUC, and a ring for each test generator.

    Args:
        board: the leaderboard.
        cells: those of all seeds.
        names: gives the figure its file name.
    """
    # Incomplete detectors have no mean and no row.
    lines = [line for line in board.lines if line.columns[board.primary].value is not None]
    chosen = lines[:_ROWS]
    tests = primary(board, cells)
    means = {line.detector: _by_generator(tests, line.detector) for line in chosen}
    drawn = [auc for of_detector in means.values() for auc in of_detector.values()]
    # rings and intervals must both fit
    lowest = min([*drawn, *(_interval(line, board.primary)[0] for line in chosen)], default=0.5)
    legend = [("mean, 95 % interval", "s4", "dot"), ("one test generator", "s5", "ring")]
    plot, shown = RowPlot(_auc_axis(lowest, f"AUC, {board.primary}"), legend=legend), []
    for line in chosen:
        name = line.detector if line.rank is None else f"{line.rank}  {line.detector}"
        text = _text(line, board.primary)
        rings = [
            Mark(auc, "s5", shape="ring", title=f"{tested}: {auc:.3f}") for tested, auc in means[line.detector].items()
        ]
        # drawn last, above the rings
        mean = Mark(line.columns[board.primary].value or 0.0, "s4", _interval(line, board.primary))
        plot.row(name, text, [*rings, mean])
        shown.append(f"{line.detector} {text}")
    alt = f"Mean AUC of each detector, {board.primary}: {'; '.join(shown)}."
    title = f"Mean AUC, {board.columns[board.primary]}"
    if len(lines) > _ROWS:
        title += f"; the first {_ROWS} of {len(lines)}"
    return Figure(names("overview"), title, plot.svg(alt), alt)


def _auc_axis(lowest: float, label: str) -> Axis:
    """Return an AUC axis from a round value below `lowest` and 0.5 up to 1, with a tick at 0.5."""
    # -0.01: a value on a round number gets the step below, so that its mark is not on the edge
    low = float(np.floor(min(lowest, 0.5) * 10 - 0.01) / 10)
    step = 0.1 if low >= 0.3 else 0.2
    start = max(0.0, round(np.floor(low / step + 1e-9) * step, 1))
    # a set: 0.5 may be a step already, and is a tick in any case
    ticks = {(round(float(tick), 1), f"{tick:.1f}") for tick in np.arange(start, 1.001, step)}
    return Axis(start, 1.0, sorted({*ticks, (0.5, "0.5")}), label)


def _mark(cell: TestResult) -> Mark:
    style, shape = _SEEN if cell.seen else _UNSEEN
    title = f"{cell.trained_on} → {cell.tested_on}: {estimate(cell.auc, cell.auc_low, cell.auc_high)}"
    return Mark(cell.auc, style, (cell.auc_low, cell.auc_high), shape=shape, thin=True, title=title)


def _by_generator(cells: Sequence[TestResult], detector: str) -> dict[str, float]:
    """Return the AUC per test generator, the mean over seeds and trainings."""
    tests = [cell for cell in cells if cell.detector == detector]
    names = sorted({cell.tested_on for cell in tests})
    # every generator counts once
    return {name: fmean(cell.auc for cell in tests if cell.tested_on == name) for name in names}


def _interval(line: Line, column: str) -> tuple[float, float]:
    """Return the ends of an interval, clipped to the range of an AUC."""
    standing = line.columns[column]
    # intervals of means are symmetric and may leave 0..1
    return max(0.0, standing.low or 0.0), min(1.0, standing.high or 0.0)


def _text(line: Line, column: str) -> str:
    """Format a mean with its interval in brackets."""
    value = line.columns[column].value
    return "–" if value is None else str(estimate(value, *_interval(line, column)))


def _trained_on(cell: TestResult) -> str:
    """Return the start of "dcgan → gan"; empty where the detector was trained on the tested generator alone."""
    if cell.trained_on == cell.tested_on:  # trained on the tested generator alone needs no arrow
        return ""
    return "all → " if cell.seen else f"{cell.trained_on} → "
