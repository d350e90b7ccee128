"""The score of a clip over time as an SVG file: its frames, their mean, and the threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.inference.clip_scores import frames_by_clip
from benchmarks.inference.map_output import free_stem
from benchmarks.report.plot.elements import standalone
from benchmarks.report.plot.plot import Plot, nice_axis
from benchmarks.report.render import styles
from forge.core.files import write_text

Row = dict[str, Any]
_HEIGHT = 170.0  # of the drawing area, pixels


def write_plots(rows: Sequence[Row], clips: Sequence[Row], threshold: float, detector: str, folder: Path) -> None:
    """Write a plot per clip that has scores.

    Args:
        rows: of the faces.
        clips: of `clip_answers`; each gets `plot`, the path of its plot.
        threshold: from which score on an image is called forged.
        detector: its name, for the titles.
        folder: an existing folder.
    """
    frames, taken = frames_by_clip(rows), set[str]()
    for clip in clips:
        if "problem" not in clip:
            path = folder / f"{free_stem(clip['file'], taken, '-scores')}.svg"
            write_text(path, clip_plot(clip, frames[clip["file"]], threshold, detector))
            clip["plot"] = str(path)


def clip_plot(clip: Row, frames: Sequence[Row], threshold: float, detector: str) -> str:
    """Return an SVG file of the scores of a clip over its time.

    Args:
        clip: its row.
        frames: their rows, in order, those that could not be used among them.
        threshold: an infinite one is not drawn.
        detector: its name.
    """
    used = [row for row in frames if "problem" not in row]
    scores = [row["score"] for row in used]
    drawn = [threshold] if math.isfinite(threshold) else []
    plot = Plot(
        nice_axis(0.0, max(row["seconds"] for row in frames) or 1.0, "time in seconds", pad=0.03),
        nice_axis(min(scores + drawn), max(scores + drawn), "score, higher for forged", pad=0.1),
        height=_HEIGHT,
    )
    plot.line([plot.x.low, plot.x.high], [clip["score"]] * 2, "s2")
    for line in drawn:
        plot.line([plot.x.low, plot.x.high], [line] * 2, "cut")
    for part in _runs(frames):
        plot.line([row["seconds"] for row in part], [row["score"] for row in part], "s0")
    for row in used:
        plot.dot(row["seconds"], row["score"], "s0", title=f"{row['seconds']:.2f} s: {row['score']:.2f}")
    plot.legend(_frames_text(len(used), len(frames)), "s0", mark="dot")
    plot.legend(f"mean {_signed(clip['score'])}: {clip['verdict']}", "s2")
    for line in drawn:
        plot.legend(f"threshold {_signed(line)}: forged from here up", "cut")
    values = ", ".join(f"{row['seconds']:.1f} s {row['score']:.2f}" for row in used)
    picture = plot.svg(f"Scores of the frames of {clip['file']} over time: {values}. Mean {clip['score']:.2f}.")
    return standalone(picture, f"{Path(clip['file']).name}: score of {detector} over time", styles())


def _frames_text(used: int, frames: int) -> str:
    text = f"{used} frame{'s' if used > 1 else ''}"
    return text if used == frames else f"{text}, {frames - used} more could not be used"


def _signed(score: float) -> str:
    return f"{score:.2f}".replace("-", "−")  # the minus sign of the axes


def _runs(frames: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield neighbouring frames that have scores; a frame without one interrupts the line."""
    for problem, part in groupby(frames, key=lambda row: "problem" in row):
        if not problem:
            yield list(part)
