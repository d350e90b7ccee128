"""Progress events that long-running functions send to their caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProgressEvent:
    """State of progress at one moment.

    Attributes:
        done: units finished.
        total: units in all.
        unit: what is counted, e.g. "images".
        values: named readings to show, e.g. losses.
        note: a few words, e.g. where the newest sample grid lies.
    """

    done: int
    total: int
    unit: str = "images"
    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


OnProgress = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Ignore progress."""
