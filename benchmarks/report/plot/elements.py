"""SVG elements of a figure as text: small, stable to the byte, coloured by CSS classes.

Written by hand instead of with matplotlib: a panel takes 2 to 6 kB instead of 20 to 60, follows light and dark mode
through CSS variables, keeps text as text (searchable, read aloud), and does not change with the version of a library.
"""

from __future__ import annotations

import textwrap
from html import escape

import numpy as np

WIDTH = 340.0  # of every figure, in pixels of its viewBox
SERIES = 6  # distinct colours; dashes distinguish further series
_MARGIN = 10.0  # around a figure that is a file of its own


def number(value: float) -> str:
    """Format a coordinate: one decimal, no trailing zero."""
    # Byte-stable: one decimal is a tenth of a pixel, below what can be seen, and no float noise enters the file.
    text = f"{value:.1f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text  # "-0.0" of a value just below zero


def shorten(text: str, length: int) -> str:
    """Cut a long name in its middle, which keeps both its beginning and its end."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2  # odd lengths lose a letter, so that the result is never longer than asked for
    return f"{text[:half]}…{text[-half:]}"


def series(index: int) -> str:
    """Return the CSS classes of the i-th line: a colour, and a dash that distinguishes it without colour."""
    # Colours and dashes repeat together after 12; from then on the dashes are shifted by one.
    return f"s{index % SERIES} k{(index + index // 12) % 4}"  # 24 that differ


def path_data(points: np.ndarray) -> str:
    """Return path data in relative steps, shorter than absolute coordinates; rounding errors do not add up."""
    # Rounded before differences are taken: each step is exact, so that the end of a path is where it belongs.
    tenths = np.round(np.asarray(points) * 10).astype(int)
    text = [f"M{number(tenths[0][0] / 10)} {number(tenths[0][1] / 10)}"]
    for dx, dy in np.diff(tenths, axis=0).tolist():
        if dx and dy:
            down = _step(dy)
            # a minus sign separates numbers in path data by itself
            text.append(f"l{_step(dx)}{'' if down.startswith('-') else ' '}{down}")
        elif dx or dy:  # h and v leave the other coordinate out; steps of zero are left out altogether
            text.append(f"h{_step(dx)}" if dx else f"v{_step(dy)}")
    return "".join(text)


def _step(tenths: int) -> str:
    """Format tenths without a leading zero, which paths do not need: 5 is ".5"."""
    text = number(tenths / 10)
    return text.replace("0.", ".", 1) if abs(tenths) < 10 else text


def text_at(x: float, y: float, text: str, *, anchor: str = "start", style: str) -> str:
    """Return a text element; `style` is its CSS class, to which the anchor adds another."""
    side = {"start": "", "middle": " mid", "end": " end"}[anchor]
    return f'<text class="{style}{side}" x="{number(x)}" y="{number(y)}">{escape(text)}</text>'


def document(width: float, height: float, label: str, body: str) -> str:
    """Wrap drawing elements into one SVG with its description."""
    return (
        f'<svg class="figure" viewBox="0 0 {number(width)} {number(height)}" role="img" '
        # `role` and `aria-label` make a screen reader say the description instead of the texts one by one.
        f'aria-label="{escape(label)}">{body}</svg>'
    )


def standalone(svg: str, title: str, css: str) -> str:
    """Make an SVG file of a figure: with its title, its own colours for light and dark, and a background."""
    lines = textwrap.wrap(title, 46) or [""]  # SVG does not wrap text; 46 letters fit the width
    head, body = svg.split(">", 1)
    # Read from the drawing: its height depends on its legend.
    width, height = (float(v) for v in head.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split())
    down = 18.0 * len(lines) + 8
    size = f"{number(width + 2 * _MARGIN)} {number(height + down + 2 * _MARGIN)}"
    label = head.split("aria-label=", 1)[1]  # with its quotes, as it was escaped
    heading = "".join(text_at(0, 12 + 18.0 * i, line, style="title") for i, line in enumerate(lines))
    across, along = size.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 {size}" width="{across}" '
        f'height="{along}" role="img" aria-label={label}><style>{css}</style>'
        # A paper of its own: viewers show SVG on any background, on which dark text may be invisible.
        f'<rect class="paper" width="{across}" height="{along}"/><g transform="translate({number(_MARGIN)} '
        f'{number(_MARGIN)})">{heading}<g transform="translate(0 {number(down)})">{body.removesuffix("</svg>")}'
        "</g></g></svg>\n"
    )
