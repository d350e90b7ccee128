"""Detectability against training: do forgeries get harder to tell while their generator learns?

Each panel is about one generator. Its forgeries at several moments of the training, and at its end, come from the same
latents; detectors are the finished ones, so that only the forgeries change along the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.measures.audit import METADATA, RANDOM
from benchmarks.measures.results import Cell, GeneratorFacts, Moment, Results
from benchmarks.protocol import CLEAN, Condition, TrainSet
from benchmarks.report.figures import Figure, Names, apart
from benchmarks.report.numbers import estimate
from benchmarks.report.svg import Axis, Plot, nice_axis, series, shorten

QUALITY = "sliced Wasserstein x 1000"  # the metric that forgeries are placed by: no network chose its features
_AUC = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]
_OTHERS, _OWN = Condition.UNSEEN, Condition.SEEN
_WHERE = {
    _OTHERS: "detectors trained on the other generators",
    _OWN: "detectors trained on {name} at its end",
}


@dataclass(frozen=True)
class Progress:
    """The figures, and what they say in a sentence a generator."""

    figures: list[Figure]
    sentences: list[str]


@dataclass(frozen=True)
class _Point:
    """One detector on the forgeries of one moment: means over seeds, and the ends of their intervals."""

    kimg: float
    quality: float | None
    auc: float
    low: float
    high: float


def progress(results: Results, names: Names) -> Progress:
    """Draw the tests of snapshots, those of all seeds.

    Args:
        results: whole, with every seed.
        names: of figures.
    """
    figures, sentences = [], []
    for name in dict.fromkeys(one.generator for one in results.moments):
        ends = [one for one in results.generators if one.name == name]
        own = [one for one in results.moments if one.generator == name]
        for kind in (_OTHERS, _OWN):
            lines = _lines(results.cells, name, kind, own, ends)
            if not lines:
                continue
            where = _WHERE[kind].format(name=name)
            figures.append(_against_images(name, where, kind, lines, names))
            if kind == _OTHERS:
                sentences.append(_sentence(name, where, lines))
            if kind == _OTHERS and all(point.quality is not None for line in lines.values() for point in line):
                figures.append(_against_quality(name, where, lines, names))
    return Progress(figures, sentences)


def _lines(
    cells: Sequence[Cell], name: str, kind: str, moments: Sequence[Moment], ends: Sequence[GeneratorFacts]
) -> dict[str, list[_Point]]:
    """Detector -> its points along the training; of more than can be told apart, an even choice by their means."""
    wanted = [
        cell for cell in cells if cell.perturbation == CLEAN and cell.detector not in (RANDOM, METADATA)
        if not TrainSet.parse(cell.trained_on).variant
        if (name in TrainSet.parse(cell.trained_on).generators) == (kind == _OWN)
    ]  # fmt: skip
    kimgs = {one.name: one.kimg for one in moments}
    trainings = {cell.trained_on for cell in wanted if cell.tested_on in kimgs}
    end = max((one.kimg for one in ends), default=0.0)
    found: dict[str, dict[float, list[Cell]]] = {}
    for cell in wanted:
        at = kimgs.get(cell.tested_on, end if cell.tested_on == name else None)
        if at is not None and cell.trained_on in trainings:
            found.setdefault(cell.detector, {}).setdefault(at, []).append(cell)
    quality = _qualities(moments, ends, end)
    lines = {
        detector: [_point(kimg, group, quality.get(kimg)) for kimg, group in sorted(points.items())]
        for detector, points in found.items()
        if len(points) > 1
    }
    best = sorted(lines, key=lambda one: -fmean(point.auc for point in lines[one]))
    return {detector: lines[detector] for detector in apart(best)}


def _point(kimg: float, cells: Sequence[Cell], quality: float | None) -> _Point:
    auc, low, high = (fmean(getattr(cell, name) for cell in cells) for name in ("auc", "auc_low", "auc_high"))
    return _Point(kimg, quality, auc, low, high)


def _qualities(moments: Sequence[Moment], ends: Sequence[GeneratorFacts], end: float) -> dict[float, float]:
    """Thousands of images -> distance of the forgeries from real faces, the mean over seeds."""
    found: dict[float, list[float]] = {}
    for kimg, rows in [*((one.kimg, one.quality) for one in moments), *((end, one.quality) for one in ends)]:
        found.setdefault(kimg, []).extend(row.value for row in rows if row.metric == QUALITY and row.value is not None)
    return {kimg: fmean(values) for kimg, values in found.items() if values}


def _against_images(name: str, where: str, kind: str, lines: dict[str, list[_Point]], names: Names) -> Figure:
    """AUC at each moment; the moments stand at equal distances, since they lie on a scale of doublings."""
    kimgs = sorted({point.kimg for line in lines.values() for point in line})
    place = {kimg: float(i) for i, kimg in enumerate(kimgs)}
    last = len(kimgs) - 1
    ticks = [(place[kimg], f"{kimg:g} k") for kimg in kimgs]
    plot = Plot(Axis(-0.2, last + 0.2, ticks, f"real images {name} had seen"), Axis(0, 1, _AUC, "AUC"), height=200)
    plot.line([-0.2, last + 0.2], [0.5, 0.5], "chance")
    for i, (detector, line) in enumerate(lines.items()):
        x = [place[point.kimg] + 0.05 * (i - (len(lines) - 1) / 2) for point in line]
        _draw(plot, i, detector, line, x)
    title = f"{name} in training: {where}"
    alt = f"AUC on forgeries of {name} at moments of its training, {where}: {_said(lines)}."
    return Figure(names("progress", name, kind), title, plot.svg(alt), alt)


def _against_quality(name: str, where: str, lines: dict[str, list[_Point]], names: Names) -> Figure:
    found = [point.quality for line in lines.values() for point in line if point.quality is not None]
    x = nice_axis(min(found), max(found), f"{QUALITY} from real images (left: better)", most=4, pad=0.06)
    plot = Plot(x, Axis(0, 1, _AUC, "AUC"), height=200)
    plot.line([x.low, x.high], [0.5, 0.5], "chance")
    for i, (detector, line) in enumerate(lines.items()):
        ordered = sorted(line, key=lambda point: point.quality or 0.0)
        _draw(plot, i, detector, ordered, [point.quality or 0.0 for point in ordered], told=False)
    title = f"{name} by the quality of its forgeries: {where}"
    alt = f"AUC on forgeries of {name} against their distance from real images, {where}: {_said(lines)}."
    return Figure(names("progress", name, "quality"), title, plot.svg(alt), alt)


def _draw(plot: Plot, i: int, detector: str, line: Sequence[_Point], x: Sequence[float], *, told: bool = True) -> None:
    """One detector; `told`: each point says its value to the pointer."""
    kind = series(i)
    plot.strokes(x, [point.low for point in line], [point.high for point in line], kind.split()[0])
    plot.line(x, [point.auc for point in line], kind)
    for left, point in zip(x, line, strict=True):
        title = f"{detector}, {point.kimg:g} k: {estimate(point.auc, point.low, point.high)}" if told else ""
        plot.dot(left, point.auc, kind.split()[0], title=title, radius=2.5)
    plot.legend(shorten(detector, 34), kind)


def _said(lines: dict[str, list[_Point]]) -> str:
    return "; ".join(
        f"{detector} from {line[0].auc:.2f} after {line[0].kimg:g} k to {line[-1].auc:.2f} after {line[-1].kimg:g} k"
        for detector, line in lines.items()
    )


def _sentence(name: str, where: str, lines: dict[str, list[_Point]]) -> str:
    """How many detectors find the forgeries of the end harder than those of the first moment."""
    harder = sum(line[-1].high < line[0].low for line in lines.values())
    easier = sum(line[-1].low > line[0].high for line in lines.values())
    first, last = (next(iter(lines.values()))[i].kimg for i in (0, -1))
    return (
        f"{name}, {where}: from {first:g} to {last:g} thousand images its forgeries get harder to tell for {harder} "
        f"and easier for {easier} of the {len(lines)} detectors drawn, judged by intervals that do not overlap."
    )
