"""Discriminator-based detectors against the same network from random weights.

A detector `disc-probe@stylegan-lite` starts from the discriminator of stylegan-lite whatever it is trained on;
`disc-probe` starts from that of its training forgeries. Its control is the `disc-scratch` with the same network; a
probe has a second control, the same probe on random weights, which differs from it in nothing but the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks.evaluation.numbers import Estimate, estimate, p_value, signed
from benchmarks.evaluation.results import PairedTest, Results, TestResult
from benchmarks.protocol import ALPHA
from benchmarks.report.plot.figure import Figure, FileNames
from benchmarks.report.plot.plot import nice_axis
from benchmarks.report.plot.row_plot import Mark, RowPlot
from benchmarks.report.ranking import Pairing, paired_test, pairing_title
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

PREFIX, CONTROL, FAIR = "disc-", "disc-scratch", "disc-finetune"
CONTROLS = {CONTROL: "the same network from random weights", "disc-probe-scratch": "the same probe on random weights"}
_MORE = {"disc-probe": ("disc-probe-scratch",)}  # controls beside CONTROL
_PANELS = 8
_NOTHING_LEFT = 0.999  # of AUC: two detectors above it cannot differ by much
_WHAT = {
    "disc-raw": "the output of the discriminator",
    "disc-probe": "a linear probe on its frozen features",
    "disc-finetune": "the discriminator trained further",
    "disc-ensemble": "the mean output of several snapshots of its training",
    "disc-gradient": "a small CNN on its input gradients",
}


@dataclass(frozen=True)
class ControlledTest:
    """A detector and its control on one set of test forgeries; the difference is detector minus control."""

    cell: TestResult
    control: TestResult
    test: PairedTest

    @property
    def same_generator(self) -> bool:
        """True where the forgeries are of the generator that the discriminator was trained against."""
        # `source`: by its name, or by its training where no generator is named
        return self.cell.tested_on == source(self.cell)

    @property
    def against(self) -> str:
        """The family of the control, a key of `CONTROLS`."""
        return family(self.control.detector)

    @property
    def outcome(self) -> int:
        """1 better than the control, -1 worse, 0 no significant difference."""
        if self.test.p_holm >= ALPHA:  # after Holm over the table, so that one of many is not significant by chance
            return 0
        return 1 if self.test.difference > 0 else -1


@dataclass(frozen=True)
class Line:
    """One paired test as text."""

    cell: TestResult
    auc: Estimate
    against: str
    control: Estimate
    difference: Estimate
    p: str


@dataclass(frozen=True)
class DiscriminatorContent(Content):
    """The answer in short, sentences by training, figures, and every paired test."""

    answer: list[str]
    sentences: list[tuple[str, list[str]]]
    differences: list[Figure]
    lines: list[Line]
    missing: dict[str, list[str]]  # the option that adds a control -> what lacks it
    left_out: str

    @property
    def figures(self) -> list[Figure]:
        """The differences, one panel per pairing."""
        return self.differences


class DiscriminatorSection(Section):
    """Discriminator-based detectors against their controls."""

    id, title, nav, position = "discriminators", "Detectors based on discriminators", "Discriminators", 700
    template, text_template = "discriminators.html.j2", "discriminators.md.j2"

    def build(self, run: RunView) -> DiscriminatorContent | None:
        """Compare every discriminator-based detector with its control; None where the run has none."""
        return discriminator_content(run.results, run.file_names)


def discriminator_content(results: Results, names: FileNames) -> DiscriminatorContent | None:
    """Compare every discriminator-based detector with its control; None where the run has no such detector."""
    derived = [cell for cell in results.cells if _derived(cell)]
    if not derived:
        return None
    tests: list[ControlledTest] = []
    missing: dict[str, dict[str, list[str]]] = {}
    for cell in derived:
        # Every family has the network from random weights as its control; a probe has a second one.
        for name in (CONTROL, *_MORE.get(family(cell.detector), ())):
            control = _control(cell, results.cells, name)
            # None: no such cell, or not tested in pairs
            test = paired_test(cell, control, results.comparisons) if control else None
            if control is not None and test is not None:
                tests.append(ControlledTest(cell, control, test))
            elif name == CONTROL:  # a missing second control is no gap: the first one is enough to judge
                trained = missing.setdefault(_remedy(cell), {}).setdefault(cell.detector, [])
                trained += [cell.trained_on] if cell.trained_on not in trained else []
    # its own generator first
    tests.sort(key=lambda t: (t.cell.trained_on, t.cell.seed, not t.same_generator, t.cell.tested_on))
    panels = _panels(tests)
    return DiscriminatorContent(
        answer=_answer(tests),
        sentences=_sentences(tests),
        differences=[_figure(pairing, group, names) for pairing, group in panels[:_PANELS]],
        lines=[_line(paired) for paired in tests],
        missing={option: [_lacking(*missed) for missed in lack.items()] for option, lack in missing.items()},
        left_out=f"The first {_PANELS} of {len(panels)} pairings." if len(panels) > _PANELS else "",
    )


def _lacking(detector: str, trainings: Sequence[str]) -> str:
    return (
        f"{detector}, trained on {trainings[0]}" if len(trainings) == 1 else f"{detector} in {len(trainings)} trainings"
    )


def family(detector: str) -> str:
    """Return a detector without the generator that it starts from: "disc-probe" of "disc-probe@dcgan"."""
    return detector.partition("@")[0]


def source(cell: TestResult) -> str:
    """Return the generator whose discriminator a detector starts from."""
    # of "disc-probe@dcgan@24k" the generator with its snapshot
    return cell.detector.partition("@")[2] or cell.trained_on


def _derived(cell: TestResult) -> bool:
    # controls begin with the same prefix
    return cell.detector.startswith(PREFIX) and family(cell.detector) not in CONTROLS


def _control(cell: TestResult, cells: Sequence[TestResult], name: str) -> TestResult | None:
    """Return the cell of the control `name` with the same network; snapshots of a training share a network."""
    pairing = Pairing(cell.trained_on, cell.tested_on, cell.seed)
    controls = [
        other
        for other in cells
        if family(other.detector) == name
        and Pairing(other.trained_on, other.tested_on, other.seed) == pairing
        # without the snapshot: network and training size are the same
        and source(other).partition("@")[0] == source(cell).partition("@")[0]
    ]
    wanted = cell.detector.partition("@")[2]
    # one that names the same generator before one that starts from the training
    return min(controls, key=lambda other: (other.detector.partition("@")[2] != wanted, other.detector), default=None)


def _remedy(cell: TestResult) -> str:
    named = cell.detector.partition("@")[2]
    return f"{CONTROL}@{named}" if named else CONTROL


# --- Words ------------------------------------------------------------------------------------------------------------


def _answer(tests: Sequence[ControlledTest]) -> list[str]:
    """A count a family, the fair test first: on the discriminator's own generator, and on others."""
    pairs = {(family(paired.cell.detector), paired.against) for paired in tests}
    sentences = []
    # FAIR first: like its control it trains the whole network.
    for name, against in sorted(pairs, key=lambda pair: (pair[0] != FAIR, pair[0], pair[1] != CONTROL)):
        group = [t for t in tests if (family(t.cell.detector), t.against) == (name, against)]
        parts = []
        for same, where in ((True, "on the discriminator’s own generator"), (False, "on other generators")):
            outcomes = [test.outcome for test in group if test.same_generator == same]
            if outcomes:
                parts.append(f"{where} {_counted(outcomes)}")
        what = f", {_WHAT[name]}" if name in _WHAT else ""
        if against != CONTROL:
            what = f" against {CONTROLS[against]}"
        sentences.append(f"{name}{what}: {'; '.join(parts)}.")
    return sentences


def _counted(outcomes: Sequence[int]) -> str:
    n = len(outcomes)
    words = {1: "better than the control", -1: "worse than the control", 0: "no significant difference"}
    if len(set(outcomes)) == 1:
        # two comparisons are "both", more are counted
        return words[outcomes[0]] + {1: "", 2: " in both comparisons"}.get(n, f" in all {n} comparisons")
    counts = [f"{word} in {outcomes.count(sign)}" for sign, word in words.items() if sign in outcomes]
    return f"{', '.join(counts)} of {n} comparisons"


def _sentences(tests: Sequence[ControlledTest]) -> list[tuple[str, list[str]]]:
    """Write one sentence per detector, by train set."""
    sentences: dict[str, list[str]] = {}
    ordered = sorted(tests, key=_subject)
    # `groupby` needs sorted neighbours, hence the same key twice
    for (trained_on, seed, detector, _, _), group in groupby(ordered, key=_subject):
        part = sorted(group, key=lambda t: (not t.same_generator, t.cell.tested_on))
        title = f"Trained on {trained_on} forgeries" + (f", seed {seed}" if _seeds(tests) > 1 else "")
        sentences.setdefault(title, []).append(_sentence(detector, part))
    return list(sentences.items())


def _subject(paired: ControlledTest) -> tuple[str, int, str, bool, str]:
    """Return what one sentence is about."""
    return paired.cell.trained_on, paired.cell.seed, paired.cell.detector, paired.against != CONTROL, paired.against


def _seeds(tests: Sequence[ControlledTest]) -> int:
    return len({paired.cell.seed for paired in tests})


def _sentence(detector: str, tests: Sequence[ControlledTest]) -> str:
    what = _WHAT.get(family(detector), "")
    named = detector.partition("@")[2]  # "disc-probe@dcgan": whose discriminator it is
    if what and named:
        what += f" ({named}’s)"
    clauses = [_clause(paired, first=i == 0) for i, paired in enumerate(tests)]
    return f"{detector}{f', {what},' if what else ''} {'; '.join(clauses)}."


def _clause(paired: ControlledTest, *, first: bool) -> str:
    cell = paired.cell
    where = cell.tested_on
    if paired.same_generator:
        where += ", its own generator,"
    elif cell.seen:
        where += ", seen in training,"
    size = _size(paired)
    network = CONTROLS[paired.against] if first else "it"  # the first clause names the control, the others say "it"
    match paired.outcome:
        case 1:
            return f"beats {network} on {where} by {size}" if first else f"on {where} it beats it by {size}"
        case -1:
            return f"falls behind {network} on {where} by {size}" if first else f"on {where} it falls behind by {size}"
        case _:
            why = ""
            # Two reasons why a difference is not significant that are not "there is none".
            if min(cell.auc, paired.control.auc) >= _NOTHING_LEFT:
                why = "; both are nearly perfect there, which leaves nothing to tell apart"
            elif not paired.test.low <= 0 <= paired.test.high:
                why = "; significant alone, not among so many tests"
            if first:
                return f"does not differ significantly from {network} on {where.rstrip(',')} ({size}{why})"
            return f"on {where} there is no significant difference ({size}{why})"


def _size(paired: ControlledTest) -> str:
    """Format the difference with its interval; of a significant one the size without its sign."""
    test, sign = paired.test, paired.outcome
    if sign == 0:
        return str(signed(test.difference, test.low, test.high))
    low, high = sorted((sign * test.low, sign * test.high))  # turned with the sign, the ends exchange places
    return str(signed(sign * test.difference, low, high)).replace("+", "")


# --- Figures and table ------------------------------------------------------------------------------------------------


def _panels(tests: Sequence[ControlledTest]) -> list[tuple[Pairing, list[ControlledTest]]]:
    panels: dict[Pairing, list[ControlledTest]] = {}
    for paired in tests:
        panels.setdefault(Pairing(paired.cell.trained_on, paired.cell.tested_on, paired.cell.seed), []).append(paired)
    return list(panels.items())


def _figure(pairing: Pairing, tests: Sequence[ControlledTest], names: FileNames) -> Figure:
    ends = [end for paired in tests for end in (paired.test.low, paired.test.high)]
    # 0 is always on the axis
    axis = nice_axis(min(0.0, *ends), max(0.0, *ends), "difference of AUC from the control, 95 % interval", pad=0.06)
    plot, shown = RowPlot(axis, reference=0.0, reference_label="no difference"), []
    for paired in sorted(tests, key=lambda t: -t.test.difference):  # best first
        test = paired.test
        text = str(signed(test.difference, test.low, test.high))
        name = paired.cell.detector + (f" (to {paired.against})" if paired.against != CONTROL else "")
        style = {1: "s4", 0: "plain", -1: "s5"}[paired.outcome]
        plot.row(name, text, [Mark(test.difference, style, (test.low, test.high), caps=True)])
        shown.append(f"{name} {text}")
    where = pairing_title(pairing)
    title = f"Against {CONTROL}: {where}"
    alt = f"Difference of AUC from {CONTROL}, {where}: {'; '.join(shown)}."
    return Figure(names("scratch", pairing.trained_on, pairing.tested_on), title, plot.svg(alt), alt)


def _line(paired: ControlledTest) -> Line:
    cell, control, test = paired.cell, paired.control, paired.test
    return Line(
        cell=cell,
        auc=estimate(cell.auc, cell.auc_low, cell.auc_high),
        against=paired.against,
        control=estimate(control.auc, control.auc_low, control.auc_high),
        difference=signed(test.difference, test.low, test.high),
        p=p_value(test.p_holm),
    )
