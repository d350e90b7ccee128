"""Detectability against training: the AUC on forgeries of snapshots of a training, and of its end.

Each panel is about one generator. The forgeries of all its snapshots come from the same latents, and the detectors are
finished, so that only the forgeries change along the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.audits.score_rows import METADATA, RANDOM
from benchmarks.evaluation.numbers import estimate
from benchmarks.evaluation.results import Results, TestResult
from benchmarks.evaluation.run_facts import GeneratorFacts, SnapshotFacts
from benchmarks.protocol import CLEAN, Condition, TrainSet
from benchmarks.report.plot.elements import series, shorten
from benchmarks.report.plot.figure import AUC_TICKS, Figure, FileNames, spread_sample
from benchmarks.report.plot.plot import Axis, Plot, nice_axis
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

QUALITY = "sliced Wasserstein x 1000"  # horizontal axis: a metric without a learned feature extractor
_OTHERS, _SAME = Condition.UNSEEN, Condition.SEEN
_WHERE = {
    _OTHERS: "detectors trained on the other generators",
    _SAME: "detectors trained on {name} at its end",
}


@dataclass(frozen=True)
class ProgressContent(Content):
    """The figures, and a sentence per generator."""

    curves: list[Figure]
    sentences: list[str]

    @property
    def figures(self) -> list[Figure]:
        """The curves."""
        return self.curves


class TrainingProgressSection(Section):
    """Detectability over the training of generators."""

    id, title, nav, position = "training-progress", "Detectability against training", "Against training", 600
    template, text_template = "training_progress.html.j2", "training_progress.md.j2"

    def build(self, run: RunView) -> ProgressContent | None:
        """Draw the tests of snapshots; None without any."""
        content = progress_content(run.whole, run.file_names)
        return content if content.curves else None


@dataclass(frozen=True)
class _Point:
    """One detector on the forgeries of one snapshot: means over seeds, and the ends of their intervals."""

    kimg: float
    quality: float | None
    auc: float
    low: float
    high: float


def progress_content(results: Results, names: FileNames) -> ProgressContent:
    """Draw the tests of snapshots, those of all seeds.

    Args:
        results: whole, with every seed.
        names: gives the figures their file names.
    """
    figures, sentences = [], []
    for name in dict.fromkeys(snapshot.generator for snapshot in results.moments):
        ends = [generator for generator in results.generators if generator.name == name]
        snapshots = [snapshot for snapshot in results.moments if snapshot.generator == name]
        # Two figures per generator: detectors that never saw it, and those that know its end.
        for condition in (_OTHERS, _SAME):
            lines = _lines(results.cells, name, condition, snapshots, ends)
            if not lines:
                continue
            where = _WHERE[condition].format(name=name)
            figures.append(_against_images(name, where, condition, lines, names))
            if condition == _OTHERS:
                sentences.append(_sentence(name, where, lines))
            if condition == _OTHERS and all(point.quality is not None for line in lines.values() for point in line):
                figures.append(_against_quality(name, where, lines, names))
    return ProgressContent(figures, sentences)


def _lines(
    cells: Sequence[TestResult],
    name: str,
    condition: str,
    snapshots: Sequence[SnapshotFacts],
    ends: Sequence[GeneratorFacts],
) -> dict[str, list[_Point]]:
    """Return the points of each detector along the training; of many detectors a sample, spread over their means."""
    # Clean tests of plain fits, with the generator in the training or not, as the condition says.
    wanted = [
        cell for cell in cells if cell.perturbation == CLEAN and cell.detector not in (RANDOM, METADATA)
        if not TrainSet.parse(cell.trained_on).variant
        if (name in TrainSet.parse(cell.trained_on).generators) == (condition == _SAME)
    ]  # fmt: skip
    kimgs = {snapshot.name: snapshot.kimg for snapshot in snapshots}
    # Fits that were tested on a snapshot; the same fits give the point of the end.
    trainings = {cell.trained_on for cell in wanted if cell.tested_on in kimgs}
    end = max((generator.kimg for generator in ends), default=0.0)
    tests: dict[str, dict[float, list[TestResult]]] = {}
    for cell in wanted:
        at = kimgs.get(cell.tested_on, end if cell.tested_on == name else None)  # None: another generator's test
        if at is not None and cell.trained_on in trainings:
            tests.setdefault(cell.detector, {}).setdefault(at, []).append(cell)
    quality = _qualities(snapshots, ends, end)
    lines = {
        detector: [_point(kimg, group, quality.get(kimg)) for kimg, group in sorted(points.items())]
        for detector, points in tests.items()
        # One point is no curve.
        if len(points) > 1
    }
    # best first, of which a sample is drawn
    best = sorted(lines, key=lambda name: -fmean(point.auc for point in lines[name]))
    return {detector: lines[detector] for detector in spread_sample(best)}


def _point(kimg: float, cells: Sequence[TestResult], quality: float | None) -> _Point:
    auc, low, high = (fmean(getattr(cell, name) for cell in cells) for name in ("auc", "auc_low", "auc_high"))
    return _Point(kimg, quality, auc, low, high)


def _qualities(snapshots: Sequence[SnapshotFacts], ends: Sequence[GeneratorFacts], end: float) -> dict[float, float]:
    """Return the distance of the forgeries from real faces by thousands of images, the mean over seeds."""
    distances: dict[float, list[float]] = {}
    # The end of the training stands with the snapshots, at its number of images.
    for kimg, rows in [*((s.kimg, s.quality) for s in snapshots), *((end, g.quality) for g in ends)]:
        distances.setdefault(kimg, []).extend(
            row.value for row in rows if row.metric == QUALITY and row.value is not None
        )
    return {kimg: fmean(values) for kimg, values in distances.items() if values}


def _against_images(name: str, where: str, condition: str, lines: dict[str, list[_Point]], names: FileNames) -> Figure:
    """Draw the AUC at each snapshot; snapshots are equidistant, since their numbers of images are doublings."""
    kimgs = sorted({point.kimg for line in lines.values() for point in line})
    position = {kimg: float(i) for i, kimg in enumerate(kimgs)}
    last = len(kimgs) - 1
    ticks = [(position[kimg], f"{kimg:g} k") for kimg in kimgs]
    plot = Plot(Axis(-0.2, last + 0.2, ticks, f"real images seen by {name}"), Axis(0, 1, AUC_TICKS, "AUC"), height=200)
    plot.line([-0.2, last + 0.2], [0.5, 0.5], "chance")
    for i, (detector, line) in enumerate(lines.items()):
        # points of several detectors stand side by side, not on one another
        x = [position[point.kimg] + 0.05 * (i - (len(lines) - 1) / 2) for point in line]
        _draw(plot, i, detector, line, x)
    title = f"{name} in training: {where}"
    alt = f"AUC on forgeries of {name} at moments of its training, {where}: {_in_words(lines)}."
    return Figure(names("progress", name, condition), title, plot.svg(alt), alt)


def _against_quality(name: str, where: str, lines: dict[str, list[_Point]], names: FileNames) -> Figure:
    qualities = [point.quality for line in lines.values() for point in line if point.quality is not None]
    x = nice_axis(min(qualities), max(qualities), f"{QUALITY} from real images (left: better)", max_steps=4, pad=0.06)
    plot = Plot(x, Axis(0, 1, AUC_TICKS, "AUC"), height=200)
    plot.line([x.low, x.high], [0.5, 0.5], "chance")
    for i, (detector, line) in enumerate(lines.items()):
        # by quality: the order of the training may go back and forth
        ordered = sorted(line, key=lambda point: point.quality or 0.0)
        _draw(plot, i, detector, ordered, [point.quality or 0.0 for point in ordered], titled=False)
    title = f"{name} by the quality of its forgeries: {where}"
    alt = f"AUC on forgeries of {name} against their distance from real images, {where}: {_in_words(lines)}."
    return Figure(names("progress", name, "quality"), title, plot.svg(alt), alt)


def _draw(
    plot: Plot, i: int, detector: str, line: Sequence[_Point], x: Sequence[float], *, titled: bool = True
) -> None:
    """Draw one detector; `titled`: each point has a tooltip."""
    style = series(i)
    plot.strokes(x, [point.low for point in line], [point.high for point in line], style.split()[0])
    plot.line(x, [point.auc for point in line], style)
    for left, point in zip(x, line, strict=True):
        title = f"{detector}, {point.kimg:g} k: {estimate(point.auc, point.low, point.high)}" if titled else ""
        plot.dot(left, point.auc, style.split()[0], title=title, radius=2.5)
    plot.legend(shorten(detector, 34), style)


def _in_words(lines: dict[str, list[_Point]]) -> str:
    return "; ".join(
        f"{detector} from {line[0].auc:.2f} after {line[0].kimg:g} k to {line[-1].auc:.2f} after {line[-1].kimg:g} k"
        for detector, line in lines.items()
    )


def _sentence(name: str, where: str, lines: dict[str, list[_Point]]) -> str:
    """Count the detectors for which the forgeries of the end are harder than those of the first snapshot."""
    # Intervals that do not overlap are a stricter criterion than a test of the difference. The end's AUC is the lower
    # one where its forgeries are harder to detect.
    harder = sum(line[-1].high < line[0].low for line in lines.values())
    easier = sum(line[-1].low > line[0].high for line in lines.values())
    first, last = (next(iter(lines.values()))[i].kimg for i in (0, -1))
    return (
        f"{name}, {where}: from {first:g} to {last:g} thousand images its forgeries become harder to detect for "
        f"{harder} and easier for {easier} of the {len(lines)} detectors drawn (intervals that do not overlap)."
    )
