"""Public test sets: each detector on every column of a set, their mean, and rates on sets of one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.evaluation.external import set_of
from benchmarks.evaluation.numbers import count, estimate, percent_range
from benchmarks.evaluation.results import Results
from benchmarks.protocol import EXTERNAL_PREFIX, TrainSet
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class Mean:
    """One field: a colour step 0..10, the mean AUC and its interval."""

    step: int
    value: str
    interval: str


@dataclass(frozen=True)
class SetTable:
    """Detectors by the columns of a test set, best first: the mean over columns, then each column."""

    name: str
    columns: list[tuple[str, str]]  # with the numbers of images
    lines: list[tuple[str, list[Mean | None]]]


@dataclass(frozen=True)
class RateLine:
    """A detector on a test of one class: what was tested, images, and the rate with its interval."""

    detector: str
    tested_on: str
    images: str
    rate: str


@dataclass(frozen=True)
class ExternalContent(Content):
    """Tables of the test sets, and rates on tests of one class."""

    sets: list[SetTable]
    rates: list[RateLine]


class ExternalSection(Section):
    """Detectors on public test sets."""

    id, title, nav, position = "external", "Public test sets", "Test sets", 250
    template, text_template = "external.html.j2", "external.md.j2"

    def build(self, run: RunView) -> ExternalContent | None:
        """Lay out the test sets; None without any, and without tests of one class."""
        content = external_content(run.whole)
        return content if content.sets or content.rates else None


def external_content(results: Results) -> ExternalContent:
    """Lay out what a run says of public test sets, for the page and for a terminal."""
    names = sorted({set_of(mean.column) for mean in results.means} - {""})
    rates = [
        RateLine(
            f"{rate.detector}{f', seed {rate.seed}' if results.seeds else ''}",
            rate.tested_on.removeprefix(EXTERNAL_PREFIX),
            f"{count(rate.n)} {rate.kind}",
            f"{'TPR' if rate.kind == 'forged' else 'FPR'} {percent_range(rate.rate, rate.low, rate.high, rate.n)}",
        )
        for rate in results.rates
        if not TrainSet.parse(rate.trained_on).variant
    ]
    return ExternalContent([*(_table(results, name) for name in names), *_others(results, names)], rates)


def _others(results: Results, sets: Sequence[str]) -> list[SetTable]:
    """Lay out the tests that are one column each: pairs of folders, and sets without subsets."""
    columns = {mean.column for mean in results.means if mean.column.startswith(EXTERNAL_PREFIX)}
    alone = sorted(column for column in columns - set(sets) if not set_of(column))
    if not alone:
        return []
    name = "Other tests" if sets else "Tests"
    headings = [(column.removeprefix(EXTERNAL_PREFIX), _images(results, column)) for column in alone]
    return [SetTable(name, headings, _lines(results, alone))]


def _table(results: Results, name: str) -> SetTable:
    columns = sorted({mean.column for mean in results.means if set_of(mean.column) == name})
    headings = [("mean", f"{len(columns)} column{'s' if len(columns) != 1 else ''}")]
    headings += [(column.partition("/")[2], _images(results, column)) for column in columns]
    return SetTable(name.removeprefix(EXTERNAL_PREFIX), headings, _lines(results, [name, *columns]))


def _lines(results: Results, columns: Sequence[str]) -> list[tuple[str, list[Mean | None]]]:
    """Return the detectors and their means in some columns, best first by the first one."""
    means = {(mean.detector, mean.column): mean for mean in results.means}
    # a detector that lacks a column of a set has no mean and comes last
    order = {detector: mean.auc for (detector, column), mean in means.items() if column == columns[0]}
    detectors = sorted({detector for detector, column in means if column in columns})
    detectors.sort(key=lambda detector: -order.get(detector, -1.0))
    lines: list[tuple[str, list[Mean | None]]] = []
    for detector in detectors:
        fields: list[Mean | None] = []
        for column in columns:
            mean = means.get((detector, column))
            if mean is None:
                fields.append(None)
                continue
            shown = estimate(mean.auc, mean.low, mean.high)
            fields.append(Mean(round(10 * mean.auc), shown.value, f"[{shown.low}, {shown.high}]"))
        lines.append((detector, fields))
    return lines


def _images(results: Results, column: str) -> str:
    """Return the numbers of images of a column, "500 real, 500 forged", with people and clips where these repeat."""
    parts = []
    for side in results.external:
        if side.name == column:
            groups = f" in {count(side.groups)} groups" if side.groups and side.groups < side.images else ""
            parts.append(f"{count(side.images)} {side.kind}{groups}")
    return ", ".join(parts)
