"""Curves: ROC, DET, score histograms and calibration of the tests in focus."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.report import score_figures
from benchmarks.report.plot.figure import MAX_CURVES, Figure
from benchmarks.report.ranking import by_pairing
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class CurvesContent(Content):
    """The figures; `chosen` says which detectors a panel draws, `notes` which tests have panels."""

    roc: list[Figure]
    det: list[Figure]
    scores: list[Figure]
    calibration: list[Figure]
    chosen: str
    notes: dict[str, str]

    @property
    def figures(self) -> list[Figure]:
        """All of them, in the order of the page."""
        return [*self.roc, *self.det, *self.scores, *self.calibration]


class CurvesSection(Section):
    """Curves of the tests in focus."""

    id, title, position = "curves", "Curves", 1000
    template, text_template = "curves.html.j2", "curves.md.j2"

    def build(self, run: RunView) -> CurvesContent:
        """Draw the curves; a histogram that is the key figure is not drawn again."""
        focus, names = run.focus, run.file_names
        # the choice is mentioned only where a panel has one
        crowded = any(len(group) > MAX_CURVES for group in by_pairing(run.cells).values())
        return CurvesContent(
            roc=score_figures.roc_figures(focus.paired, run.scores, names),
            det=score_figures.det_figures(focus.errors, run.scores, names),
            # with one test its histogram is the figure beside the summary
            scores=run.histograms if len(run.cells) > 1 else [],
            calibration=score_figures.calibration_figures(focus.single, run.scores, names),
            chosen=f"Of more than {MAX_CURVES} detectors, the best, the worst and an even choice between are drawn."
            if crowded
            else "",
            notes=focus.notes,
        )
