"""Figures computed from scores: ROC and DET curves, score histograms, calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from benchmarks.evaluation import calibration, roc
from benchmarks.evaluation.evaluate import identities
from benchmarks.evaluation.interval import wilson
from benchmarks.evaluation.metrics.calibration import Ece
from benchmarks.evaluation.numbers import count, estimate, percent
from benchmarks.evaluation.results import TestResult
from benchmarks.report.plot import curves
from benchmarks.report.plot.elements import series, shorten
from benchmarks.report.plot.figure import AUC_TICKS, Figure, FileNames, spread_sample
from benchmarks.report.plot.plot import Axis, Plot, nice_axis
from benchmarks.report.ranking import by_pairing, key, pairing_title
from benchmarks.report.results_table import shown_value

Rows = Callable[[TestResult], pd.DataFrame]

_SHARES = [(0.0, "0"), (0.2, "20 %"), (0.4, "40 %"), (0.6, "60 %"), (0.8, "80 %"), (1.0, "100 %")]
_DET_TICKS = [
    (0.001, "0.1 %"), (0.01, "1 %"), (0.05, "5 %"), (0.2, "20 %"), (0.5, "50 %"), (0.8, "80 %"), (0.95, "95 %"),
    (0.99, "99 %"),
]  # fmt: skip


# by order of detectors in the results, so that a colour means the same detector in all panels
def colours(cells: Iterable[TestResult]) -> dict[str, str]:
    """Return the CSS classes of each detector, the same in every figure."""
    return {name: series(i) for i, name in enumerate(dict.fromkeys(cell.detector for cell in cells))}


def roc_figures(cells: Sequence[TestResult], rows: Rows, names: FileNames) -> list[Figure]:
    """Draw ROC curves with bands, one panel per pairing of training and test generator."""
    styles, figures = colours(cells), []
    for pairing, ranked in by_pairing(cells).items():
        group = spread_sample(ranked)  # of more detectors than colours an even choice
        plot = Plot(
            Axis(0, 1, _SHARES, "real images called forged (FPR)"), Axis(0, 1, _SHARES, "forgeries found (TPR)")
        )
        plot.line([0, 1], [0, 1], "chance")  # the diagonal: guessing
        for cell in group:
            part = rows(cell)
            label, score = part["label"].to_numpy(), part["score"].to_numpy()
            # Identities, since images of one person are no independent samples.
            band = curves.roc_band(label, score, identities(part).tolist())
            curve = roc.roc_curve(label, score)
            plot.band(band.x, band.low, band.high, styles[cell.detector])
            plot.line(curve.fpr, curve.tpr, styles[cell.detector])
            plot.legend(_with_auc(cell), styles[cell.detector])
        title = f"ROC: {pairing_title(pairing)}"
        alt = (
            f"ROC curves with 95 % bands, {pairing_title(pairing)}: "
            + "; ".join(_with_auc(cell) for cell in group)
            + "."
        )
        figures.append(Figure(names("roc", pairing.trained_on, pairing.tested_on), title, plot.svg(alt), alt))
    return figures


def _with_auc(cell: TestResult) -> str:
    shown = estimate(cell.auc, cell.auc_low, cell.auc_high)
    return f"{shorten(cell.detector, 22)}, AUC {shown}"


def det_figures(cells: Sequence[TestResult], rows: Rows, names: FileNames) -> list[Figure]:
    """Draw DET curves on normal-deviate axes, one panel per pairing of training and test generator."""
    styles, figures = colours(cells), []
    for pairing, ranked in by_pairing(cells).items():
        group = spread_sample(ranked)
        points = {key(cell): curves.det_points(rows(cell)["label"], rows(cell)["score"]) for cell in group}
        # the part of the plane that has curves; detectors below chance need all of it
        top = 0.6 if all(cell.auc > 0.5 for cell in group) else 0.995
        ticks = [tick for tick in _DET_TICKS if tick[0] <= top]
        if top > 0.9:
            # too close to their neighbours where the axis is long
            ticks = [tick for tick in ticks if tick[0] not in (0.05, 0.95)]
        x = Axis(0.0005, top, ticks, "real images called forged (FPR)", curves.deviate)
        y = Axis(0.0005, top, ticks, "forgeries missed (1 − TPR)", curves.deviate)
        plot, shown = Plot(x, y), []
        # the line where both rates are equal; its crossing with a curve is the EER
        equal = np.geomspace(0.0005, top, 2)
        plot.line(equal, equal, "chance")
        for cell in group:
            fpr, miss = points[key(cell)]
            inside = (fpr <= top) & (miss <= top)
            eer = f"EER {percent(cell.value('eer') or 0.0, min(cell.n_real, cell.n_forged))}"
            if not len(fpr):  # perfect separation has no point inside
                eer += ", not drawn"
            plot.line(fpr[inside], miss[inside], styles[cell.detector])
            plot.legend(f"{shorten(cell.detector, 18)}, {eer}", styles[cell.detector])
            shown.append(f"{cell.detector}, {eer}")
        if not any(len(fpr) for fpr, _ in points.values()):
            plot.text(0.02, 0.004, "no errors to draw", style="tick")
        title = f"DET: {pairing_title(pairing)}"
        alt = f"Detection error trade-off on normal-deviate axes, {pairing_title(pairing)}: {'; '.join(shown)}."
        figures.append(Figure(names("det", pairing.trained_on, pairing.tested_on), title, plot.svg(alt), alt))
    return figures


def histograms(cells: Sequence[TestResult], rows: Rows, names: FileNames) -> list[Figure]:
    """Draw the scores of real images above the line and of forgeries below it, one panel per test."""
    figures = []
    for cell in cells:
        part = rows(cell)
        bins = curves.histogram(part["label"], part["score"])
        # One scale up and down, so that both classes compare by eye.
        peak = float(max(bins.real.max(), bins.forged.max()))
        x = nice_axis(float(bins.edges[0]), float(bins.edges[-1]), "score (higher: more forged)", pad=0.04)
        half = nice_axis(0, peak * 1.12, "", max_steps=3)
        ticks = sorted(
            {(side * t, f"{t:.0%}".replace("%", " %") if t else "0") for t, _ in half.ticks for side in (-1, 1)}
        )
        if any(round(100 * t) != round(100 * t, 6) for t, _ in ticks):  # ticks that are no whole percents get a decimal
            ticks = [(t, f"{abs(t) * 100:.1f} %" if t else "0") for t, _ in ticks]
        plot = Plot(x, Axis(-half.high, half.high, ticks, "share of the class"), height=190)
        plot.bars(bins.edges, bins.real, "real")
        plot.bars(bins.edges, -bins.forged, "forged")
        plot.line([x.low, x.high], [0, 0], "base")  # the base line above the bars
        if x.low < cell.threshold < x.high:  # a threshold outside of the scores has no line
            plot.line([cell.threshold] * 2, [-half.high, half.high], "cut")
        plot.legend(f"real, {count(cell.n_real)} images (above the line)", "real", mark="square")
        plot.legend(f"forged, {count(cell.n_forged)} images (below the line)", "forged", mark="square")
        plot.legend("threshold fixed on validation data", "cut")
        title = f"Scores: {cell.detector}, {pairing_title(cell)}"
        alt = (
            f"Histogram of the scores of {cell.detector}, {pairing_title(cell)}: median of real images "
            f"{_median(part, 0):.2f}, of forgeries {_median(part, 1):.2f}, threshold {cell.threshold:.2f}."
        )
        figures.append(Figure(names("scores", *_parts(cell)), title, plot.svg(alt), alt))
    return figures


def _median(part: pd.DataFrame, label: int) -> float:
    return float(part.loc[part["label"] == label, "score"].median())


def calibration_figures(cells: Sequence[TestResult], rows: Rows, names: FileNames) -> list[Figure]:
    """Draw reliability with Wilson intervals, and a histogram of the probabilities, one panel per test."""
    figures = []
    for cell in cells:
        part = rows(cell)
        label, probability = part["label"].to_numpy(), part["probability"].to_numpy()
        bins = calibration.reliability(label, probability)
        x = Axis(0, 1, AUC_TICKS, "claimed probability of forged")
        # Below zero is room for the histogram of probabilities, on the same horizontal axis.
        y = Axis(-0.28, 1, AUC_TICKS, "share that is forged")  # below 0: the histogram
        plot = Plot(x, y, height=262)
        plot.line([0, 1], [0, 1], "chance")
        claimed = np.histogram(probability, np.linspace(0, 1, 21))[0]
        # The highest bar takes 0.2 of the axis, from its lower end up.
        plot.bars(np.linspace(0, 1, 21), claimed / claimed.max() * 0.2 - 0.28, "counts", base=-0.28)
        # bins of equal mass, see `reliability`
        for p, forged, n in zip(bins.probability, bins.forged, bins.images, strict=True):
            hits = round(float(forged * n))
            ends = wilson(hits, int(n))
            plot.line([p, p], [ends.low, ends.high], "s0")
            plot.dot(p, forged, "s0", title=f"{hits} of {n} images forged; mean probability claimed {p:.3f}", radius=3)
        ece = shown_value(cell, Ece.facts())
        plot.legend(f"15 bins of about {round(np.median(bins.images))} images, 95 % interval", "s0", mark="dot")
        plot.legend(f"images in steps of 0.05, most: {count(int(claimed.max()))}", "counts", mark="square")
        title = f"Calibration: {cell.detector}, {pairing_title(cell)}"
        alt = f"Reliability of {cell.detector}, {pairing_title(cell)}: expected calibration error {ece}."
        figures.append(Figure(names("calibration", *_parts(cell)), title, plot.svg(alt), alt))
    return figures


def _parts(cell: TestResult) -> tuple[str, str, str]:
    return cell.detector, cell.trained_on, cell.tested_on
