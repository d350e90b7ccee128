"""The table of `bench detect` on a terminal: a row per face, with the spread over re-encodings and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from benchmarks.inference.map_output import share_text

if TYPE_CHECKING:
    from benchmarks.inference.photo_scores import PhotoScores

_COLOURS = {"forged": "bold red", "real": "bold green", "cannot say": "bold yellow"}


def verdict_table(scored: PhotoScores, rows: Sequence[dict[str, Any]]) -> Table:
    """Return the table of some rows of `scored`."""
    predictor = scored.predictor
    table = Table(
        title=escape(f"{predictor.name} trained on {predictor.trained_on} ({predictor.source})"), title_justify="left"
    )
    table.add_column("photo", overflow="fold", ratio=2)  # long names wrap, so that no number is cut
    table.add_column("score", justify="right")
    table.add_column("probability forged", justify="right")
    spread = any("reencoded" in row for row in rows)
    if spread:
        table.add_column("re-encoded", justify="right")
    marked = any("altered" in row for row in rows)
    if marked:
        table.add_column("area marked", justify="right")
    table.add_column("verdict", ratio=3)
    for row in rows:
        cells = [_photo(row)]
        if "problem" in row:
            table.add_row(*cells, *[""] * (2 + spread + marked), f"[yellow]not used: {escape(row['problem'])}[/]")
            continue
        cells += [f"{row['score']:.2f}", f"{row['probability']:.3f}"]
        cells += [_spread(scored, row)] if spread else []
        cells += [share_text(row["altered"]) if "altered" in row else ""] if marked else []
        reason = f": {escape(row['reason'])}" if "reason" in row else ""
        table.add_row(*cells, f"[{_COLOURS[row['verdict']]}]{row['verdict']}[/]{reason}")
    return table


def _photo(row: dict[str, Any]) -> str:
    """Return the file, which of its faces, how it was read, and how it differs from the training photos."""
    face = [f"face {row['face']}"] if "face" in row else []
    remarks = ", ".join([*face, *([row["note"]] if "note" in row else [])])
    text = escape(f"{row['file']} ({remarks})" if remarks else row["file"])
    return text + (f"\n[dim]unlike training: {escape(row['unlike'])}[/]" if "unlike" in row else "")


def _spread(scored: PhotoScores, row: dict[str, Any]) -> str:
    """Return the lowest and highest probability over the re-encodings."""
    if "reencoded" not in row:
        return ""
    values = np.array(list(row["reencoded"].values()), dtype=np.float64)
    judge = scored.clip_judge if "frames" in row else None
    calibration = judge.calibration if judge else scored.predictor.calibration
    low, *_, high = np.sort(calibration.probability(values))
    return f"{low:.3f}–{high:.3f}"
