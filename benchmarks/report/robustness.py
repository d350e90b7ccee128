"""What is left of each detector when test images are changed: a table over changes, and curves over their strength."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.measures.audit import METADATA, RANDOM
from benchmarks.measures.results import Results
from benchmarks.protocol import CLEAN, Condition, TrainSet
from benchmarks.report.figures import Figure, Names, apart
from benchmarks.report.svg import Axis, Plot, series, shorten

_AUC = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]
_FALLING = ("jpeg", "crop")  # families whose larger numbers change less


@dataclass(frozen=True)
class Entry:
    """One field: a colour step 0..10, the mean AUC, and its difference from clean images."""

    step: int
    value: str
    change: str


@dataclass(frozen=True)
class Robustness:
    """Detectors by changes, best first; None where a change was not tested."""

    changes: list[str]
    lines: list[tuple[str, list[Entry | None]]]
    figures: list[Figure]
    sentence: str


def robustness(results: Results, names: Names) -> Robustness | None:
    """Lay out the tests on changed images, of all seeds; None without any.

    Args:
        results: whole, with every seed.
        names: of figures.
    """
    usual = [cell for cell in results.cells if not TrainSet.parse(cell.trained_on).variant]
    changed = [cell for cell in usual if cell.condition is Condition.ROBUST]
    if not changed:
        return None
    tested = {(cell.detector, cell.trained_on, cell.tested_on, cell.seed) for cell in changed}
    clean = [
        cell
        for cell in usual
        if cell.perturbation == CLEAN and (cell.detector, cell.trained_on, cell.tested_on, cell.seed) in tested
    ]
    found: dict[str, dict[str, list[float]]] = {}
    for cell in [*clean, *changed]:
        found.setdefault(cell.detector, {}).setdefault(cell.perturbation, []).append(cell.auc)
    means = {name: {change: fmean(values) for change, values in of.items()} for name, of in found.items()}
    changes = [CLEAN, *dict.fromkeys(cell.perturbation for cell in changed)]
    order = sorted(means, key=lambda name: (-fmean(v for c, v in means[name].items() if c != CLEAN), name))
    lines = [(name, [_entry(means[name], change) for change in changes]) for name in order]
    honest = [name for name in order if name not in (RANDOM, METADATA)]
    figures = [_curves(family, [(name, means[name]) for name in honest], names) for family in _families(changes)]
    titles = ["clean", *changes[1:]]
    return Robustness(titles, lines, figures, _sentence({name: means[name] for name in honest}, changes[1:]))


def _entry(means: dict[str, float], change: str) -> Entry | None:
    if change not in means:
        return None
    value = means[change]
    lost = value - means[CLEAN] if CLEAN in means and change != CLEAN else None
    return Entry(round(10 * value), f"{value:.3f}", "" if lost is None else f"{lost:+.3f}".replace("-", "−"))


def _sentence(means: dict[str, dict[str, float]], changes: Sequence[str]) -> str:
    """Which change costs most, and whom."""
    lost = {
        (change, name): of[CLEAN] - of[change]
        for name, of in means.items()
        for change in changes
        if change in of and CLEAN in of
    }
    if not lost:
        return ""
    typical = {change: fmean(v for (c, _), v in lost.items() if c == change) for change in {c for c, _ in lost}}
    hardest = max(sorted(typical), key=lambda change: typical[change])
    (change, name), most = max(sorted(lost.items()), key=lambda item: item[1])
    return (
        f"{hardest} costs most, {typical[hardest]:.2f} on average; no detector loses more than {name} to {change}, "
        f"{most:.2f}."
    )


def _families(changes: Sequence[str]) -> list[list[str]]:
    """Changes that differ in strength alone, weakest first, with the clean images before them; three or more."""
    found: dict[str, list[tuple[float, str]]] = {}
    for change in changes:
        if parts := re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", change):
            found.setdefault(parts[1], []).append((float(parts[2]), change))
    families = []
    for name, members in found.items():
        ordered = [change for _, change in sorted(members, reverse=name in _FALLING)]
        if len(ordered) > 1:
            families.append([CLEAN, *ordered])
    return families


def _curves(family: Sequence[str], means: Sequence[tuple[str, dict[str, float]]], names: Names) -> Figure:
    ticks = [(float(i), "clean" if change == CLEAN else change) for i, change in enumerate(family)]
    last = len(family) - 1
    plot = Plot(Axis(-0.15, last + 0.15, ticks, "test images"), Axis(0, 1, _AUC, "mean AUC"), height=190)
    plot.line([-0.15, last + 0.15], [0.5, 0.5], "chance")
    chosen = apart([(name, of) for name, of in means if all(change in of for change in family)])
    for i, (name, of) in enumerate(chosen):
        plot.line(list(range(len(family))), [of[change] for change in family], series(i))
        for x, change in enumerate(family):
            plot.dot(x, of[change], series(i).split()[0], title=f"{name}, {change}: {of[change]:.3f}", radius=2.5)
        plot.legend(shorten(name, 34), series(i))
    title = f"Robustness: {', '.join(family[1:])}"
    said = "; ".join(f"{name} from {of[family[0]]:.2f} to {of[family[-1]]:.2f}" for name, of in chosen)
    alt = f"Mean AUC of detectors on clean images and under {', '.join(family[1:])}: {said}."
    return Figure(names("robustness", *family[1:2]), title, plot.svg(alt), alt)
