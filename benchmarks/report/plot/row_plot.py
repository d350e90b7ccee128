"""A forest plot as SVG text: estimates with intervals, one row each, on a shared horizontal axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.report.plot.elements import WIDTH, document, number, shorten, text_at
from benchmarks.report.plot.plot import Axis

_LEFT, _RIGHT = 8.0, WIDTH - 8.0
_HEADER, _ROW, _FOOTER = 22.0, 36.0, 38.0  # heights: text above the rows, a row, axis texts below them
_LEGEND = 20.0  # height of the legend
_LETTER = 6.4  # width of a letter, about


@dataclass(frozen=True)
class Mark:
    """A point of a row.

    Attributes:
        value: its position on the axis.
        style: CSS class of its colour, e.g. "s4".
        interval: ends of its interval; None: no interval is drawn.
        shape: "dot" (filled) or "ring" (hollow).
        thin: whether its interval is a thin line.
        caps: strokes at the ends of the interval.
        title: tooltip.
    """

    value: float
    style: str
    interval: tuple[float, float] | None = None
    shape: str = "dot"
    thin: bool = False
    caps: bool = False
    title: str = ""


class RowPlot:
    """Rows of marks against a reference value.

    Args:
        axis: the shared axis; its label stands below it.
        reference: value of the dotted line.
        reference_label: text of the dotted line, above it.
        legend: name, CSS class and shape of each sample above the rows; empty: no legend.
    """

    def __init__(
        self,
        axis: Axis,
        *,
        reference: float = 0.5,
        reference_label: str = "chance",
        legend: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        self.axis, self.reference, self.reference_label = axis, reference, reference_label
        self._legend = list(legend)
        self._rows: list[str] = []
        self._top = _HEADER + (_LEGEND if legend else 0.0)

    def row(self, name: str, value: str, marks: Sequence[Mark]) -> None:
        """Add a row.

        Args:
            name: text at the left; shortened to what fits.
            value: text at the right; may be empty.
            marks: drawn in their order.
        """
        top = self._top + _ROW * len(self._rows)
        # letters that fit beside a value, and without one
        texts = [text_at(_LEFT, top + 14, shorten(name, 34 if value else 46), style="name")]
        if value:
            texts.append(text_at(_RIGHT, top + 14, value, anchor="end", style="value"))
        self._rows.append("".join([*texts, *(self._mark(mark, top + 26) for mark in marks)]))

    def svg(self, label: str) -> str:
        """Return the plot as SVG.

        Args:
            label: description of the figure for screen readers.
        """
        bottom = self._top + _ROW * len(self._rows)
        body = [*self._samples(), *self._scale(bottom), *self._rows]  # lines behind marks
        return document(WIDTH, bottom + _FOOTER, label, "".join(body))

    def _x(self, value: float) -> float:
        return _LEFT + float(self.axis.position(value)[0]) * (_RIGHT - _LEFT)

    def _mark(self, mark: Mark, y: float) -> str:
        parts = []
        if mark.interval:
            low, high = (number(self._x(end)) for end in mark.interval)
            line = "thin" if mark.thin else "line"  # a thin one where several share a row
            parts.append(f'<path class="{line} {mark.style}" d="M{low} {number(y)}H{high}"/>')
            if mark.caps:
                top = number(y - 4)
                parts.append(f'<path class="cap {mark.style}" d="M{low} {top}v8M{high} {top}v8"/>')
        title = f"<title>{escape(mark.title)}</title>" if mark.title else ""
        parts.append(_point(self._x(mark.value), y, mark.style, mark.shape, title))
        return "".join(parts)

    def _samples(self) -> list[str]:
        parts, left = [], _LEFT
        for name, style, shape in self._legend:
            parts += [_point(left + 5, 8, style, shape), text_at(left + 14, 12, name, style="name")]
            left += 30 + _LETTER * len(name)  # spaced by estimated width
        return parts

    def _scale(self, bottom: float) -> list[str]:
        """Return vertical lines behind the rows, the reference dotted, with their texts."""
        top, parts = self._top - 4, []
        # The reference is drawn by its tick where it is one, and labelled wherever it lies on the axis.
        shown = self.axis.low <= self.reference <= self.axis.high
        for value, text in self.axis.ticks:
            style = "chance" if value == self.reference else "grid"
            x = self._x(value)
            parts.append(f'<path class="{style}" d="M{number(x)} {number(top)}V{number(bottom)}"/>')
            parts.append(text_at(x, bottom + 15, text, anchor="middle", style="tick"))
        parts.append(text_at(_RIGHT, bottom + 31, self.axis.label, anchor="end", style="label"))
        if shown:
            x = self._x(self.reference)
            side = "start" if x < WIDTH / 2 else "end"  # turned inwards, so that the label stays inside the figure
            parts.append(text_at(x, top - 6, self.reference_label, anchor=side, style="tick"))
        return parts


def _point(x: float, y: float, style: str, shape: str, title: str = "") -> str:
    radius = 4.5 if shape == "dot" else 3.7  # a ring has its stroke outside of its radius
    point = f'class="{shape} {style}" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"'
    return f"<circle {point}>{title}</circle>" if title else f"<circle {point}/>"
