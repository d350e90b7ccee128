"""Models of a family: the AUC on models and families outside the training, against the number of models in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM
from benchmarks.evaluation.column import weights_of
from benchmarks.evaluation.numbers import count, estimate, signed
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.protocol import Condition, Protocol, TrainSet
from benchmarks.report.plot.elements import series, shorten
from benchmarks.report.plot.figure import AUC_TICKS, Figure, FileNames, spread_sample
from benchmarks.report.plot.plot import Axis, Plot
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section
from forge.quality.result import SeedMean

Unit = tuple[int, int]  # seed of the run, number of the choice


class _Relation(NamedTuple):
    """The tests of one curve: a family that was trained on, and whether other models of it are tested."""

    family: str
    within: bool


@dataclass(frozen=True)
class Row:
    """A detector's means by number of models, as text; empty where it has none."""

    detector: str
    means: list[str]
    change: str  # from the smallest number to the largest, paired


@dataclass(frozen=True)
class Table:
    """The tests of one curve: the numbers of models, the rows, and what was tested."""

    title: str
    numbers: list[str]
    rows: list[Row]
    sentence: str


@dataclass(frozen=True)
class VariantsContent(Content):
    """The curves, their tables, and the models of each family."""

    curves: list[Figure]
    tables: list[Table]
    models: dict[str, list[str]]
    choices: int
    seeds: int

    @property
    def figures(self) -> list[Figure]:
        """The curves."""
        return self.curves


class VariantsSection(Section):
    """Detectors by the number of models that they were trained on."""

    id, title, nav, position = "variants", "Models of a family in training", "Models of a family", 650
    template, text_template = "variants.html.j2", "variants.md.j2"

    def build(self, run: RunView) -> VariantsContent | None:
        """Draw the curves; None where the run has no such trainings."""
        return variants_content(run.whole, run.file_names)


def variants_content(results: Results, names: FileNames) -> VariantsContent | None:
    """Draw the tests of the condition `variants`, those of all seeds; None without any.

    Args:
        results: whole, with every seed.
        names: gives the figures their file names.
    """
    cells = [cell for cell in results.cells if cell.condition is Condition.VARIANTS]
    cells = [cell for cell in cells if cell.detector not in (RANDOM, METADATA)]
    if not cells:
        return None
    protocol = Protocol(results.protocol_version, results.families)
    curves, tables = [], []
    for relation, lines in _by_relation(cells, protocol).items():
        title = f"Other models of {relation.family}" if relation.within else f"Families other than {relation.family}"
        # best first, of which a sample is drawn; the table has all
        ranked = sorted(lines, key=lambda name: -np.mean([np.mean(list(of.values())) for of in lines[name].values()]))
        curves.append(_figure(title, relation, {name: lines[name] for name in spread_sample(ranked)}, names))
        tables.append(_table(title, {name: lines[name] for name in ranked}))
    train_sets = [TrainSet.parse(cell.trained_on) for cell in cells]
    trained = {name for of in train_sets for name in of.generators}
    models: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(generator.name for generator in results.generators):
        # a model that no choice trains on is one of the family as well
        if (family := protocol.family(name)) in map(protocol.family, trained):
            models[family].append(name)
    return VariantsContent(
        curves=curves,
        tables=tables,
        models=dict(models),
        choices=max(of.choice or 0 for of in train_sets),
        seeds=len({cell.seed for cell in cells}),
    )


Line = dict[int, dict[Unit, float]]  # number of models -> choice -> mean AUC


def _by_relation(cells: Sequence[TestResult], protocol: Protocol) -> dict[_Relation, dict[str, Line]]:
    """Return the mean AUC of each relation, detector, number of models and choice."""
    grouped: dict[tuple[_Relation, str, int, Unit], list[TestResult]] = defaultdict(list)
    for cell in cells:
        train_set = TrainSet.parse(cell.trained_on)
        family = protocol.family(train_set.generators[0])
        relation = _Relation(family, protocol.family(cell.tested_on) == family)
        unit = (cell.seed, train_set.choice or 0)
        grouped[relation, cell.detector, len(train_set.generators), unit].append(cell)
    lines: dict[_Relation, dict[str, Line]] = {}
    # the other models of a family before other families
    for (relation, detector, number, unit), tests in sorted(grouped.items(), key=lambda group: not group[0][0].within):
        # of several other families each weighs alike, as in the column `unseen`
        weights = weights_of([protocol.family(test.tested_on) for test in tests])
        mean = sum(weight * test.auc for weight, test in zip(weights, tests, strict=True))
        lines.setdefault(relation, {}).setdefault(detector, {}).setdefault(number, {})[unit] = mean
    return lines


def _mean(units: Mapping[Unit, float]) -> tuple[float, float, float]:
    """Return the mean over choices and seeds with Student's interval; of one choice alone the value three times."""
    values = [units[unit] for unit in sorted(units)]
    if len(values) < 2:
        return values[0], values[0], values[0]
    mean = SeedMean.of(values)
    return mean.value, max(0.0, mean.low), min(1.0, mean.high)


def _change(line: Line) -> SeedMean | None:
    """Return the change from the smallest to the largest number of models, paired by choice; None: fewer than two."""
    first, last = line[min(line)], line[max(line)]
    shared = sorted(first.keys() & last.keys())
    return SeedMean.of([last[unit] - first[unit] for unit in shared]) if len(shared) > 1 and len(line) > 1 else None


def _table(title: str, lines: Mapping[str, Line]) -> Table:
    numbers = sorted({number for line in lines.values() for number in line})
    rows, changes = [], []
    for detector, line in lines.items():
        means = [str(estimate(*_mean(line[number]))) if number in line else "" for number in numbers]
        change = _change(line)
        changes += [change] if change else []
        rows.append(Row(detector, means, str(signed(change.value, change.low, change.high)) if change else ""))
    better, worse = sum(change.low > 0 for change in changes), sum(change.high < 0 for change in changes)
    sentence = (
        f"{title}: from {_models(numbers[0])} in training to {numbers[-1]}, the AUC rises for {better} and falls for "
        f"{worse} of {len(changes)} detectors (95 % intervals of the paired change that exclude 0)."
    )
    return Table(title, [_models(number) for number in numbers], rows, sentence if changes else "")


def _models(number: int) -> str:
    return f"{count(number)} model" if number == 1 else f"{count(number)} models"


def _figure(title: str, relation: _Relation, lines: Mapping[str, Line], names: FileNames) -> Figure:
    """Draw the AUC at each number of models; numbers are equidistant, since they are doublings."""
    numbers = sorted({number for line in lines.values() for number in line})
    position = {number: float(i) for i, number in enumerate(numbers)}
    ticks = [(position[number], count(number)) for number in numbers]
    ends = (-0.3, len(numbers) - 0.7)
    plot = Plot(
        Axis(*ends, ticks, f"models of {relation.family} in training"), Axis(0, 1, AUC_TICKS, "AUC"), height=200
    )
    plot.line(ends, [0.5, 0.5], "chance")
    described = []
    for i, (detector, line) in enumerate(lines.items()):
        style = series(i)
        means = {number: _mean(line[number]) for number in sorted(line)}
        # side by side, not on one another
        x = [position[number] + 0.05 * (i - (len(lines) - 1) / 2) for number in means]
        plot.strokes(x, [mean[1] for mean in means.values()], [mean[2] for mean in means.values()], style.split()[0])
        plot.line(x, [mean[0] for mean in means.values()], style)
        for left, (number, mean) in zip(x, means.items(), strict=True):
            tip = f"{detector}, {_models(number)}: {estimate(*mean)}"
            plot.dot(left, mean[0], style.split()[0], title=tip, radius=2.5)
        plot.legend(shorten(detector, 34), style)
        described.append(f"{detector} " + ", ".join(f"{mean[0]:.2f} of {_models(n)}" for n, mean in means.items()))
    alt = f"{title}: AUC by the number of models in training. {'; '.join(described)}."
    return Figure(names("variants", relation.family, "own" if relation.within else "others"), title, plot.svg(alt), alt)
