"""Summary: the sentences that open a report, warnings, the key figure and the size of the run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.report.focus import hardest
from benchmarks.report.key_figure import leaderboard_figure, pairings_figure, results_figure
from benchmarks.report.plot.figure import Figure
from benchmarks.report.ranking import by_pairing
from benchmarks.report.results_table import errors_of
from benchmarks.report.run_view import OVERVIEW, RunView
from benchmarks.report.sections.base import Content, Section
from benchmarks.report.text.generator_notes import generator_notes
from benchmarks.report.text.run_warnings import warnings
from benchmarks.report.text.suite_summary import suite_notes, suite_sentences
from benchmarks.report.text.summary import Summary, summarize


@dataclass(frozen=True)
class SummaryContent(Content):
    """The summary; `left_out` says which results the key figure does not show."""

    summary: Summary
    key_figure: Figure | None
    left_out: str
    fits: int

    @property
    def figures(self) -> list[Figure]:
        """The key figure, if there is one."""
        return [self.key_figure] if self.key_figure else []


class SummarySection(Section):
    """Summary of the run."""

    id, title, position = "summary", "Summary", 100
    template, text_template = "summary.html.j2", "summary.md.j2"
    headed = False

    def build(self, run: RunView) -> SummaryContent:
        """Summarize the run, a suite by its leaderboard."""
        sentences = suite_sentences(run.board) if run.board else []
        # A board without ranks has no sentences: it is then summarized like a run.
        if run.board and sentences:
            notes = suite_notes(run.board, run.cells)
            summary = Summary(tuple(sentences), tuple(notes), tuple(warnings(run.results)))
            # tests of all seeds, since the board averages over them
            figure: Figure | None = leaderboard_figure(run.board, run.whole.cells, run.file_names)
        else:
            summary = summarize(run.results, errors_of(run.cells, run.scores))
            figure = _key_figure(run)
        summary = replace(summary, notes=(*summary.notes, *generator_notes(run.whole)))
        return SummaryContent(summary, figure, _left_out(run), len(run.whole.detectors))


def _key_figure(run: RunView) -> Figure | None:
    """Draw the one histogram, every result, or a row per detector."""
    cells = [row.cell for row in run.rows]
    # One result: its histogram says more than one mark on an axis.
    if len(cells) < 2:
        return run.histograms[0] if cells else None
    if len(cells) > OVERVIEW and len(by_pairing(cells)) > 1:
        return pairings_figure(cells, run.file_names)
    # Chosen by AUC, shown in the order of the table.
    chosen = hardest(cells, OVERVIEW)
    return results_figure([cell for cell in cells if cell in chosen], run.file_names)


def _left_out(run: RunView) -> str:
    if len(run.cells) <= OVERVIEW or len(by_pairing(run.cells)) > 1:
        return ""
    return f"The {OVERVIEW} of {len(run.cells)} results with the lowest AUC; scores.parquet has them all."
