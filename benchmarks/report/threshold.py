"""What a reader may turn: the threshold of a detector on a test set, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from benchmarks.measures.results import Cell
from benchmarks.protocol import TrainSet
from benchmarks.report.numbers import estimate

POINTS = 49  # thresholds of a test set, spread so that both error rates move evenly; fewer where tests are many
LEAST = 25
MOST = 78  # test sets on one page
_SPACE = 1100  # thresholds on one page


def dials(cells: Sequence[Cell], rows: Callable[[Cell], pd.DataFrame]) -> list[dict[str, object]]:
    """Error counts at many thresholds of each cell, the one that was fixed on val among them.

    Args:
        cells: those to choose from; unseen generators first where there are too many.
        rows: score rows of a cell.

    Returns:
        One mapping a cell: detector, test, real and forged (image counts), auc (text), thresholds rising, `fp` and `tp`
        (images called forged at each, of either class), and `start`, the index of the threshold fixed on val.
    """
    chosen = sorted(cells, key=lambda cell: cell.seen)[:MOST]
    tested = {cell.tested_on for cell in cells}
    points = max(LEAST, min(POINTS, _SPACE // max(1, len(chosen))))
    return [_dial(cell, rows(cell), tested, points) for cell in cells if any(cell is one for one in chosen)]


def _dial(cell: Cell, part: pd.DataFrame, tested: set[str], points: int) -> dict[str, object]:
    label, score = part["label"].to_numpy(), part["score"].to_numpy(dtype=np.float64)
    real, forged = np.sort(score[label == 0]), np.sort(score[label == 1])
    shares = np.linspace(0, 1, points // 2)
    asked = np.concatenate([np.quantile(real, shares), np.quantile(forged, shares), [cell.threshold]])
    thresholds = np.unique(asked)
    thresholds = np.append(thresholds, np.nextafter(thresholds[-1], np.inf))  # above all scores
    start = int(np.searchsorted(thresholds, cell.threshold))
    return {
        "detector": cell.detector,
        "test": f"{cell.tested_on}, trained on {TrainSet.parse(cell.trained_on).shortened(tested)}",
        "auc": str(estimate(cell.auc, cell.auc_low, cell.auc_high)),
        "real": real.size,
        "forged": forged.size,
        "thresholds": [float(f"{value:.4g}") for value in thresholds],
        "fp": [int(real.size - n) for n in np.searchsorted(real, thresholds, "left")],
        "tp": [int(forged.size - n) for n in np.searchsorted(forged, thresholds, "left")],
        "start": start,
    }


def embedded(found: Sequence[dict[str, object]]) -> Markup:
    """As JSON that may stand inside of a page: no name can end its element."""
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
