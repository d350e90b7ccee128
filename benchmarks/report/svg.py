"""Drawing: a plot with two axes as SVG text, small, stable to the byte, coloured by classes so that CSS decides.

Hand-made instead of matplotlib's SVG: a panel takes 2 to 6 kB instead of 20 to 60, follows light and dark mode through
CSS variables, keeps text as text (searchable, read aloud), and does not change with a library's version.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.report.curves import simplify

WIDTH = 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 42.0, 20.0, 26.0, 40.0
_ROW = 17.0  # height of a legend row
_MARGIN = 10.0  # around a figure that is a file of its own
SERIES = 6  # distinct colours; dashes tell further ones apart


def number(value: float) -> str:
    """A coordinate: one decimal, no trailing zero."""
    text = f"{value:.1f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def shorten(text: str, length: int) -> str:
    """Cut a long name in its middle, which keeps both its beginning and its end."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def series(index: int) -> str:
    """CSS classes of the i-th line: colour, and a dash that tells it apart without colour."""
    return f"s{index % SERIES} k{(index + index // 12) % 4}"  # 24 that differ


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        low: value at the left or bottom.
        high: value at the right or top.
        ticks: values and their text.
        label: what it shows, with the unit.
        transform: applied to values, low and high before placing them.
    """

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    label: str
    transform: Callable[[ArrayLike], ArrayLike] = field(default=np.asarray)

    def place(self, values: ArrayLike) -> np.ndarray:
        """Values as shares of the axis, cut to [0, 1]."""
        low, high = (float(np.ravel(self.transform(v))[0]) for v in (self.low, self.high))
        moved = np.asarray(self.transform(np.clip(values, self.low, self.high)), dtype=np.float64)
        return np.clip((np.atleast_1d(moved) - low) / (high - low), 0.0, 1.0)


def nice_axis(low: float, high: float, label: str, *, most: int = 5, pad: float = 0.0) -> Axis:
    """An axis over a range with at most `most` + 1 round ticks."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    low, high = low - pad * (high - low), high + pad * (high - low)
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    places = max(0, -math.floor(math.log10(step) + 1e-9)) + (round(step / power, 1) == 2.5)
    first = math.ceil(low / step - 1e-9)
    values = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    return Axis(low, high, [(v, f"{v:,.{places}f}".replace("-", "−")) for v in values], label)


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
        """Pixels of values, shape [n, 2]."""
        left = _LEFT + self.x.place(x) * self.width
        top = _TOP + (1 - self.y.place(y)) * self.height
        return np.stack(np.broadcast_arrays(left, top), axis=1)

    def line(self, x: ArrayLike, y: ArrayLike, kind: str) -> None:
        """A polyline."""
        points = simplify(self.at(x, y))
        if len(points):
            self._parts.append(f'<path class="line {kind}" d="{path_data(points)}"/>')

    def strokes(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str) -> None:
        """Upright strokes: intervals."""
        ends = zip(self.at(x, low), self.at(x, high), strict=True)
        drawn = "".join(path_data(np.stack(pair)) for pair in ends)
        self._parts.append(f'<path class="line {kind}" d="{drawn}"/>')

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str) -> None:
        """The area between two curves."""
        upper, lower = simplify(self.at(x, high)), simplify(self.at(x, low))
        if len(upper):
            self._parts.append(f'<path class="area {kind}" d="{path_data(np.concatenate([upper, lower[::-1]]))}Z"/>')

    def bars(self, edges: ArrayLike, tops: ArrayLike, kind: str, *, base: float = 0.0) -> None:
        """Bars from a base line to their tops, drawn as one outline."""
        edge, top = np.asarray(edges, dtype=np.float64), np.asarray(tops, dtype=np.float64)
        x, y = np.repeat(edge, 2), np.concatenate([[base], np.repeat(top, 2), [base]])
        self._parts.append(f'<path class="bars {kind}" d="{path_data(simplify(self.at(x, y)))}Z"/>')

    def dot(self, x: float, y: float, kind: str, *, title: str = "", radius: float = 3.5) -> None:
        """A point, with a text for the pointer."""
        ((cx, cy),) = self.at(x, y)
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(
            f'<circle class="dot {kind}" cx="{number(cx)}" cy="{number(cy)}" r="{number(radius)}">{inner}</circle>'
        )

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", kind: str = "note", dy: float = 0) -> None:
        """A label at a place."""
        ((left, top),) = self.at(x, y)
        self._parts.append(text_at(left, top + dy, text, anchor=anchor, kind=kind))

    def legend(self, label: str, kind: str, *, mark: str = "line") -> None:
        """A row under the panel: a sample and its name. `mark` is line, square, dot or none."""
        y = _TOP + self.height + _BOTTOM + 6 + _ROW * len(self._legend)
        sample = {
            "line": f'<path class="line {kind}" d="M{number(_LEFT)} {number(y)}h22"/>',
            "square": f'<rect class="bars {kind}" x="{number(_LEFT + 6)}" y="{number(y - 5)}" width="10" height="10"/>',
            "dot": f'<circle class="dot {kind}" cx="{number(_LEFT + 11)}" cy="{number(y)}" r="3.5"/>',
            "none": "",
        }[mark]
        self._legend.append(sample + text_at(_LEFT + (30 if sample else 0), y + 4, label, kind="name"))

    def svg(self, label: str) -> str:
        """The finished panel.

        Args:
            label: what the figure shows, for those who cannot see it.
        """
        total = _TOP + self.height + _BOTTOM + _ROW * len(self._legend)
        body = "".join([*self._frame(), *self._parts, *self._legend])
        return document(WIDTH, total, label, body)

    def _frame(self) -> list[str]:
        bottom, right = _TOP + self.height, _LEFT + self.width
        parts, lines = [], []
        for value, text in self.x.ticks:
            px = float(self.at(value, self.y.low)[0, 0])
            lines.append(f"M{number(px)} {number(_TOP)}V{number(bottom)}")
            parts.append(text_at(px, bottom + 15, text, anchor="middle", kind="tick"))
        for value, text in self.y.ticks:
            py = float(self.at(self.x.low, value)[0, 1])
            lines.append(f"M{number(_LEFT)} {number(py)}H{number(right)}")
            parts.append(text_at(_LEFT - 6, py + 4, text, anchor="end", kind="tick"))
        parts.insert(0, f'<path class="grid" d="{"".join(lines)}"/>')
        parts.append(f'<path class="base" d="M{number(_LEFT)} {number(bottom)}H{number(right)}"/>')
        parts.append(text_at(right, bottom + 31, self.x.label, anchor="end", kind="label"))
        parts.append(text_at(0, 12, self.y.label, kind="label"))
        return parts


def document(width: float, height: float, label: str, body: str) -> str:
    """Wrap drawing elements into one SVG with its description."""
    return (
        f'<svg class="figure" viewBox="0 0 {number(width)} {number(height)}" role="img" '
        f'aria-label="{escape(label)}">{body}</svg>'
    )


def standalone(svg: str, title: str, css: str) -> str:
    """Make an SVG file of a figure: with its title, its own colours for light and dark, and a background."""
    lines = textwrap.wrap(title, 46) or [""]
    head, body = svg.split(">", 1)
    width, height = (float(v) for v in head.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split())
    down = 18.0 * len(lines) + 8
    size = f"{number(width + 2 * _MARGIN)} {number(height + down + 2 * _MARGIN)}"
    label = head.split("aria-label=", 1)[1]
    words = "".join(text_at(0, 12 + 18.0 * i, line, kind="title") for i, line in enumerate(lines))
    across, along = size.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 {size}" width="{across}" '
        f'height="{along}" role="img" aria-label={label}><style>{css}</style>'
        f'<rect class="paper" width="{across}" height="{along}"/><g transform="translate({number(_MARGIN)} '
        f'{number(_MARGIN)})">{words}<g transform="translate(0 {number(down)})">{body.removesuffix("</svg>")}'
        "</g></g></svg>\n"
    )


def forest(
    rows: Sequence[tuple[str, str, float, float, float, str]],
    axis: Axis,
    label: str,
    *,
    mark: float = 0.5,
    said: str = "guessing",
) -> str:
    """Dots with intervals, one row each, against a marked value.

    Args:
        rows: name, number as text, value, low, high, CSS classes.
        axis: the shared axis.
        label: what the figure shows, for those who cannot see it.
        mark: the value that means nothing was found.
        said: what it is called.
    """
    row, left, right = 38.0, 8.0, WIDTH - 8
    bottom = 22 + row * len(rows)

    def px(value: float) -> float:
        return left + float(axis.place(value)[0]) * (right - left)

    body = scale(axis.ticks, px, 18, bottom, mark=mark)
    body.append(text_at(right, bottom + 31, axis.label, anchor="end", kind="label"))
    if axis.low <= mark <= axis.high:
        side = "start" if px(mark) < WIDTH / 2 else "end"
        body.append(text_at(px(mark), 12, said, anchor=side, kind="tick"))
    for i, (name, text, value, low, high, kind) in enumerate(rows):
        top = 22 + row * i
        y = top + 27
        body.append(text_at(left, top + 14, shorten(name, 34), kind="name"))
        body.append(text_at(right, top + 14, text, anchor="end", kind="value"))
        body.append(f'<path class="line {kind.split()[0]}" d="M{number(px(low))} {number(y)}H{number(px(high))}"/>')
        body.append(
            f'<path class="cap {kind.split()[0]}" d="M{number(px(low))} {number(y - 4)}v8'
            f'M{number(px(high))} {number(y - 4)}v8"/>'
        )
        body.append(f'<circle class="dot {kind.split()[0]}" cx="{number(px(value))}" cy="{number(y)}" r="4.5"/>')
    return document(WIDTH, bottom + 38, label, "".join(body))


def scale(
    ticks: Sequence[tuple[float, str]], px: Callable[[float], float], top: float, bottom: float, *, mark: float = 0.5
) -> list[str]:
    """Upright lines behind rows, that of the marked value dotted, with their texts below.

    Args:
        ticks: values and their text.
        px: where a value lies across.
        top: of the lines.
        bottom: of the lines.
        mark: the value that means nothing was found.
    """
    parts = []
    for value, text in ticks:
        kind = "chance" if value == mark else "grid"
        parts.append(f'<path class="{kind}" d="M{number(px(value))} {number(top)}V{number(bottom)}"/>')
        parts.append(text_at(px(value), bottom + 15, text, anchor="middle", kind="tick"))
    return parts


def path_data(points: np.ndarray) -> str:
    """Path data in steps from point to point, which are shorter than places; one decimal, and errors do not add up."""
    places = np.round(np.asarray(points) * 10).astype(int)
    text = [f"M{number(places[0][0] / 10)} {number(places[0][1] / 10)}"]
    for dx, dy in np.diff(places, axis=0).tolist():
        if dx and dy:
            down = _step(dy)
            text.append(f"l{_step(dx)}{'' if down.startswith('-') else ' '}{down}")
        elif dx or dy:
            text.append(f"h{_step(dx)}" if dx else f"v{_step(dy)}")
    return "".join(text)


def _step(tenths: int) -> str:
    """Tenths as a number without what a path can do without: 5 is ".5"."""
    text = number(tenths / 10)
    return text.replace("0.", ".", 1) if abs(tenths) < 10 else text


def text_at(x: float, y: float, text: str, *, anchor: str = "start", kind: str) -> str:
    """A text element; `kind` is its class, to which its anchor adds another."""
    side = {"start": "", "middle": " mid", "end": " end"}[anchor]
    return f'<text class="{kind}{side}" x="{number(x)}" y="{number(y)}">{escape(text)}</text>'
