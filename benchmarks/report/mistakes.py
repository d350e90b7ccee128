"""The images a detector got most confidently wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.measures.results import Cell
from benchmarks.report.images import data_uri

_ALL = 96  # pictures of mistakes on the whole page
_ROW = 6  # of one kind


@dataclass(frozen=True)
class Mistake:
    """One wrongly judged image."""

    sample_id: str
    score: float
    probability: float
    picture: str | None  # data URI, None where it may not be shown


@dataclass(frozen=True)
class Gallery:
    """The worst mistakes of one kind of one detector."""

    title: str
    real: bool
    wrong: int
    images: int
    worst: list[Mistake]

    @property
    def pictured(self) -> bool:
        """Whether any of them may be shown."""
        return any(mistake.picture for mistake in self.worst)


def galleries(
    cells: Sequence[Cell],
    rows: Callable[[Cell], pd.DataFrame],
    picture: Callable[[str, str], np.ndarray | None],
) -> list[Gallery]:
    """Find real images called forged and forgeries called real, most confident first.

    Args:
        cells: what to look at; the real faces of a detector are listed once, not again for every test generator.
        rows: test rows of a cell.
        picture: image of (source set name, sample id), None where it may not be shown.
    """
    kinds = len({(cell.detector, cell.trained_on, cell.seed) for cell in cells}) + len(cells)
    most = max(1, min(_ROW, _ALL // max(1, kinds)))
    found, seen = [], set()
    for cell in cells:
        part = rows(cell)
        of = cell.detector if cell.trained_on == cell.tested_on else f"{cell.detector}, trained on {cell.trained_on}"
        if (cell.detector, cell.trained_on, cell.seed) not in seen:
            seen.add((cell.detector, cell.trained_on, cell.seed))
            found.append(_gallery(part[part["label"] == 0], cell, f"{of}: real images called forged", most, picture))
        title = f"{of}: {cell.tested_on} forgeries called real"
        found.append(_gallery(part[part["label"] == 1], cell, title, most, picture))
    return found


def _gallery(
    part: pd.DataFrame, cell: Cell, title: str, most: int, picture: Callable[[str, str], np.ndarray | None]
) -> Gallery:
    real = bool((part["label"] == 0).all())
    wrong = part[(part["score"] >= cell.threshold) == real]
    worst = wrong.sort_values(["score", "sample_id"], ascending=[not real, True], kind="stable").head(most)
    items = []
    for source, sample, score, probability in zip(
        worst["source"], worst["sample_id"], worst["score"], worst["probability"], strict=True
    ):
        image = picture(str(source), str(sample))
        uri = None if image is None else data_uri(image)
        items.append(Mistake(str(sample), float(score), float(probability), uri))
    return Gallery(title, real, len(wrong), len(part), items)
