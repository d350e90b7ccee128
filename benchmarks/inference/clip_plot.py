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
_COLOURS = ("s0", "s1", "s3", "s4")  # of faces
_MEAN = "s2"  # of the only face


def write_plots(rows: Sequence[Row], clips: Sequence[Row], threshold: float, detector: str, folder: Path) -> None:
    """Write a plot per clip that has scores.

    Args:
        rows: of the faces.
        clips: of `clip_answers`; each with scores gets `plot`, the path of its plot, which faces of one clip share.
        threshold: from which score on an image is called forged.
        detector: its name, for the titles.
        folder: an existing folder.
    """
    frames, taken = frames_by_clip(rows), set[str]()
    scored = [clip for clip in clips if "problem" not in clip]
    for file in dict.fromkeys(clip["file"] for clip in scored):
        faces = [clip for clip in scored if clip["file"] == file]
        path = folder / f"{free_stem(file, taken, '-scores')}.svg"
        of_faces = [frames[file, clip.get("face", "")] for clip in faces]
        write_text(path, clip_plot(faces, of_faces, threshold, detector))
        for clip in faces:
            clip["plot"] = str(path)


def clip_plot(faces: Sequence[Row], frames: Sequence[Sequence[Row]], threshold: float, detector: str) -> str:
    """Return an SVG file of the scores of a clip's faces over its time.

    Args:
        faces: the clip's row, of several faces one of each; only the first faces are drawn, as many as there are
            colours.
        frames: of each face its rows, in order, those that could not be used among them.
        threshold: an infinite one is not drawn.
        detector: its name.
    """
    shown = list(zip(faces, frames, _COLOURS, strict=False))
    scores = [row["score"] for _, rows, _ in shown for row in rows if "problem" not in row]
    drawn = [threshold] if math.isfinite(threshold) else []
    plot = Plot(
        nice_axis(0.0, max(row["seconds"] for _, rows, _ in shown for row in rows) or 1.0, "time in seconds", pad=0.03),
        nice_axis(min(scores + drawn), max(scores + drawn), "score, higher for forged", pad=0.1),
        height=_HEIGHT,
    )
    for line in drawn:
        plot.line([plot.x.low, plot.x.high], [line] * 2, "cut")
    described = [_draw(plot, clip, rows, colour, single=len(faces) == 1) for clip, rows, colour in shown]
    if len(faces) > len(shown):
        plot.legend(f"{len(faces) - len(shown)} more faces are in the table", "none", mark="none")
    for line in drawn:
        plot.legend(f"threshold {_signed(line)}: forged from here up", "cut")
    file = faces[0]["file"]
    picture = plot.svg(f"Scores of the frames of {file} over time. {' '.join(described)}")
    return standalone(picture, f"{Path(file).name}: score of {detector} over time", styles())


def _draw(plot: Plot, clip: Row, frames: Sequence[Row], colour: str, *, single: bool) -> str:
    """Draw the frames of a face and their mean; return their description."""
    used = [row for row in frames if "problem" not in row]
    mean = _MEAN if single else f"{colour} k2"
    plot.line([plot.x.low, plot.x.high], [clip["score"]] * 2, mean)
    for part in _runs(frames):
        plot.line([row["seconds"] for row in part], [row["score"] for row in part], colour)
    for row in used:
        plot.dot(row["seconds"], row["score"], colour, title=f"{row['seconds']:.2f} s: {row['score']:.2f}")
    face = "" if single else f"face {clip.get('face', '1').partition(' ')[0]}: "
    plot.legend(f"{face}{_frames_text(len(used), len(frames))}", colour, mark="dot")
    plot.legend(f"mean {_signed(clip['score'])}: {clip['verdict']}", mean)
    values = ", ".join(f"{row['seconds']:.1f} s {row['score']:.2f}" for row in used)
    return f"{face}{values}. Mean {clip['score']:.2f}."


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
