"""A plot with two axes, as SVG text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.report.plot.curves import simplify
from benchmarks.report.plot.elements import WIDTH, document, number, path_data, text_at

# Margins in pixels: left of the axis stand numbers, below it ticks and label.
_LEFT, _RIGHT, _TOP, _BOTTOM = 42.0, 20.0, 26.0, 40.0
_ROW = 17.0  # height of a legend row


@dataclass(frozen=True)
class Axis:
    """An axis: its range, ticks and label.

    Attributes:
        low: value at the left or bottom.
        high: value at the right or top.
        ticks: values and their text.
        label: what it shows, with the unit.
        transform: applied to values, low and high before they are positioned.
    """

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    label: str
    transform: Callable[[ArrayLike], ArrayLike] = field(default=np.asarray)

    def position(self, values: ArrayLike) -> np.ndarray:
        """Return the positions of values along the axis, clipped to [0, 1]."""
        # The transform applies to the ends too, so that both ends are 0 and 1 whatever it is.
        low, high = (float(np.ravel(self.transform(v))[0]) for v in (self.low, self.high))
        # Clipped before transforming: a normal deviate outside 0..1 does not exist.
        moved = np.asarray(self.transform(np.clip(values, self.low, self.high)), dtype=np.float64)
        return np.clip((np.atleast_1d(moved) - low) / (high - low), 0.0, 1.0)


def nice_axis(low: float, high: float, label: str, *, max_steps: int = 5, pad: float = 0.0) -> Axis:
    """Return an axis over a range with at most `max_steps` + 1 round ticks."""
    if not high > low:  # one value, or none: an axis needs a length
        low, high = low - 0.5, high + 0.5
    low, high = low - pad * (high - low), high + pad * (high - low)
    raw = (high - low) / max_steps
    power = 10.0 ** math.floor(math.log10(raw))
    # Rounded up to a round step; the tolerance keeps a raw step that is round already.
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    # 2.5 needs one digit more than its power of ten says.
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + (round(step / power, 1) == 2.5)
    first = math.ceil(low / step - 1e-9)
    values = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    # multiplied, not added up: sums of 0.1 drift. A minus sign of typography, as in texts
    return Axis(low, high, [(v, f"{v:,.{decimals}f}".replace("-", "−")) for v in values], label)


class Plot:
    """A panel to draw on; coordinates are values of its axes.

    Args:
        x: horizontal axis.
        y: vertical axis; its label stands above the panel, upright.
        height: of the drawing area in pixels; None makes it square.
    """

    def __init__(self, x: Axis, y: Axis, *, height: float | None = None) -> None:
        self.x, self.y = x, y
        self.width = WIDTH - _LEFT - _RIGHT
        self.height = self.width if height is None else height
        self._parts: list[str] = []
        self._legend: list[str] = []

    def at(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """Return the pixels of values, shape [n, 2]."""
        left = _LEFT + self.x.position(x) * self.width
        top = _TOP + (1 - self.y.position(y)) * self.height  # y grows downwards in SVG
        return np.stack(np.broadcast_arrays(left, top), axis=1)

    def line(self, x: ArrayLike, y: ArrayLike, style: str) -> None:
        """Draw a polyline."""
        points = simplify(self.at(x, y))  # some hundred points become some tens
        if len(points):
            self._parts.append(f'<path class="line {style}" d="{path_data(points)}"/>')

    def strokes(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: str) -> None:
        """Draw vertical strokes, the intervals of points."""
        ends = zip(self.at(x, low), self.at(x, high), strict=True)
        # one path for all strokes: fewer bytes than elements of their own
        drawn = "".join(path_data(np.stack(pair)) for pair in ends)
        self._parts.append(f'<path class="line {style}" d="{drawn}"/>')

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: str) -> None:
        """Fill the area between two curves."""
        upper, lower = simplify(self.at(x, high)), simplify(self.at(x, low))
        if len(upper):
            # up along one edge and back along the other
            self._parts.append(f'<path class="area {style}" d="{path_data(np.concatenate([upper, lower[::-1]]))}Z"/>')

    def bars(self, edges: ArrayLike, tops: ArrayLike, style: str, *, base: float = 0.0) -> None:
        """Draw bars from a base line to their tops, as one outline."""
        edge, top = np.asarray(edges, dtype=np.float64), np.asarray(tops, dtype=np.float64)
        # Each edge twice: up and down at every bin.
        x, y = np.repeat(edge, 2), np.concatenate([[base], np.repeat(top, 2), [base]])
        self._parts.append(f'<path class="bars {style}" d="{path_data(simplify(self.at(x, y)))}Z"/>')

    def dot(self, x: float, y: float, style: str, *, title: str = "", radius: float = 3.5) -> None:
        """Draw a point, with a tooltip."""
        ((cx, cy),) = self.at(x, y)  # tooltips are for a mouse; the values stand in the description too
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(
            f'<circle class="dot {style}" cx="{number(cx)}" cy="{number(cy)}" r="{number(radius)}">{inner}</circle>'
        )

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", style: str = "note", dy: float = 0) -> None:
        """Write a label at a point."""
        ((left, top),) = self.at(x, y)
        self._parts.append(text_at(left, top + dy, text, anchor=anchor, style=style))

    def legend(self, label: str, style: str, *, mark: str = "line") -> None:
        """Add a row under the panel: a sample and its name. `mark` is line, square, dot or none."""
        # rows are added below, so that the drawing area stays square
        y = _TOP + self.height + _BOTTOM + 6 + _ROW * len(self._legend)
        sample = {
            "line": f'<path class="line {style}" d="M{number(_LEFT)} {number(y)}h22"/>',
            "square": f'<rect class="bars {style}" x="{number(_LEFT + 6)}" y="{number(y - 5)}" width="10" '
            'height="10"/>',
            "dot": f'<circle class="dot {style}" cx="{number(_LEFT + 11)}" cy="{number(y)}" r="3.5"/>',
            "none": "",
        }[mark]
        self._legend.append(sample + text_at(_LEFT + (30 if sample else 0), y + 4, label, style="name"))

    def svg(self, label: str) -> str:
        """Return the panel as SVG.

        Args:
            label: description of the figure for screen readers.
        """
        total = _TOP + self.height + _BOTTOM + _ROW * len(self._legend)
        # In the order of drawing: frame behind, legend last.
        body = "".join([*self._frame(), *self._parts, *self._legend])
        return document(WIDTH, total, label, body)

    def _frame(self) -> list[str]:
        bottom, right = _TOP + self.height, _LEFT + self.width
        parts, lines = [], []
        for value, text in self.x.ticks:
            px = float(self.at(value, self.y.low)[0, 0])
            lines.append(f"M{number(px)} {number(_TOP)}V{number(bottom)}")
            parts.append(text_at(px, bottom + 15, text, anchor="middle", style="tick"))
        for value, text in self.y.ticks:
            py = float(self.at(self.x.low, value)[0, 1])
            lines.append(f"M{number(_LEFT)} {number(py)}H{number(right)}")
            parts.append(text_at(_LEFT - 6, py + 4, text, anchor="end", style="tick"))
        parts.insert(0, f'<path class="grid" d="{"".join(lines)}"/>')  # one path for the whole grid, behind the ticks
        parts.append(f'<path class="base" d="M{number(_LEFT)} {number(bottom)}H{number(right)}"/>')
        parts.append(text_at(right, bottom + 31, self.x.label, anchor="end", style="label"))
        parts.append(text_at(0, 12, self.y.label, style="label"))  # at the upper left, upright
        return parts
