"""The run as the sections of a page read it: its clean tests, their scores, and the names of the files to write."""

from __future__ import annotations

from functools import cached_property

from benchmarks.evaluation.evaluate import grid
from benchmarks.evaluation.leaderboard import Leaderboard
from benchmarks.evaluation.map_leaderboard import MapBoard, board_of_run
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.protocol import CLEAN, Condition, TrainSet
from benchmarks.report.focus import Focus, Measures, focus, measures
from benchmarks.report.inputs import Pictures, ReportInputs
from benchmarks.report.plot.figure import Figure, FileNames
from benchmarks.report.results_table import Row, ScoreIndex, shown_metrics, table
from benchmarks.report.score_figures import histograms
from benchmarks.report.text.summary import faces_of, subject_of

OVERVIEW = 12  # results in one figure, and rows of a table that need no shorter one before them


class RunView:
    """The run as a section reads it.

    Attributes:
        whole: all results: every seed, perturbed tests and controls too.
        results: the clean tests, and of a repeated run those of its first seed.
        pictures: images that may be shown.
        board: the leaderboard of a suite, else None.
        file_names: gives the figures and pictures of a section their file names.
        scores: called with a cell, returns its score rows: the real images and the forgeries of its generator.
    """

    def __init__(self, inputs: ReportInputs) -> None:
        self.whole = inputs.results
        # Sections read clean results by default; what they show of other tests they take from `whole`.
        self.results = _clean(inputs.results)
        self.pictures: Pictures = inputs.pictures
        self.board: Leaderboard | None = inputs.board
        self.file_names = FileNames()
        self._masks = inputs.masks
        # without snapshots and external pairs, which have sections of their own
        self.scores = ScoreIndex(grid(inputs.scores[inputs.scores["perturbation"] == CLEAN]))

    @property
    def cells(self) -> list[TestResult]:
        """The clean test results, those of the first seed where there are several."""
        return self.results.cells

    @property
    def subject(self) -> str:
        """The subject of an image: "face", or "digit"."""
        return subject_of(self.results.data.name)

    @property
    def faces(self) -> str:
        """The name of the real images, e.g. "rendered faces"."""
        return faces_of(self.results.data.name)

    @property
    def seeds(self) -> int:
        """Number of seeds of the results shown."""
        return len({cell.seed for cell in self.cells})

    @cached_property
    def metrics(self) -> list[MetricFacts]:
        """The metrics that tables show."""
        return shown_metrics(self.results)

    @cached_property
    def rows(self) -> list[Row]:
        """The results table, one row per test."""
        return table(self.results)

    @cached_property
    def focus(self) -> Focus:
        """The tests that get panels of their own."""
        # Once, since several sections ask for it and names of figures are given once.
        return focus(self.cells, self.board)

    @cached_property
    def map_board(self) -> MapBoard | None:
        """The leaderboard of localisers; None where no detector with maps was trained on all generators with masks."""
        return board_of_run(self._masks, self.whole.localisation)

    @cached_property
    def measures(self) -> Measures | None:
        """Means of the other metrics per detector; None where every test has its own row instead."""
        if self.board is None or len(self.rows) <= OVERVIEW:  # a table of every test is short enough to be read
            return None
        return measures(self.board, self.whole.cells, self.metrics)

    @cached_property
    def histograms(self) -> list[Figure]:
        """Score histograms of the tests in focus."""
        return histograms(self.focus.single, self.scores, self.file_names)

    @cached_property
    def perturbed(self) -> list[TestResult]:
        """Tests on perturbed images, those of all seeds; detectors of a variant train set left out."""
        usual = [cell for cell in self.whole.cells if not TrainSet.parse(cell.trained_on).variant]
        return [cell for cell in usual if cell.condition is Condition.ROBUST]


def _clean(results: Results) -> Results:
    """Leave out what has tables of its own: perturbed tests, controls, and seeds after the first."""
    cells = [
        cell
        for cell in results.cells
        if cell.perturbation == CLEAN
        and cell.condition not in (Condition.SNAPSHOTS, Condition.EXTERNAL, Condition.PAIRED)
        and not TrainSet.parse(cell.trained_on).variant
        # Repetitions have fits of equal names; pictures and facts of one seed are shown.
        and (not results.seeds or cell.seed == results.seed)
    ]
    of_seed = {
        name: [fact for fact in getattr(results, name) if fact.seed == results.seed or not results.seeds]
        for name in ("generators", "detectors")
    }
    return results.model_copy(update={"cells": cells, **of_seed})
