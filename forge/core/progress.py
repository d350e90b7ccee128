"""How far along: what every long-running function tells its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tick:
    """One report of progress.

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


Report = Callable[[Tick], None]


def silent(tick: Tick) -> None:
    """Ignore progress."""
