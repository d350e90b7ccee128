"""Detectors under attack: AUC over the budget of changes, and what the changes cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM
from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import SecurityPoint
from benchmarks.evaluation.security import warnings_of
from benchmarks.protocol import AttackId
from benchmarks.report.plot.elements import series, shorten
from benchmarks.report.plot.figure import AUC_TICKS, Figure, FileNames, spread_sample
from benchmarks.report.plot.plot import Axis, Plot
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_Key = tuple[str, float | None]


@dataclass(frozen=True)
class AttackColumn:
    """An attack at one budget.

    Attributes:
        title: attack and budget.
        asks: what it asks of the detector, in words.
        psnr: of the changes over all detectors, in words; "": nothing was changed.
    """

    title: str
    asks: str
    psnr: str


@dataclass(frozen=True)
class AttackField:
    """A detector under one attack.

    Attributes:
        step: colour step 0..10.
        auc: mean AUC.
        interval: its 95 % interval.
        tpr: TPR at 1 % FPR; "": n too small.
    """

    step: int
    auc: str
    interval: str
    tpr: str


@dataclass(frozen=True)
class AttackTable:
    """Detectors by attacks with one aim.

    Attributes:
        aim: what the attacker changes, in words.
        columns: the attacks; before them the same images unchanged.
        lines: detector, its field before, and a field or a reason per attack.
        curves: over the budget, one figure per attack.
    """

    aim: str
    columns: list[AttackColumn]
    lines: list[tuple[str, AttackField | None, list[AttackField | str]]]
    curves: list[Figure]


@dataclass(frozen=True)
class AttacksContent(Content):
    """Tables of each aim.

    Attributes:
        tables: one per aim.
        images: attacked images per generator.
        sentence: what the strongest attack did.
        warnings: points that do not mean what they seem to.
    """

    tables: list[AttackTable]
    images: int
    sentence: str
    warnings: list[str]

    @property
    def figures(self) -> list[Figure]:
        """The security curves."""
        return [curve for table in self.tables for curve in table.curves]


class AttacksSection(Section):
    """Detectors under attack."""

    id, title, nav, position = "attacks", "Under attack", "Attacks", 550
    template, text_template = "attacks.html.j2", "attacks.md.j2"

    def build(self, run: RunView) -> AttacksContent | None:
        """Lay out the security curves; None where nothing was attacked."""
        points = run.whole.security
        if not points:
            return None
        tables = [
            _table(of_aim, run)
            for frames in (False, True)
            if (of_aim := [point for point in points if point.frames is frames])
        ]
        return AttacksContent(tables, max(point.images for point in points), _sentence(points), warnings_of(points))


_ASKS = {"gradients": "asks for gradients", "scores": "asks for scores", "nothing": "asks nothing"}


def _table(points: Sequence[SecurityPoint], run: RunView) -> AttackTable:
    before = {point.detector: point for point in points if not point.attack}
    attacked = [point for point in points if point.attack]
    keys: list[_Key] = list(dict.fromkeys((point.attack, point.epsilon) for point in attacked))
    by_key = {(point.detector, point.attack, point.epsilon): point for point in attacked}
    detectors = list(dict.fromkeys(point.detector for point in points))
    means = {name: fmean(point.auc for point in attacked if point.detector == name) for name in detectors}
    detectors.sort(key=lambda name: (-means[name], name))  # the one that keeps most first
    asks = {point.attack: point.access for point in attacked}
    lines = [
        (
            name,
            _field(before[name]) if name in before else None,
            [
                _field(by_key[name, *key]) if (name, *key) in by_key else _reason(name, key, asks[key[0]], run)
                for key in keys
            ],
        )
        for name in detectors
    ]
    columns = [_column(key, asks[key[0]], [p for p in attacked if (p.attack, p.epsilon) == key]) for key in keys]
    frames = points[0].frames
    shown = [name for name in detectors if name not in (RANDOM, METADATA)]
    curves = []
    for attack in dict.fromkeys(name for name, _ in keys):
        budgets = [epsilon for name, epsilon in keys if name == attack and epsilon is not None]
        of_attack = [
            (name, [before[name], *(by_key[name, attack, epsilon] for epsilon in budgets)])
            for name in shown
            if name in before and all((name, attack, epsilon) in by_key for epsilon in budgets)
        ]
        if len(budgets) > 1 and of_attack:  # one budget is no curve
            curves.append(_curve(attack, budgets, of_attack, run.file_names, frames=frames))
    aim = (
        "Real images are changed so that they pass for forged; forgeries stay as they are."
        if frames
        else "Forgeries are changed so that they pass for real; real images stay as they are."
    )
    return AttackTable(aim, columns, lines, curves)


def _column(key: _Key, access: str, points: Sequence[SecurityPoint]) -> AttackColumn:
    ratios = [point.psnr for point in points if point.psnr is not None]
    return AttackColumn(
        title=AttackId(*key).readable,
        asks=_ASKS.get(access, access),
        psnr=f"{fmean(ratios):.0f} dB" if ratios else "",
    )


def _field(point: SecurityPoint) -> AttackField:
    shown = estimate(point.auc, point.low, point.high)
    rate = point.tpr_at_fpr_1pct
    return AttackField(
        step=round(10 * min(1.0, max(0.0, point.auc))),
        auc=shown.value,
        interval=f"[{shown.low}, {shown.high}]",
        tpr="" if rate is None else f"{rate:.0%}",
    )


def _reason(detector: str, key: _Key, access: str, run: RunView) -> str:
    """Return why a detector has no field."""
    failed = any(
        name.startswith(f"attack {detector}@") and name.endswith(f" by {key[0]}") for name in run.whole.missing
    )
    if failed:
        return "failed"
    return "no gradient" if access == "gradients" else "not run"


def _curve(
    attack: str,
    budgets: Sequence[float],
    detectors: Sequence[tuple[str, list[SecurityPoint]]],
    file_names: FileNames,
    *,
    frames: bool,
) -> Figure:
    # budgets double from one to the next as a rule: equal steps, as on a logarithmic axis, with 0 before them
    last = len(budgets)
    ticks = [(0.0, "0"), *((float(i), f"{budget:g}") for i, budget in enumerate(budgets, 1))]
    plot = Plot(
        Axis(-0.15, last + 0.15, ticks, f"budget of {attack}, grey levels of 255"),
        Axis(0, 1, AUC_TICKS, "mean AUC"),
        height=190,
    )
    plot.line([-0.15, last + 0.15], [0.5, 0.5], "chance")
    chosen = spread_sample(detectors)
    for i, (name, points) in enumerate(chosen):
        x = list(range(len(points)))
        plot.band(x, [point.low for point in points], [point.high for point in points], series(i).split()[0])
        plot.line(x, [point.auc for point in points], series(i))
        for place, point in enumerate(points):
            title = f"{name}, {point.epsilon or 0:g}/255: {point.auc:.3f}"
            plot.dot(place, point.auc, series(i).split()[0], title=title, radius=2.5)
        plot.legend(shorten(name, 34), series(i))
    shown = "; ".join(f"{name} from {points[0].auc:.2f} to {points[-1].auc:.2f}" for name, points in chosen)
    alt = f"Mean AUC of detectors under {attack} from no change to {budgets[-1]:g} grey levels: {shown}."
    title = f"Under {attack}{', real faces changed' if frames else ''}"
    return Figure(file_names("attack", attack, *(["frame"] if frames else [])), title, plot.svg(alt), alt)


def _sentence(points: Sequence[SecurityPoint]) -> str:
    """State what each budget-free attack, and the smallest and the largest budget of the others, leave of the AUC."""
    learned = [point for point in points if point.detector not in (RANDOM, METADATA) and not point.frames]
    before = {point.detector: point.auc for point in learned if not point.attack}
    parts = []
    for attack in dict.fromkeys(point.attack for point in learned if point.attack):
        of_attack = [point for point in learned if point.attack == attack and point.detector in before]
        if not of_attack:
            continue
        epsilon = max(point.epsilon or 0.0 for point in of_attack)
        hardest = [point for point in of_attack if (point.epsilon or 0.0) == epsilon]
        clean = fmean(before[point.detector] for point in hardest)
        most = max(hardest, key=lambda point: point.auc)
        budget = f" at {epsilon:g}/255" if epsilon else ""
        parts.append(
            f"{attack}{budget}: mean AUC {clean:.2f} before, {fmean(point.auc for point in hardest):.2f} after "
            f"(best: {most.detector}, {most.auc:.2f})"
        )
    return "; ".join(parts) + "." if parts else ""
