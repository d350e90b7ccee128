"""What does the discriminator know? Detectors derived from it against the same network from random weights, in words.

A detector `disc-probe@stylegan-lite` starts from the discriminator of stylegan-lite whatever it is trained on;
`disc-probe` starts from that of its training forgeries. Its control is the `disc-scratch` with the same network; a
probe has another besides, the same probe on random weights, which differs from it in nothing but the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks.measures.results import Cell, Comparison, Results
from benchmarks.protocol import ALPHA
from benchmarks.report.figures import Figure, Names, training
from benchmarks.report.numbers import Estimate, estimate, p_value, signed
from benchmarks.report.ranking import Duel, comparison
from benchmarks.report.svg import forest, nice_axis, series

PREFIX, CONTROL, FAIR = "disc-", "disc-scratch", "disc-finetune"
CONTROLS = {CONTROL: "the same network from random weights", "disc-probe-scratch": "the same probe on random weights"}
_MORE = {"disc-probe": ("disc-probe-scratch",)}  # controls beside CONTROL
_PANELS = 8
_NOTHING_LEFT = 0.999  # of AUC: two detectors above it cannot differ by much
_WHAT = {
    "disc-raw": "the discriminator’s own verdict",
    "disc-probe": "a linear probe on its frozen features",
    "disc-finetune": "the discriminator trained further",
    "disc-ensemble": "the mean verdict of several moments of its training",
    "disc-gradient": "a small CNN on its input gradients",
}


@dataclass(frozen=True)
class Trial:
    """One detector on one set of test forgeries, beside its control; `test` is seen from the detector."""

    cell: Cell
    control: Cell
    test: Comparison

    @property
    def own(self) -> bool:
        """Whether the forgeries are of the generator that the discriminator was trained against."""
        return self.cell.tested_on == judge(self.cell)

    @property
    def against(self) -> str:
        """Which of `CONTROLS` the control is."""
        return family(self.control.detector)

    @property
    def outcome(self) -> int:
        """1 better than the control, -1 worse, 0 no significant difference."""
        if self.test.p_holm >= ALPHA:
            return 0
        return 1 if self.test.difference > 0 else -1


@dataclass(frozen=True)
class Line:
    """One trial as text."""

    cell: Cell
    auc: Estimate
    against: str
    control: Estimate
    difference: Estimate
    p: str


@dataclass(frozen=True)
class Knowledge:
    """The section: the answer in short, sentences under the training they belong to, figures, every trial."""

    answer: list[str]
    sentences: list[tuple[str, list[str]]]
    figures: list[Figure]
    lines: list[Line]
    missing: dict[str, list[str]]  # the option that adds a control -> what lacks it
    left_out: str


def knowledge(results: Results, names: Names) -> Knowledge | None:
    """Compare every discriminator-derived detector with its control; None where the run has no such detector."""
    derived = [cell for cell in results.cells if _derived(cell)]
    if not derived:
        return None
    trials: list[Trial] = []
    missing: dict[str, dict[str, list[str]]] = {}
    for cell in derived:
        for name in (CONTROL, *_MORE.get(family(cell.detector), ())):
            control = _control(cell, results.cells, name)
            test = comparison(cell, control, results.comparisons) if control else None
            if control is not None and test is not None:
                trials.append(Trial(cell, control, test))
            elif name == CONTROL:
                trained = missing.setdefault(_remedy(cell), {}).setdefault(cell.detector, [])
                trained += [cell.trained_on] if cell.trained_on not in trained else []
    trials.sort(key=lambda t: (t.cell.trained_on, t.cell.seed, not t.own, t.cell.tested_on))
    panels = _panels(trials)
    return Knowledge(
        answer=_answer(trials),
        sentences=_sentences(trials),
        figures=[_figure(duel, group, names) for duel, group in panels[:_PANELS]],
        lines=[_line(trial) for trial in trials],
        missing={option: [_lacking(*one) for one in lack.items()] for option, lack in missing.items()},
        left_out=f"The first {_PANELS} of {len(panels)} pairings." if len(panels) > _PANELS else "",
    )


def _lacking(detector: str, trainings: Sequence[str]) -> str:
    return (
        f"{detector}, trained on {trainings[0]}" if len(trainings) == 1 else f"{detector} in {len(trainings)} trainings"
    )


def family(detector: str) -> str:
    """The detector without the generator whose discriminator it starts from: disc-probe of disc-probe@dcgan@24k."""
    return detector.partition("@")[0]


def judge(cell: Cell) -> str:
    """The generator whose discriminator a detector starts from."""
    return cell.detector.partition("@")[2] or cell.trained_on


def _derived(cell: Cell) -> bool:
    return cell.detector.startswith(PREFIX) and family(cell.detector) not in CONTROLS


def _control(cell: Cell, cells: Sequence[Cell], name: str) -> Cell | None:
    """The cell of the control `name` with the same network; snapshots of one training have one network."""
    duel = Duel(cell.trained_on, cell.tested_on, cell.seed)
    found = [
        other
        for other in cells
        if family(other.detector) == name
        and Duel(other.trained_on, other.tested_on, other.seed) == duel
        and judge(other).partition("@")[0] == judge(cell).partition("@")[0]
    ]
    wanted = cell.detector.partition("@")[2]
    return min(found, key=lambda other: (other.detector.partition("@")[2] != wanted, other.detector), default=None)


def _remedy(cell: Cell) -> str:
    named = cell.detector.partition("@")[2]
    return f"{CONTROL}@{named}" if named else CONTROL


# --- Words ------------------------------------------------------------------------------------------------------------


def _answer(trials: Sequence[Trial]) -> list[str]:
    """A count a family, the fair test first: on the discriminator's own generator, and on others."""
    pairs = {(family(trial.cell.detector), trial.against) for trial in trials}
    found = []
    for name, against in sorted(pairs, key=lambda pair: (pair[0] != FAIR, pair[0], pair[1] != CONTROL)):
        group = [t for t in trials if (family(t.cell.detector), t.against) == (name, against)]
        parts = []
        for own, where in ((True, "on the discriminator’s own generator"), (False, "on other generators")):
            outcomes = [trial.outcome for trial in group if trial.own == own]
            if outcomes:
                parts.append(f"{where} {_counted(outcomes)}")
        what = f", {_WHAT[name]}" if name in _WHAT else ""
        if against != CONTROL:
            what = f" against {CONTROLS[against]}"
        found.append(f"{name}{what}: {'; '.join(parts)}.")
    return found


def _counted(outcomes: Sequence[int]) -> str:
    n = len(outcomes)
    words = {1: "better than the control", -1: "worse than the control", 0: "no significant difference"}
    if len(set(outcomes)) == 1:
        return words[outcomes[0]] + {1: "", 2: " in both comparisons"}.get(n, f" in all {n} comparisons")
    kinds = [f"{word} in {outcomes.count(sign)}" for sign, word in words.items() if sign in outcomes]
    return f"{', '.join(kinds)} of {n} comparisons"


def _sentences(trials: Sequence[Trial]) -> list[tuple[str, list[str]]]:
    """One sentence a detector, under what it was trained on."""
    found: dict[str, list[str]] = {}
    ordered = sorted(trials, key=_speaker)
    for (trained_on, seed, detector, _, _), group in groupby(ordered, key=_speaker):
        part = sorted(group, key=lambda t: (not t.own, t.cell.tested_on))
        title = f"Trained on {trained_on} forgeries" + (f", seed {seed}" if _seeds(trials) > 1 else "")
        found.setdefault(title, []).append(_sentence(detector, part))
    return list(found.items())


def _speaker(trial: Trial) -> tuple[str, int, str, bool, str]:
    """What one sentence is about."""
    return trial.cell.trained_on, trial.cell.seed, trial.cell.detector, trial.against != CONTROL, trial.against


def _seeds(trials: Sequence[Trial]) -> int:
    return len({trial.cell.seed for trial in trials})


def _sentence(detector: str, trials: Sequence[Trial]) -> str:
    what = _WHAT.get(family(detector), "")
    named = detector.partition("@")[2]
    if what and named:
        what += f" ({named}’s)"
    clauses = [_clause(trial, first=i == 0) for i, trial in enumerate(trials)]
    return f"{detector}{f', {what},' if what else ''} {'; '.join(clauses)}."


def _clause(trial: Trial, *, first: bool) -> str:
    cell = trial.cell
    where = cell.tested_on
    if trial.own:
        where += ", its own generator,"
    elif cell.seen:
        where += ", seen in training,"
    size = _size(trial)
    network = CONTROLS[trial.against] if first else "it"
    match trial.outcome:
        case 1:
            return f"beats {network} on {where} by {size}" if first else f"on {where} it beats it by {size}"
        case -1:
            return f"falls behind {network} on {where} by {size}" if first else f"on {where} it falls behind by {size}"
        case _:
            why = ""
            if min(cell.auc, trial.control.auc) >= _NOTHING_LEFT:
                why = "; both are nearly perfect there, which leaves nothing to tell apart"
            elif not trial.test.low <= 0 <= trial.test.high:
                why = "; significant alone, not among so many tests"
            if first:
                return f"does not differ significantly from {network} on {where.rstrip(',')} ({size}{why})"
            return f"on {where} there is no significant difference ({size}{why})"


def _size(trial: Trial) -> str:
    """The difference with its interval; of a significant one the size without its sign."""
    test, sign = trial.test, trial.outcome
    if sign == 0:
        return str(signed(test.difference, test.low, test.high))
    low, high = sorted((sign * test.low, sign * test.high))
    return str(signed(sign * test.difference, low, high)).replace("+", "")


# --- Figures and table ------------------------------------------------------------------------------------------------


def _panels(trials: Sequence[Trial]) -> list[tuple[Duel, list[Trial]]]:
    found: dict[Duel, list[Trial]] = {}
    for trial in trials:
        found.setdefault(Duel(trial.cell.trained_on, trial.cell.tested_on, trial.cell.seed), []).append(trial)
    return list(found.items())


def _figure(duel: Duel, trials: Sequence[Trial], names: Names) -> Figure:
    rows = []
    for trial in sorted(trials, key=lambda t: -t.test.difference):
        test, sign = trial.test, trial.outcome
        shown = str(signed(test.difference, test.low, test.high))
        kind = series(4) if sign > 0 else series(5) if sign < 0 else "plain"
        label = trial.cell.detector + (f" (to {trial.against})" if trial.against != CONTROL else "")
        rows.append((label, shown, test.difference, test.low, test.high, kind))
    ends = [end for trial in trials for end in (trial.test.low, trial.test.high)]
    axis = nice_axis(min(0.0, *ends), max(0.0, *ends), "difference of AUC from the control, 95 % interval", pad=0.06)
    where = training(duel)
    title = f"Against {CONTROL}: {where}"
    alt = f"Difference of AUC from {CONTROL}, {where}: " + "; ".join(f"{row[0]} {row[1]}" for row in rows) + "."
    picture = forest(rows, axis, alt, mark=0.0, said="no difference")
    return Figure(names("scratch", duel.trained_on, duel.tested_on), title, picture, alt)


def _line(trial: Trial) -> Line:
    cell, control, test = trial.cell, trial.control, trial.test
    return Line(
        cell=cell,
        auc=estimate(cell.auc, cell.auc_low, cell.auc_high),
        against=trial.against,
        control=estimate(control.auc, control.auc_low, control.auc_high),
        difference=signed(test.difference, test.low, test.high),
        p=p_value(test.p_holm),
    )
