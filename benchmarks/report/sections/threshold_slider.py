"""Threshold slider: error counts of a detector at a threshold that the reader chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import TestResult
from benchmarks.protocol import TrainSet
from benchmarks.report.focus import with_slider
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_MAX_POINTS = 49  # thresholds of a test set, spread so that both error rates move evenly; fewer where tests are many
_MIN_POINTS = 25
# More than this many tests with the fewest thresholds each would go beyond _SPACE.
MAX_TESTS = 78  # test sets on one page
_SPACE = 1100  # thresholds on one page


@dataclass(frozen=True)
class ThresholdContent(Content):
    """The data of the slider as JSON, and a sentence on the tests that it leaves out."""

    json: Markup
    left_out: str


class ThresholdSection(Section):
    """The threshold slider; shown only where scripts run."""

    id, title, nav, position = "threshold", "Threshold slider", "Threshold", 400
    template = "threshold_slider.html.j2"
    scripted = True

    def build(self, run: RunView) -> ThresholdContent | None:
        """Count the errors of every test at many thresholds; None without tests."""
        if not run.cells:
            return None
        cells = with_slider(run.cells, run.board)
        more = len(cells) > MAX_TESTS
        left_out = f"The first {MAX_TESTS} of {len(cells)} tests; scores.parquet has them all." if more else ""
        return ThresholdContent(embedded(sliders(cells, run.scores)), left_out)


def sliders(cells: Sequence[TestResult], rows: Callable[[TestResult], pd.DataFrame]) -> list[dict[str, object]]:
    """Count errors at many thresholds of each cell, the threshold fixed on validation data among them.

    Args:
        cells: those to choose from; unseen generators first where there are too many.
        rows: score rows of a cell.

    Returns:
        One mapping per cell: detector, test, real and forged (image counts), auc (text), thresholds rising, `fp` and
        `tp` (images called forged at each, of either class), and `start`, the index of the threshold fixed on val.
    """
    # Tests on unseen generators first: False sorts before True.
    chosen = sorted(cells, key=lambda cell: cell.seen)[:MAX_TESTS]
    tested = {cell.tested_on for cell in cells}
    # Few tests have many thresholds each, many tests few.
    points = max(_MIN_POINTS, min(_MAX_POINTS, _SPACE // max(1, len(chosen))))
    # in the order given; `is`, since equal results may be two tests
    return [_slider(cell, rows(cell), tested, points) for cell in cells if any(cell is kept for kept in chosen)]


def _slider(cell: TestResult, part: pd.DataFrame, tested: set[str], points: int) -> dict[str, object]:
    label, score = part["label"].to_numpy(), part["score"].to_numpy(dtype=np.float64)
    real, forged = np.sort(score[label == 0]), np.sort(score[label == 1])
    # Half of the thresholds are quantiles of each class: both error rates move in even steps.
    shares = np.linspace(0, 1, points // 2)
    candidates = np.concatenate([np.quantile(real, shares), np.quantile(forged, shares), [cell.threshold]])
    thresholds = np.unique(candidates)  # sorted, each once
    # At this one nothing is called forged.
    thresholds = np.append(thresholds, np.nextafter(thresholds[-1], np.inf))  # above all scores
    start = int(np.searchsorted(thresholds, cell.threshold))
    return {
        "detector": cell.detector,
        "test": f"{cell.tested_on}, trained on {TrainSet.parse(cell.trained_on).shortened(tested)}",
        "auc": str(estimate(cell.auc, cell.auc_low, cell.auc_high)),
        "real": real.size,
        "forged": forged.size,
        # four digits keep the page small; counts are of the exact values
        "thresholds": [float(f"{value:.4g}") for value in thresholds],
        # "left": a score equal to the threshold counts as forged.
        "fp": [int(real.size - n) for n in np.searchsorted(real, thresholds, "left")],
        "tp": [int(forged.size - n) for n in np.searchsorted(forged, thresholds, "left")],
        "start": start,
    }


def embedded(values: Sequence[dict[str, object]]) -> Markup:
    """Return JSON for an element of the page, which no name in it can end."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    # In a script element a "</script>" in a name would end it; JSON reads the escapes back.
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
