"""Data of figures as arrays: bands, thinned curves, bins. Pure functions of scores and logs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.evaluation import roc
from benchmarks.evaluation.bootstrap import tpr_band

Floats = NDArray[np.float64]

RESAMPLES = 200
_NORMAL = NormalDist()


class Band(NamedTuple):
    """Pointwise interval of a curve: x, low and high, each shape [k]."""

    x: Floats
    low: Floats
    high: Floats


def roc_band(
    label: ArrayLike, score: ArrayLike, groups: Sequence[object] | None = None, *, resamples: int = RESAMPLES
) -> Band:
    """Compute the pointwise 95 % band of the TPR over the FPR, from a seeded bootstrap over identities.

    Args:
        label: 1 forged, 0 real, shape [n].
        score: higher for forged, shape [n].
        groups: identity of each image, None where unknown (such an image is drawn on its own).
        resamples: bootstrap size.
    """
    # Dense below FPR 0.1, where the curve rises and the numbers of interest lie.
    grid = np.union1d(np.linspace(0, 1, 61), np.geomspace(1e-3, 0.1, 24))
    names = None if groups is None else np.array(groups, dtype=object)  # object: strings and None in one array
    return Band(grid, *tpr_band(label, score, grid, groups=names, resamples=resamples))


def deviate(share: ArrayLike) -> Floats:
    """Return normal deviates of shares in (0, 1): the axes of a DET curve."""
    return np.array([_NORMAL.inv_cdf(float(p)) for p in np.atleast_1d(np.asarray(share, dtype=np.float64))])


def det_points(label: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Return false alarm and miss rates of all thresholds at which neither is 0 or 1."""
    curve = roc.roc_curve(label, score)
    fpr, miss = curve.fpr, 1 - curve.tpr
    # The normal deviate of 0 and 1 is infinite.
    inside = (fpr > 1e-12) & (fpr < 1 - 1e-12) & (miss > 1e-12) & (miss < 1 - 1e-12)
    return fpr[inside], miss[inside]


class Histogram(NamedTuple):
    """Share of each class in bins of equal width: edges [k + 1], real [k], forged [k]."""

    edges: Floats
    real: Floats
    forged: Floats


def histogram(label: ArrayLike, score: ArrayLike, *, bins: int = 40) -> Histogram:
    """Bin the scores; the outermost bins hold everything beyond the central 99.8 % of a class."""
    forged, scores = roc.check_scores(label, score)
    # of each class by itself: a narrow class must not be squeezed by the tails of the other
    ends = np.quantile(scores[forged], [0.001, 0.999]), np.quantile(scores[~forged], [0.001, 0.999])
    low, high = float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
    if high - low < 1e-9 * max(1.0, abs(low)):  # all scores equal: any width shows the one bar
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    inside = np.clip(scores, low, high)  # what lies outside is counted in the outermost bin, so that shares sum to 1
    real, fake = (np.histogram(inside[mask], edges)[0] / mask.sum() for mask in (~forged, forged))
    return Histogram(edges, real, fake)


class Curve(NamedTuple):
    """A noisy curve for print: x and mean [k], and the range of what each point stands for."""

    x: Floats
    mean: Floats
    low: Floats
    high: Floats
    thinned: bool


def thin(x: ArrayLike, y: ArrayLike, *, points: int = 60) -> Curve:
    """Average neighbours until at most `points` are left, keeping their range; NaN values are left out."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    finite = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[finite], ys[finite]
    if xs.size <= points:
        return Curve(xs, ys, ys, ys, False)
    # parts of nearly equal length, each at least one point
    xparts, yparts = np.array_split(xs, points), np.array_split(ys, points)
    mean, low, high = (np.array([f(part) for part in yparts]) for f in (np.mean, np.min, np.max))
    return Curve(np.array([part.mean() for part in xparts]), mean, low, high, True)


def simplify(points: NDArray[np.float64], *, tolerance: float = 0.7) -> NDArray[np.float64]:
    """Leave out points that no eye would miss (Ramer, Douglas and Peucker).

    Args:
        points: a polyline in pixels, shape [n, 2].
        tolerance: how far it may move, in pixels.
    """
    if len(points) < 3:
        return points
    # Iterative: a recursion would go as deep as the curve is long.
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    stack = [(0, len(points) - 1)]
    while stack:
        start, stop = stack.pop()
        if stop - start < 2:
            continue
        inner, a, b = points[start + 1 : stop], points[start], points[stop]
        along = b - a
        squared = float(along @ along)
        # The share along the segment, clipped to its ends; a segment of no length is its point.
        share = np.clip((inner - a) @ along / squared, 0, 1) if squared > 0 else np.zeros(len(inner))
        far = np.hypot(*(inner - a - share[:, None] * along).T)  # to the segment: a line may turn back on itself
        worst = int(np.argmax(far))
        if far[worst] > tolerance:
            middle = start + 1 + worst
            keep[middle] = True
            stack += [(start, middle), (middle, stop)]  # each half is simplified between its own ends
    return points[keep]
