"""Robustness: the AUC of each detector on perturbed test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM
from benchmarks.protocol import CLEAN, TrainSet
from benchmarks.report.plot.elements import series, shorten
from benchmarks.report.plot.figure import AUC_TICKS, Figure, FileNames, spread_sample
from benchmarks.report.plot.plot import Axis, Plot
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section
from detect.data.perturb import by_strength

_LONG = 12  # characters of a name that fits below an axis beside four others


@dataclass(frozen=True)
class Entry:
    """One field: a colour step 0..10, the mean AUC, and its difference from that on clean images."""

    step: int
    value: str
    change: str


@dataclass(frozen=True)
class RobustnessContent(Content):
    """Detectors by perturbations, best first; None where a perturbation was not tested."""

    changes: list[str]
    lines: list[tuple[str, list[Entry | None]]]
    curves: list[Figure]
    sentence: str

    @property
    def figures(self) -> list[Figure]:
        """The curves over the strength of a perturbation."""
        return self.curves


class RobustnessSection(Section):
    """Detectors on perturbed images."""

    id, title, position = "robustness", "Robustness", 500
    template, text_template = "robustness.html.j2", "robustness.md.j2"

    def build(self, run: RunView) -> RobustnessContent | None:
        """Lay out the tests on perturbed images, those of all seeds; None without any."""
        if not run.perturbed:
            return None
        # Losses compare the same fits and tests with and without the change, seed by seed.
        tested = {(cell.detector, cell.trained_on, cell.tested_on, cell.seed) for cell in run.perturbed}
        clean = [
            cell
            for cell in run.whole.cells
            if cell.perturbation == CLEAN
            and not TrainSet.parse(cell.trained_on).variant
            and (cell.detector, cell.trained_on, cell.tested_on, cell.seed) in tested
        ]
        aucs: dict[str, dict[str, list[float]]] = {}
        for cell in [*clean, *run.perturbed]:
            aucs.setdefault(cell.detector, {}).setdefault(cell.perturbation, []).append(cell.auc)
        means = {
            name: {change: fmean(values) for change, values in by_change.items()} for name, by_change in aucs.items()
        }
        # clean first, then in the order of the request
        changes = [CLEAN, *dict.fromkeys(cell.perturbation for cell in run.perturbed)]
        # results of an earlier version do not name them
        names = {change: run.whole.perturbations.get(change, change) for change in changes} | {CLEAN: "clean"}
        # by the mean over changes; equal means by name
        order = sorted(means, key=lambda name: (-fmean(v for c, v in means[name].items() if c != CLEAN), name))
        # Controls are in the table, but a curve at 0.5 and their losses say nothing.
        detectors = [name for name in order if name not in (RANDOM, METADATA)]
        ranked = [(name, means[name]) for name in detectors]
        return RobustnessContent(
            changes=[names[change] for change in changes],
            lines=[(name, [_entry(means[name], change) for change in changes]) for name in order],
            # the weakest first after clean images; one strength alone is no curve
            curves=[
                _curves([CLEAN, *family], names, ranked, run.file_names)
                for family in by_strength(changes)
                if len(family) > 1
            ],
            sentence=_sentence({name: means[name] for name in detectors}, names),
        )


def _entry(means: dict[str, float], change: str) -> Entry | None:
    if change not in means:
        return None
    value = means[change]
    # without its clean test there is no loss to state
    lost = value - means[CLEAN] if CLEAN in means and change != CLEAN else None
    return Entry(round(10 * value), f"{value:.3f}", "" if lost is None else f"{lost:+.3f}".replace("-", "−"))


def _sentence(means: dict[str, dict[str, float]], names: dict[str, str]) -> str:
    """State the mean loss of the hardest perturbation, and the largest loss of a detector.

    Args:
        means: detector -> perturbation -> mean AUC.
        names: perturbation -> its name on the page.
    """
    lost = {
        (change, name): aucs[CLEAN] - aucs[change]
        for name, aucs in means.items()
        for change in names
        if change != CLEAN and change in aucs and CLEAN in aucs
    }
    if not lost:
        return ""
    # The mean over detectors of each change's loss.
    typical = {change: fmean(v for (c, _), v in lost.items() if c == change) for change in {c for c, _ in lost}}
    # sorted before the maximum: a set has no order, and equal losses must give the same sentence each time
    hardest = max(sorted(typical), key=lambda change: typical[change])
    (change, name), largest = max(sorted(lost.items()), key=lambda item: item[1])
    return (
        f"Largest mean loss of AUC: {typical[hardest]:.2f} under {names[hardest]}. "
        f"Largest loss of a detector: {largest:.2f}, {name} under {names[change]}."
    )


def _curves(
    family: Sequence[str],
    names: dict[str, str],
    means: Sequence[tuple[str, dict[str, float]]],
    file_names: FileNames,
) -> Figure:
    texts, label = [names[change] for change in family], "test images"
    # long names of one perturbation would overlap: its strengths stand below the axis, and its name beside them
    titles = {text.rpartition(" ")[0] for text in texts[1:]}
    if len(titles) == 1 and max(map(len, texts)) > _LONG:
        texts, label = [texts[0], *(text.rpartition(" ")[2] for text in texts[1:])], f"test images, {titles.pop()}"
    ticks = [(float(i), text) for i, text in enumerate(texts)]
    last = len(family) - 1
    # Positions are equidistant: strengths of different families have no common scale.
    plot = Plot(Axis(-0.15, last + 0.15, ticks, label), Axis(0, 1, AUC_TICKS, "mean AUC"), height=190)
    plot.line([-0.15, last + 0.15], [0.5, 0.5], "chance")
    # of detectors with all strengths; a gap would look like a value
    chosen = spread_sample([(name, aucs) for name, aucs in means if all(change in aucs for change in family)])
    for i, (name, aucs) in enumerate(chosen):
        plot.line(list(range(len(family))), [aucs[change] for change in family], series(i))
        for x, change in enumerate(family):
            # A dot takes the colour of its line and no dash.
            plot.dot(
                x, aucs[change], series(i).split()[0], title=f"{name}, {names[change]}: {aucs[change]:.3f}", radius=2.5
            )
        plot.legend(shorten(name, 34), series(i))
    changed = ", ".join(names[change] for change in family[1:])
    title = f"Robustness: {changed}"
    shown = "; ".join(f"{name} from {aucs[family[0]]:.2f} to {aucs[family[-1]]:.2f}" for name, aucs in chosen)
    alt = f"Mean AUC of detectors on clean images and under {changed}: {shown}."
    return Figure(file_names("robustness", *family[1:2]), title, plot.svg(alt), alt)
