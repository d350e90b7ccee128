"""Health of a training as a figure: its state over the images seen, and the readings that decide it."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from benchmarks.report.plot.elements import WIDTH, document, number, path_data, series, text_at
from benchmarks.report.plot.figure import Figure, FileNames
from benchmarks.report.plot.plot import Axis, nice_axis
from forge.training.monitor.health import state_title

# All lengths are pixels of the viewBox; see WIDTH.
_LEFT, _RIGHT = 8.0, WIDTH - 8.0
_STRIP, _ROW, _LEGEND, _LINE = 24.0, 80.0, 17.0, 15.0
_CURVE = 38.0  # height of a curve within its row
# an estimate: text is measured by the browser, after this is written
_LETTER = 6.4  # pixels a letter of a label takes

# colour and height encode the same: a failure mode is the tallest, so that the strip is readable without colour
_LOOKS = {"warming": ("counts", 0.4), "healthy": ("s0", 0.7)}
_FAILURE = ("s5", 1.0)


@dataclass(frozen=True)
class _Stretch:
    """Consecutive ticks of one state, by its title; `start` is the position of the tick before."""

    state: str
    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class _Reading:
    """A row of the figure: its title, its lines by name of the reading, and the value of real images."""

    title: str
    lines: Mapping[str, str]
    real: float | None


_READINGS = (
    _Reading(
        "called real by the discriminator", {"d_sign_train": "training images", "d_sign_held_out": "held-out"}, None
    ),
    _Reading("diversity of forgeries (dotted: of real images)", {"diversity": ""}, 1.0),
    _Reading("real images covered (dotted: by other real images)", {"coverage": ""}, 1.0),
)


def health_figures(generator: str, ticks: Sequence[Mapping[str, Any]], names: FileNames) -> list[Figure]:
    """Draw the strip of states with its readings; none where there are fewer than two ticks.

    Args:
        generator: its name.
        ticks: each with kimg, state, reason and readings, in the order of the training.
        names: gives file names.
    """
    if len(ticks) < 2:  # one tick is no course
        return []
    title = f"Health of the training of {generator}"
    stretches = _stretches(ticks)
    states = "; ".join(f"{s.state} {_span(s)}" for s in stretches)
    alt = f"{title}, in thousand real images seen: {states}. At the end: {ticks[-1]['reason']}."
    return [Figure(names("health", generator), title, _draw(ticks, stretches, alt), alt)]


def _stretches(ticks: Sequence[Mapping[str, Any]]) -> list[_Stretch]:
    stretches, start = [], 0.0
    # Consecutive ticks alone are joined: a state that returns is a stretch of its own.
    for state, group in itertools.groupby(ticks, key=lambda tick: state_title(tick["state"])):
        last = list(group)[-1]
        stretches.append(_Stretch(state, start, last["kimg"], last["reason"]))
        start = last["kimg"]  # a stretch begins where the one before ended: between two ticks nothing was measured
    return stretches


def _span(stretch: _Stretch) -> str:
    return f"{stretch.start:.3g} to {stretch.end:.3g}"


def _draw(ticks: Sequence[Mapping[str, Any]], stretches: Sequence[_Stretch], alt: str) -> str:
    x = nice_axis(0.0, ticks[-1]["kimg"], "thousand real images seen")
    # Readings that no tick has get no row.
    rows = [row for row in _READINGS if any(name in tick["readings"] for tick in ticks for name in row.lines)]
    tops = [_STRIP + 28.0]
    for row in rows:
        # The legend takes a line only where a row has two curves.
        tops.append(tops[-1] + _ROW + (_LEGEND if len(row.lines) > 1 else 0))
    bottom = tops[-1] - 18
    body = [f'<path class="grid" d="M{number(px)} 0V{number(bottom)}"/>' for px in _at(x, [t for t, _ in x.ticks])]
    body += _strip(x, stretches)
    for row, top, below in zip(rows, tops, tops[1:], strict=False):
        body += _row(x, ticks, row, top=top, base=below - 18)
    for value, text in x.ticks:
        px = float(_at(x, [value])[0])
        # labels at the ends turn inwards, so that none is cut off at the edge
        anchor = "start" if px < _LEFT + 8 else "end" if px > _RIGHT - 8 else "middle"
        body.append(text_at(px, bottom + 15, text, anchor=anchor, style="tick"))
    body.append(text_at(_RIGHT, bottom + 31, x.label, anchor="end", style="label"))
    height, words = _legend(stretches, str(ticks[-1]["reason"]), top=bottom + 52)
    return document(WIDTH, height, alt, "".join(body + words))


def _at(x: Axis, values: Sequence[float]) -> np.ndarray:
    return _LEFT + x.position(values) * (_RIGHT - _LEFT)


def _strip(x: Axis, stretches: Sequence[_Stretch]) -> list[str]:
    parts = []
    for stretch in stretches:
        look, tall = _LOOKS.get(stretch.state, _FAILURE)
        left, right = (float(v) for v in _at(x, [stretch.start, stretch.end]))
        high = _STRIP * tall
        parts.append(
            f'<rect class="bars {look}" x="{number(left)}" y="{number(_STRIP - high)}" '
            # at least one pixel; one less than its share leaves a gap between stretches
            f'width="{number(max(right - left - 1, 1))}" height="{number(high)}">'
            f"<title>{escape(f'{stretch.state} {_span(stretch)}: {stretch.reason}')}</title></rect>"
        )
        # a name that does not fit is left to the tooltip and the legend
        if right - left > _LETTER * len(stretch.state):
            middle = (left + right) / 2
            parts.append(text_at(middle, _STRIP + 14, stretch.state, anchor="middle", style="tick"))
    return parts


def _row(x: Axis, ticks: Sequence[Mapping[str, Any]], row: _Reading, *, top: float, base: float) -> list[str]:
    # A reading may be missing in single ticks; its curve joins those that have it.
    ticks_of = {name: [tick for tick in ticks if name in tick["readings"]] for name in row.lines}
    shown = {name: part for name, part in ticks_of.items() if part}
    highest = max(tick["readings"][name] for name, part in shown.items() for tick in part)
    y = Axis(0.0, max(1.0, highest) * 1.04, [], "")  # 4 % of room above; shares above 1 (diversity) raise the axis
    parts = [text_at(_LEFT, top + 8, row.title, style="name")]
    parts.append(f'<path class="base" d="M{number(_LEFT)} {number(base)}H{number(_RIGHT)}"/>')
    if row.real is not None:
        level = base - float(y.position(row.real)[0]) * _CURVE  # [0] of an array of one position
        parts.append(f'<path class="chance" d="M{number(_LEFT)} {number(level)}H{number(_RIGHT)}"/>')
    for i, (name, part) in enumerate(shown.items()):
        values = [tick["readings"][name] for tick in part]
        points = np.stack([_at(x, [tick["kimg"] for tick in part]), base - y.position(values) * _CURVE], axis=1)
        parts.append(f'<path class="line {series(i)}" d="{path_data(points)}"/>')
        end = f'cx="{number(points[-1, 0])}" cy="{number(points[-1, 1])}"'
        parts.append(f'<circle class="dot {series(i).split()[0]}" {end} r="3"/>')
        last = f"{values[-1]:.0%}".replace("%", " %")  # a space before the sign, as everywhere on pages
        if row.lines[name]:
            left = _LEFT + i * (_RIGHT - _LEFT) / 2
            parts.append(f'<path class="line {series(i)}" d="M{number(left)} {number(top + 21)}h22"/>')
            parts.append(text_at(left + 29, top + 25, f"{row.lines[name]} {last}", style="name"))
        else:
            parts.append(text_at(_RIGHT, top + 8, last, anchor="end", style="value"))
    return parts


def _legend(stretches: Sequence[_Stretch], reason: str, *, top: float) -> tuple[float, list[str]]:
    parts, y = [], top
    for state in dict.fromkeys(stretch.state for stretch in stretches):
        look, tall = _LOOKS.get(state, _FAILURE)
        spans = ", ".join(_span(stretch) for stretch in stretches if stretch.state == state)
        high = 12 * tall
        parts.append(
            f'<rect class="bars {look}" x="{number(_LEFT)}" y="{number(y - high)}" width="16" height="{number(high)}"/>'
        )
        parts.append(text_at(_LEFT + 24, y, f"{state}: {spans}", style="name"))
        y += _LEGEND
    for line in textwrap.wrap(f"At the end: {reason}.", 56):  # 56 letters fill the width
        parts.append(text_at(_LEFT, y + 4, line, style="tick"))
        y += _LINE
    return y, parts
