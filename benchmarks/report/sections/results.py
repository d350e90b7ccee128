"""Results: every test as a table of pairings and a table of metrics, and the paired tests between detectors."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.report.focus import Measures
from benchmarks.report.paired_tests import Matrix, matrices
from benchmarks.report.pairing_table import PairingTable, pairing_table
from benchmarks.report.ranking import by_pairing, detectable, ranks_of
from benchmarks.report.results_table import Row
from benchmarks.report.run_view import OVERVIEW, RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class ResultsContent(Content):
    """The tables.

    Attributes:
        rows: every test with every metric.
        metrics: the columns of `rows`.
        pairings: detectors by pairings; None where there is one pairing.
        measures: of a suite, means per detector, shown instead of `rows`.
        tests: the paired tests.
        left_out: which paired tests are not shown, in a sentence.
        detectable: the AUC difference that the tests detect with 80 % power; None: unknown.
        methods: of the intervals.
        primary: the primary column of a suite, else "".
    """

    rows: list[Row]
    metrics: list[MetricFacts]
    pairings: PairingTable | None
    measures: Measures | None
    tests: list[Matrix]
    left_out: str
    detectable: str | None
    methods: list[str]
    primary: str

    @property
    def folded(self) -> bool:
        """True where the table of all tests is too long to open the section."""
        return len(self.rows) > OVERVIEW  # then the section is closed when the page opens

    @property
    def groups(self) -> list[list[Row]]:
        """The rows of each pairing of training and test generator."""
        groups: dict[tuple[str, str, int], list[Row]] = {}
        for row in self.rows:
            # rows are sorted by pairing already
            groups.setdefault((row.cell.trained_on, row.cell.tested_on, row.cell.seed), []).append(row)
        return list(groups.values())


class ResultsSection(Section):
    """Every result of the run."""

    id, title, position = "results", "Results", 300
    template, text_template = "results.html.j2", "results.md.j2"

    def build(self, run: RunView) -> ResultsContent:
        """Lay out the results."""
        cells, comparisons = run.cells, run.results.comparisons
        tests, left_out = matrices(cells, comparisons)
        smallest = detectable(comparisons)
        return ResultsContent(
            rows=run.rows,
            metrics=run.metrics,
            # with one pairing the table of metrics says the same
            pairings=pairing_table(cells, ranks_of(cells, comparisons)) if len(by_pairing(cells)) > 1 else None,
            measures=run.measures,
            tests=tests,
            left_out=left_out,
            detectable=None if smallest is None else f"{smallest:.2g}",
            methods=sorted({cell.auc_method for cell in cells}),
            primary=run.board.primary if run.board else "",
        )
