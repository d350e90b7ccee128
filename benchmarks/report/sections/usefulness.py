"""Usefulness of forgeries: label classifiers that are trained on them and tested on real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.evaluation.numbers import count, signed
from benchmarks.evaluation.run_facts import GeneratorFacts, UsefulnessRow
from benchmarks.report.plot.elements import series
from benchmarks.report.plot.figure import Figure, FileNames
from benchmarks.report.plot.plot import Axis, Plot, nice_axis
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_DESIGNS = {"balanced": "balanced", "unbalanced": "10 : 1, rare label filled up"}


@dataclass(frozen=True)
class Line:
    """One row of the table: what the two classifiers were trained on, and their accuracies as text."""

    without: str
    augmented: str
    accuracies: tuple[str, str]
    difference: str
    apart: bool  # the interval of the difference lies on one side of zero


@dataclass(frozen=True)
class Measured:
    """One generator and label column."""

    generator: str
    column: str
    sentence: str
    lines: list[Line]


@dataclass(frozen=True)
class UsefulnessContent(Content):
    """What was measured, a figure of gains each, and why other generators have none."""

    measured: list[Measured]
    curves: list[Figure]
    missing: dict[str, str]
    seeds: int
    n_test: int

    @property
    def figures(self) -> list[Figure]:
        """The gains."""
        return self.curves


class UsefulnessSection(Section):
    """Forgeries as training images."""

    id, title, nav, position = "usefulness", "Forgeries as training images", "As training images", 850
    template, text_template = "usefulness.html.j2", "usefulness.md.j2"

    def build(self, run: RunView) -> UsefulnessContent | None:
        """Lay out the accuracies; None where no generator's forgeries have labels of their own."""
        generators = run.results.generators
        groups = [(g.name, column, rows) for g in generators for column, rows in _by_column(g.usefulness).items()]
        if not groups:
            return None
        figures = [_figure(name, column, rows, run.file_names) for name, column, rows in groups]
        return UsefulnessContent(
            measured=[
                Measured(name, column, _sentence(name, column, rows, run.subject), [_line(row) for row in rows])
                for name, column, rows in groups
            ],
            curves=[figure for figure in figures if figure is not None],
            missing={g.name: _reason(g) for g in generators if not g.usefulness},
            seeds=groups[0][2][0].seeds,
            n_test=groups[0][2][0].n_test,
        )


def _by_column(rows: Sequence[UsefulnessRow]) -> Mapping[str, list[UsefulnessRow]]:
    columns: dict[str, list[UsefulnessRow]] = {}
    for row in rows:
        columns.setdefault(row.column, []).append(row)
    return columns


def _reason(generator: GeneratorFacts) -> str:
    """Return why a generator's forgeries were not measured, as the end of a sentence."""
    if generator.files:
        return "its forgeries are files without labels"
    if not generator.trained:
        return "its images have the labels of the real images they were made from, which are those of the test"
    if generator.condition is None:
        return "it is told no labels, so that its forgeries have none of their own"
    return "it was not asked for (quality.usefulness), or a label has too few images"


def _line(row: UsefulnessRow) -> Line:
    if row.design == "in place":
        names = f"{count(row.reals)} real", f"{count(row.forgeries)} forged"
    else:
        ratio = "" if row.design == "balanced" else f", few of “{row.rare}”"
        names = f"{count(row.reals)} real{ratio}", f"the same + {count(row.forgeries)} forged"
    return Line(
        *names,
        accuracies=(f"{row.without:.3f}", f"{row.augmented:.3f}"),
        difference=str(signed(row.difference, row.low, row.high)),
        apart=row.low > 0 or row.high < 0,
    )


def _sentence(name: str, column: str, rows: Sequence[UsefulnessRow], subject: str) -> str:
    """Say both accuracies of the score, and in how many settings forgeries help or harm."""
    alone = next(row for row in rows if row.design == "in place")
    gains = [row for row in rows if row.design != "in place"]
    text = (
        f"{name}, {column}: trained on {count(alone.forgeries)} forgeries alone, a classifier has a balanced accuracy "
        f"of {alone.augmented:.2f} on real {subject}s; trained on as many real ones {alone.without:.2f} (chance "
        f"{1 / alone.labels:.2f})."
    )
    if not gains:
        return text
    # An interval beside zero, not the sign of the mean: with few seeds a sign is a coin.
    better, worse = sum(row.low > 0 for row in gains), sum(row.high < 0 for row in gains)
    return (
        f"{text} Added to real {subject}s, forgeries raise the accuracy in {better} and lower it in {worse} of "
        f"{len(gains)} settings (95 % intervals that exclude 0)."
    )


def _figure(name: str, column: str, rows: Sequence[UsefulnessRow], names: FileNames) -> Figure | None:
    """Draw the gain against the number of real images; sizes are equidistant, since they are multiples."""
    gains = {design: [row for row in rows if row.design == design] for design in _DESIGNS}
    # Labels that do not divide a number of images change it by a few: sizes by their order.
    sizes = [f"{count(row.reals)}" for row in gains["balanced"]]
    if not sizes:
        return None
    low, high = min(0.0, *(row.low for row in rows[1:])), max(0.0, *(row.high for row in rows[1:]))
    y = nice_axis(low, high, "gain in balanced accuracy", max_steps=4, pad=0.08)
    ticks = [(float(i), size) for i, size in enumerate(sizes)]
    plot = Plot(Axis(-0.4, len(sizes) - 0.6, ticks, "real training images"), y, height=180)
    plot.line([-0.4, len(sizes) - 0.6], [0, 0], "chance")
    for i, (design, points) in enumerate(gains.items()):
        x = [position + 0.08 * (i - 0.5) for position in range(len(points))]  # side by side, not on one another
        style = series(i)
        plot.strokes(x, [row.low for row in points], [row.high for row in points], style.split()[0])
        plot.line(x, [row.difference for row in points], style)
        for left, row in zip(x, points, strict=True):
            plot.dot(left, row.difference, style.split()[0], title=str(signed(row.difference, row.low, row.high)))
        plot.legend(_DESIGNS[design], style)
    title = f"Gain from forgeries of {name}, {column}"
    listed = "; ".join(
        f"{_DESIGNS[row.design]}, {count(row.reals)} real images: {signed(row.difference, row.low, row.high)}"
        for row in rows[1:]
    )
    alt = f"{title}: balanced accuracy with forgeries minus without. {listed}."
    return Figure(names("usefulness", name, column), title, plot.svg(alt), alt)
