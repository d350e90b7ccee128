"""Misclassified images: the most confident mistakes of each detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.evaluation.results import TestResult
from benchmarks.protocol import TrainSet
from benchmarks.report.images import data_uri
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_ALL = 96  # pictures of mistakes on the whole page
_ROW = 6  # in one gallery


@dataclass(frozen=True)
class Mistake:
    """A misclassified image."""

    sample_id: str
    score: float
    probability: float
    picture: str | None  # data URI, None where it may not be shown


@dataclass(frozen=True)
class Gallery:
    """The most confident mistakes of a detector on the images of one class."""

    title: str
    real: bool
    wrong: int
    images: int
    worst: list[Mistake]

    @property
    def pictured(self) -> bool:
        """True where any of the images may be shown."""
        return any(mistake.picture for mistake in self.worst)


@dataclass(frozen=True)
class MisclassifiedContent(Content):
    """The galleries, and a sentence on the tests without one."""

    galleries: list[Gallery]
    left_out: str

    @property
    def crowded(self) -> bool:
        """True where galleries are so many that they are shown small."""
        return len(self.galleries) > 8

    @property
    def shown(self) -> list[Gallery]:
        """The galleries with mistakes; of many those with pictures."""
        return [g for g in self.galleries if g.worst and (g.pictured or not self.crowded)]

    @property
    def hidden(self) -> list[Gallery]:
        """The galleries with mistakes that are listed in a table instead."""
        return [g for g in self.galleries if g.worst and not g.pictured and self.crowded]

    @property
    def clean(self) -> list[Gallery]:
        """The galleries without a mistake."""
        return [g for g in self.galleries if not g.worst]


class MisclassifiedSection(Section):
    """The most confident mistakes of each detector."""

    id, title, nav, position = "misclassified", "Misclassified images", "", 1200
    template = "misclassified.html.j2"

    def build(self, run: RunView) -> MisclassifiedContent:
        """Collect the mistakes of the tests in focus."""
        shown = galleries(run.focus.wrong, run.scores, run.pictures.by_id)
        return MisclassifiedContent(shown, run.focus.notes.get("wrong", ""))


def galleries(
    cells: Sequence[TestResult],
    rows: Callable[[TestResult], pd.DataFrame],
    picture: Callable[[str, str], np.ndarray | None],
) -> list[Gallery]:
    """Collect real images called forged and forgeries called real, the most confident first.

    Args:
        cells: tests; the real faces of a detector are listed once, not again for every test generator.
        rows: test rows of a cell.
        picture: image of (source set name, sample id), None where it may not be shown.
    """
    # one gallery of reals per fit, one of forgeries per test
    count = len({(cell.detector, cell.trained_on, cell.seed) for cell in cells}) + len(cells)
    limit = max(1, min(_ROW, _ALL // max(1, count)))  # at least one mistake each
    shown, seen = [], set()
    for cell in cells:
        part = rows(cell)
        training = TrainSet.parse(cell.trained_on).readable
        fit = cell.detector if cell.trained_on == cell.tested_on else f"{cell.detector}, trained on {training}"
        if (cell.detector, cell.trained_on, cell.seed) not in seen:
            seen.add((cell.detector, cell.trained_on, cell.seed))
            shown.append(_gallery(part[part["label"] == 0], cell, f"{fit}: real images called forged", limit, picture))
        title = f"{fit}: {cell.tested_on} forgeries called real"
        shown.append(_gallery(part[part["label"] == 1], cell, title, limit, picture))
    return shown


def _gallery(
    part: pd.DataFrame, cell: TestResult, title: str, limit: int, picture: Callable[[str, str], np.ndarray | None]
) -> Gallery:
    real = bool((part["label"] == 0).all())
    # `>=` the threshold is called forged: wrong for reals, right for forgeries.
    wrong = part[(part["score"] >= cell.threshold) == real]
    # most confident first: reals from the top, forgeries from the bottom; ids break ties
    worst = wrong.sort_values(["score", "sample_id"], ascending=[not real, True], kind="stable").head(limit)
    items = []
    for source, sample, score, probability in zip(
        worst["source"], worst["sample_id"], worst["score"], worst["probability"], strict=True
    ):
        # None: of a set that may not be shown; its id and score are listed all the same
        image = picture(str(source), str(sample))
        uri = None if image is None else data_uri(image)
        items.append(Mistake(str(sample), float(score), float(probability), uri))
    return Gallery(title, real, len(wrong), len(part), items)
