"""The figures made from scores: the key picture, ROC, DET, histograms, calibration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from benchmarks.measures import calibration, metrics
from benchmarks.measures.detection.calibration import Ece
from benchmarks.measures.evaluate import identities
from benchmarks.measures.interval import wilson
from benchmarks.measures.results import Cell
from benchmarks.report import curves
from benchmarks.report.numbers import count, estimate, percent
from benchmarks.report.ranking import Duel, Key, duels, key
from benchmarks.report.rows import shown_value
from benchmarks.report.svg import Axis, Plot, forest, nice_axis, series, shorten

Item = TypeVar("Item")
Rows = Callable[[Cell], pd.DataFrame]
CURVES = 6  # in one panel, as many as there are colours

_SHARES = [(0.0, "0"), (0.2, "20 %"), (0.4, "40 %"), (0.6, "60 %"), (0.8, "80 %"), (1.0, "100 %")]
_QUARTERS = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]
_DET_TICKS = [
    (0.001, "0.1 %"), (0.01, "1 %"), (0.05, "5 %"), (0.2, "20 %"), (0.5, "50 %"), (0.8, "80 %"), (0.95, "95 %"),
    (0.99, "99 %"),
]  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure: a file name without ending, a title, its SVG and what it says in words."""

    name: str
    title: str
    svg: str
    alt: str


class Names:
    """File names that are safe everywhere and never meet twice, whatever generators and detectors are called."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def __call__(self, *parts: str) -> str:
        """A new name made of parts."""
        base = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:40] or "x" for part in parts)
        name, again = base, 2
        while name in self._used:
            name, again = f"{base}-{again}", again + 1
        self._used.add(name)
        return name


def colours(cells: Iterable[Cell]) -> dict[str, str]:
    """CSS classes of each detector, the same in every figure."""
    return {name: series(i) for i, name in enumerate(dict.fromkeys(cell.detector for cell in cells))}


def training(cell: Cell | Duel) -> str:
    """What was trained and tested on what, as a title."""
    if cell.tested_on == cell.trained_on:
        return f"{cell.tested_on} (seen in training)"
    return f"trained on {cell.trained_on}, tested on {cell.tested_on}"


def overview(cells: Sequence[Cell], names: Names) -> Figure:
    """Every AUC with its interval on one axis."""
    look = colours(cells)
    one = len(look) == 1
    rows = []
    for cell in cells:
        arrow = f"{_trained_on(cell)}{cell.tested_on}"
        shown = str(estimate(cell.auc, cell.auc_low, cell.auc_high))
        title = arrow if one and len(cells) > 1 else f"{cell.detector}: {arrow}"
        rows.append((title, shown, cell.auc, cell.auc_low, cell.auc_high, look[cell.detector]))
    lowest = min(min(cell.auc_low for cell in cells), 0.5)
    low = float(np.floor(lowest * 10 - 0.01) / 10)
    step = 0.1 if low >= 0.3 else 0.2
    start = max(0.0, round(np.floor(low / step) * step, 1))
    ticks = [(round(t, 1), f"{t:.1f}") for t in np.arange(start, 1.001, step)]
    if all(t != 0.5 for t, _ in ticks):
        ticks.append((0.5, "0.5"))
    axis = Axis(start, 1.0, sorted(ticks), "AUC with 95 % interval")
    alt = "AUC with 95 % interval. " + "; ".join(f"{name}: {text}" for name, text, *_ in rows) + "."
    return Figure(names("overview"), "Every result with its interval", forest(rows, axis, alt), alt)


def roc_figures(cells: Sequence[Cell], rows: Rows, names: Names) -> list[Figure]:
    """ROC curves with bands, one panel a pairing of training and test generator."""
    look, found = colours(cells), []
    for duel, all_of_it in duels(cells).items():
        group = apart(all_of_it)
        plot = Plot(
            Axis(0, 1, _SHARES, "real images called forged (FPR)"), Axis(0, 1, _SHARES, "forgeries found (TPR)")
        )
        plot.line([0, 1], [0, 1], "chance")
        for cell in group:
            part = rows(cell)
            label, score = part["label"].to_numpy(), part["score"].to_numpy()
            band = curves.roc_band(label, score, identities(part).tolist())
            roc = metrics.roc_curve(label, score)
            plot.band(band.x, band.low, band.high, look[cell.detector])
            plot.line(roc.fpr, roc.tpr, look[cell.detector])
            plot.legend(_with_auc(cell), look[cell.detector])
        title = f"ROC: {training(duel)}"
        alt = f"ROC curves with 95 % bands, {training(duel)}: " + "; ".join(_with_auc(cell) for cell in group) + "."
        found.append(Figure(names("roc", duel.trained_on, duel.tested_on), title, plot.svg(alt), alt))
    return found


def _with_auc(cell: Cell) -> str:
    shown = estimate(cell.auc, cell.auc_low, cell.auc_high)
    return f"{shorten(cell.detector, 22)}, AUC {shown}"


def det_figures(cells: Sequence[Cell], rows: Rows, names: Names) -> list[Figure]:
    """DET curves on normal-deviate axes, one panel a pairing of training and test generator."""
    look, found = colours(cells), []
    for duel, all_of_it in duels(cells).items():
        group = apart(all_of_it)
        points = {key(cell): curves.det_points(rows(cell)["label"], rows(cell)["score"]) for cell in group}
        top = 0.6 if all(cell.auc > 0.5 for cell in group) else 0.995
        ticks = [tick for tick in _DET_TICKS if tick[0] <= top]
        if top > 0.9:
            ticks = [tick for tick in ticks if tick[0] not in (0.05, 0.95)]
        x = Axis(0.0005, top, ticks, "real images called forged (FPR)", curves.deviate)
        y = Axis(0.0005, top, ticks, "forgeries missed (1 − TPR)", curves.deviate)
        plot, said = Plot(x, y), []
        equal = np.geomspace(0.0005, top, 2)
        plot.line(equal, equal, "chance")
        for cell in group:
            fpr, miss = points[key(cell)]
            shown = (fpr <= top) & (miss <= top)
            eer = f"EER {percent(cell.value('eer') or 0.0, min(cell.n_real, cell.n_forged))}"
            if not len(fpr):
                eer += ", not drawn"
            plot.line(fpr[shown], miss[shown], look[cell.detector])
            plot.legend(f"{shorten(cell.detector, 18)}, {eer}", look[cell.detector])
            said.append(f"{cell.detector}, {eer}")
        if not any(len(fpr) for fpr, _ in points.values()):
            plot.text(0.02, 0.004, "no errors to draw", kind="tick")
        title = f"DET: {training(duel)}"
        alt = f"Detection error trade-off on normal-deviate axes, {training(duel)}: {'; '.join(said)}."
        found.append(Figure(names("det", duel.trained_on, duel.tested_on), title, plot.svg(alt), alt))
    return found


def histograms(cells: Sequence[Cell], rows: Rows, names: Names) -> list[Figure]:
    """Scores of real faces above the line and of forgeries below it, one panel a cell."""
    found = []
    for cell in cells:
        part = rows(cell)
        bins = curves.histogram(part["label"], part["score"])
        peak = float(max(bins.real.max(), bins.forged.max()))
        x = nice_axis(float(bins.edges[0]), float(bins.edges[-1]), "score (higher: more forged)", pad=0.04)
        half = nice_axis(0, peak * 1.12, "", most=3)
        ticks = sorted(
            {(side * t, f"{t:.0%}".replace("%", " %") if t else "0") for t, _ in half.ticks for side in (-1, 1)}
        )
        if any(round(100 * t) != round(100 * t, 6) for t, _ in ticks):
            ticks = [(t, f"{abs(t) * 100:.1f} %" if t else "0") for t, _ in ticks]
        plot = Plot(x, Axis(-half.high, half.high, ticks, "share of the class"), height=190)
        plot.bars(bins.edges, bins.real, "real")
        plot.bars(bins.edges, -bins.forged, "forged")
        plot.line([x.low, x.high], [0, 0], "base")
        if x.low < cell.threshold < x.high:
            plot.line([cell.threshold] * 2, [-half.high, half.high], "cut")
        plot.legend(f"real, {count(cell.n_real)} images (above the line)", "real", mark="square")
        plot.legend(f"forged, {count(cell.n_forged)} images (below the line)", "forged", mark="square")
        plot.legend("threshold fixed on validation data", "cut")
        title = f"Scores: {cell.detector}, {training(cell)}"
        alt = (
            f"Histogram of the scores of {cell.detector}, {training(cell)}: median of real images "
            f"{_median(part, 0):.2f}, of forgeries {_median(part, 1):.2f}, threshold {cell.threshold:.2f}."
        )
        found.append(Figure(names("scores", *_parts(cell)), title, plot.svg(alt), alt))
    return found


def _median(part: pd.DataFrame, label: int) -> float:
    return float(part.loc[part["label"] == label, "score"].median())


def calibration_figures(cells: Sequence[Cell], rows: Rows, names: Names) -> list[Figure]:
    """Reliability with Wilson intervals and how many images claim which probability, one panel a cell."""
    found = []
    for cell in cells:
        part = rows(cell)
        label, probability = part["label"].to_numpy(), part["probability"].to_numpy()
        bins = calibration.reliability(label, probability)
        x = Axis(0, 1, _QUARTERS, "claimed probability of forged")
        y = Axis(-0.28, 1, _QUARTERS, "share that is forged")  # the room below 0 is for the counts
        plot = Plot(x, y, height=262)
        plot.line([0, 1], [0, 1], "chance")
        claimed = np.histogram(probability, np.linspace(0, 1, 21))[0]
        plot.bars(np.linspace(0, 1, 21), claimed / claimed.max() * 0.2 - 0.28, "counts", base=-0.28)
        for p, forged, n in zip(bins.probability, bins.forged, bins.images, strict=True):
            hits = round(float(forged * n))
            ends = wilson(hits, int(n))
            plot.line([p, p], [ends.low, ends.high], "s0")
            plot.dot(p, forged, "s0", title=f"{hits} of {n} images forged; mean probability claimed {p:.3f}", radius=3)
        ece = shown_value(cell, Ece.facts())
        plot.legend(f"15 bins of about {round(np.median(bins.images))} images, 95 % interval", "s0", mark="dot")
        plot.legend(f"images in steps of 0.05, most: {count(int(claimed.max()))}", "counts", mark="square")
        title = f"Calibration: {cell.detector}, {training(cell)}"
        alt = f"Reliability of {cell.detector}, {training(cell)}: expected calibration error {ece}."
        found.append(Figure(names("calibration", *_parts(cell)), title, plot.svg(alt), alt))
    return found


def _parts(cell: Cell) -> tuple[str, str, str]:
    return cell.detector, cell.trained_on, cell.tested_on


def apart(group: Sequence[Item]) -> list[Item]:
    """At most `CURVES` entries of a group, best first: its best, its worst, and an even choice between."""
    chosen = sorted(set(np.linspace(0, len(group) - 1, min(CURVES, len(group))).round().astype(int)))
    return [group[i] for i in chosen]


def hardest(cells: Sequence[Cell], most: int) -> list[Cell]:
    """At most so many cells, those of the lowest AUC, in their given order."""
    chosen: set[Key] = {key(cell) for cell in sorted(cells, key=lambda c: c.auc)[:most]}
    return [cell for cell in cells if key(cell) in chosen]


def hardest_duels(cells: Sequence[Cell], most: int) -> list[Cell]:
    """The cells of at most so many pairings, those whose best detector has the lowest AUC, in their given order."""
    groups = duels(cells)
    chosen = sorted(groups, key=lambda duel: groups[duel][0].auc)[:most]
    return [cell for cell in cells if Duel(cell.trained_on, cell.tested_on, cell.seed) in chosen]


def _trained_on(cell: Cell) -> str:
    """The start of "dcgan → gan"; empty where the detector was trained on the tested generator alone."""
    if cell.trained_on == cell.tested_on:
        return ""
    return "all → " if cell.seen else f"{cell.trained_on} → "
