"""An arms race: detectors of each round against generators of each round, controls beside them, and who won."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM
from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.evaluation.run_facts import GeneratorFacts
from benchmarks.experiment.settings import Tuned
from benchmarks.protocol import CLEAN, TrainSet
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_MEASURES = ("sliced Wasserstein x 1000", "precision", "recall", "face found, p >= .90")
_EVADED = 0.05  # loss of AUC of the attacked detector, beyond that of training on alone, from which evasion is told
_CAUGHT = 0.9  # AUC of the detector fitted anew, from which it finds the newest round again
_WORSE = 1.25  # factor on the distance from real faces, beyond that of training on alone, from which faces got worse


@dataclass(frozen=True)
class RaceField:
    """A detector of a round on a generator: colour step 0..10, AUC, interval; fresh: not fitted on this generator."""

    step: int
    auc: str
    interval: str
    fresh: bool


@dataclass(frozen=True)
class RaceTable:
    """A detector as each round left it, by generators.

    Attributes:
        detector: its name.
        attacked: whether generators were trained against it.
        lines: round, and a field per generator; None: not tested.
    """

    detector: str
    attacked: bool
    lines: list[tuple[int, list[RaceField | None]]]


@dataclass(frozen=True)
class RaceContent(Content):
    """Tables of detectors, and the quality of each round.

    Attributes:
        generators: their names, rounds first.
        tables: the attacked detector first.
        measures: quality metrics.
        quality: generator -> value of each metric, in words.
        reference: of held-out real faces.
        sentences: who won.
    """

    generators: list[str]
    tables: list[RaceTable]
    measures: list[str]
    quality: list[tuple[str, list[str]]]
    reference: list[str]
    sentences: list[str]


class RaceSection(Section):
    """Rounds of an arms race."""

    id, title, nav, position = "race", "Arms race", "Arms race", 340
    template, text_template = "race.html.j2", "race.md.j2"

    def build(self, run: RunView) -> RaceContent | None:
        """Lay out the rounds of the first seed; None without a race."""
        results = run.results
        if not any(generator.against is not None for generator in results.generators):
            return None
        generators = sorted(results.generators, key=_order)
        cells = _cells(run.whole, results)
        attacked = {g.against for g in generators if g.against and g.against != Tuned.RANDOM}
        names = [name for name in dict.fromkeys(cell.detector for cell in cells) if name not in (RANDOM, METADATA)]
        names.sort(key=lambda name: name not in attacked)
        measures = [name for name in _MEASURES if any(_value(g, name) is not None for g in generators)]
        return RaceContent(
            generators=[generator.name for generator in generators],
            tables=[_table(name, cells, generators, attacked=name in attacked) for name in names],
            measures=measures,
            quality=[(g.name, [_text(_value(g, name)) for name in measures]) for g in generators],
            reference=[_text(_floor(generators, name)) for name in measures],
            sentences=_sentences(cells, generators, sorted(attacked), names),
        )


def _order(generator: GeneratorFacts) -> tuple[bool, str, int]:
    control = generator.against is not None and generator.against in ("", Tuned.RANDOM)
    return control, generator.against or "" if control else "", generator.round


def _cells(whole: Results, results: Results) -> list[TestResult]:
    plain = [cell for cell in whole.cells if cell.perturbation == CLEAN and not TrainSet.parse(cell.trained_on).variant]
    return [cell for cell in plain if not results.seeds or cell.seed == results.seed]


def _round_of(trained_on: str, generators: Sequence[GeneratorFacts]) -> int | None:
    """Return the newest round that a training has forgeries of; None where it has those of other generators."""
    rounds = {generator.name: generator.round for generator in generators}
    known = [rounds.get(name) for name in TrainSet.parse(trained_on).generators]
    return None if None in known or not known else max(number for number in known if number is not None)


def _table(
    name: str, cells: Sequence[TestResult], generators: Sequence[GeneratorFacts], *, attacked: bool
) -> RaceTable:
    by_round: dict[int, dict[str, TestResult]] = {}
    for cell in cells:
        number = _round_of(cell.trained_on, generators)
        if cell.detector == name and number is not None:
            by_round.setdefault(number, {})[cell.tested_on] = cell
    lines = [
        (number, [_field(tests.get(generator.name)) for generator in generators])
        for number, tests in sorted(by_round.items())
    ]
    return RaceTable(name, attacked, lines)


def _field(cell: TestResult | None) -> RaceField | None:
    if cell is None:
        return None
    shown = estimate(cell.auc, cell.auc_low, cell.auc_high)
    fresh = cell.tested_on not in TrainSet.parse(cell.trained_on).generators
    return RaceField(round(10 * cell.auc), shown.value, f"[{shown.low}, {shown.high}]", fresh)


def _value(generator: GeneratorFacts, metric: str) -> float | None:
    return next((row.value for row in generator.quality if row.metric == metric), None)


def _floor(generators: Sequence[GeneratorFacts], metric: str) -> float | None:
    floors = [row.floor for generator in generators for row in generator.quality if row.metric == metric]
    return next((floor for floor in floors if floor is not None), None)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _sentences(
    cells: Sequence[TestResult],
    generators: Sequence[GeneratorFacts],
    attacked: Sequence[str],
    detectors: Sequence[str],
) -> list[str]:
    """State what each round took from the detector before it, what that cost, and who won the last one."""
    by_name = {generator.name: generator for generator in generators}
    aucs = {(cell.detector, _round_of(cell.trained_on, generators), cell.tested_on): cell.auc for cell in cells}
    sentences = []
    for name in attacked:
        rounds = [g for g in generators if g.against == name]
        for generator in rounds:
            before = aucs.get((name, generator.round - 1, generator.base))
            after = aucs.get((name, generator.round - 1, generator.name))
            again = aucs.get((name, generator.round, generator.name))
            plain = next((g for g in generators if g.against == "" and g.round == generator.round), None)
            control = aucs.get((name, generator.round - 1, plain.name)) if plain else None
            if before is None or after is None:
                continue
            text = f"Round {generator.round}: {generator.name} takes {name} of the round before from AUC {before:.2f} "
            text += f"to {after:.2f}"
            text += f" (trained on without it: {control:.2f})" if control is not None else ""
            others = [aucs.get((other, generator.round - 1, generator.name)) for other in detectors if other != name]
            known = [auc for auc in others if auc is not None]
            text += f"; other detectors have {fmean(known):.2f}" if known else ""
            text += f"; {name} fitted anew has {again:.2f}." if again is not None else "."
            sentences.append(text)
        if rounds and (last := _won(name, rounds[-1], aucs, generators, by_name)):
            sentences.append(last)
    return sentences


def _won(
    name: str,
    generator: GeneratorFacts,
    aucs: dict[tuple[str, int | None, str], float],
    generators: Sequence[GeneratorFacts],
    by_name: dict[str, GeneratorFacts],
) -> str:
    """Return who won the last round: the generator only where a detector fitted anew misses it too, and faces are good.

    Args:
        name: of the attacked detector.
        generator: of the last round.
        aucs: detector, round and generator -> AUC.
        generators: all of them.
        by_name: the same by name.
    """
    after = aucs.get((name, generator.round - 1, generator.name))
    again = aucs.get((name, generator.round, generator.name))
    plain = next((g for g in generators if g.against == "" and g.round == generator.round), None)
    beside = plain or by_name.get(generator.base)
    if after is None or again is None or beside is None:
        return ""
    without = aucs.get((name, generator.round - 1, beside.name), 1.0)
    distance, usual = _value(generator, _MEASURES[0]), _value(beside, _MEASURES[0])
    worse = distance is not None and usual is not None and distance > _WORSE * usual
    cost = (
        f", at the price of worse faces (sliced Wasserstein distance {distance:.0f} instead of {usual:.0f})"
        if worse
        else ""
    )
    if after > without - _EVADED:
        return f"The detector won: round {generator.round} does not evade the frozen {name}{cost}."
    if again > _CAUGHT:
        return (
            f"The detector won: round {generator.round} evades the frozen {name}, and {name} fitted anew finds it "
            f"again{cost}."
        )
    return f"The generator won: {name} fitted anew on round {generator.round} has AUC {again:.2f}{cost}."
