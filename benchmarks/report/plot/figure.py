"""A figure of a report: its SVG with file name, title and description; and which series a crowded one shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

MAX_CURVES = 6  # curves in one panel, one a colour
AUC_TICKS = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: file name without ending.
        title: caption.
        svg: the drawing, in which every text is escaped.
        alt: description for screen readers, with the values that are drawn.
    """

    name: str
    title: str
    svg: str
    alt: str


class FileNames:
    """Unique file names that every file system accepts, whatever generators and detectors are called."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def __call__(self, *parts: str) -> str:
        """Return a new name made of parts."""
        # Lower case: file systems of some machines take "A" and "a" for one file.
        base = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:40] or "x" for part in parts)
        name, number = base, 2
        # Numbered in the order of calls, which is that of the page and the same each time.
        while name in self._used:
            name, number = f"{base}-{number}", number + 1
        self._used.add(name)
        return name


def spread_sample(ranked: Sequence[Item]) -> list[Item]:
    """Choose at most `MAX_CURVES` items of a ranking: the best, the worst, and an even choice between them."""
    # a set, since rounding may choose one twice
    chosen = sorted(set(np.linspace(0, len(ranked) - 1, min(MAX_CURVES, len(ranked))).round().astype(int)))
    return [ranked[i] for i in chosen]
