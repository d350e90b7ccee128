"""The first line of a leaderboard as it was published beside a report, without computing it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from forge.core.files import read_json


class Leader(NamedTuple):
    """The detector that leads a leaderboard.

    Attributes:
        detector: its name.
        column: the column that ranks.
        value: its mean AUC there; `low` and `high`: ends of the 95 % interval, in 0..1.
        tied: other detectors that share its rank.
        ranked: detectors with a rank.
    """

    detector: str
    column: str
    value: float
    low: float
    high: float
    tied: int
    ranked: int


def published_leader(folder: Path) -> Leader | None:
    """Read the leader from `expected.json` of a report folder; None where it has no ranks.

    Raises:
        InputError: the file is not JSON.
        KeyError, TypeError: it has other contents.
    """
    file = folder / "expected.json"
    expected: Mapping[str, Any] = read_json(file) if file.is_file() else {}
    if not expected:
        return None
    column, ranks = expected["primary"], expected["ranks"]
    values = {entry["what"]: entry for entry in expected["values"] if entry["value"] is not None}
    first = [name for name, rank in ranks.items() if rank.split(" ")[0] == "1" and f"{name}, {column}" in values]
    if not first:
        return None
    best = min(first, key=lambda name: (-values[f"{name}, {column}"]["value"], name))
    of_best = values[f"{best}, {column}"]
    low, high = max(0.0, of_best["low"]), min(1.0, of_best["high"])
    ranked = sum(rank[0].isdigit() for rank in ranks.values())
    return Leader(best, column, of_best["value"], low, high, len(first) - 1, ranked)
