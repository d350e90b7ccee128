"""Clips among photos: which frames are judged, and the answer for each face of a clip, from its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forge.faces.imaging.decode import Unusable
from forge.faces.sources.base import printable, unread
from forge.faces.sources.clips import can_read_videos, expanded, frame_times

if TYPE_CHECKING:
    from benchmarks.inference.clip_verdict import ClipJudge

Row = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """A frame of a clip.

    Attributes:
        clip: path of the video.
        number: of the frame among those that are judged, from 1.
        frames: how many are judged.
        seconds: its time from the first frame of the clip.
    """

    clip: Path
    number: int
    frames: int
    seconds: float


def moments_of(clips: Sequence[Path], frames: int) -> tuple[dict[Path, Moment], dict[Path, str]]:
    """Choose the frames of clips by their timestamps; nothing is decoded.

    Args:
        clips: paths of videos.
        frames: frames wanted of each, evenly spaced in time.

    Returns:
        Name of a frame, as `item_of` reads it -> its moment; and path of a clip that cannot be read -> why.
    """
    moments: dict[Path, Moment] = {}
    refused: dict[Path, str] = {}
    for clip in clips:
        if not can_read_videos():
            refused[clip] = unread(clip.name) or ""
            continue
        try:
            times = frame_times(str(clip), frames)
        except Unusable as verdict:
            refused[clip] = f"{verdict.reason}: {verdict.detail}" if verdict.detail else verdict.reason
            continue
        # a short clip has fewer frames than wanted
        for number, (name, seconds) in enumerate(zip(expanded([str(clip)], frames), times, strict=False), 1):
            moments[Path(name)] = Moment(clip, number, len(times), seconds)
    return moments, refused


def name_frames(rows: list[Row], moments: Mapping[Path, Moment]) -> None:
    """Name rows of frames by their clip: `file` is the video, `frame` e.g. "3 of 16", `seconds` the time in it."""
    named = {printable(str(name)): moment for name, moment in moments.items()}
    for row in rows:
        if moment := named.get(row["file"]):
            rest = {key: value for key, value in row.items() if key != "file"}
            row.clear()
            row |= {
                "file": printable(str(moment.clip)),
                "frame": f"{moment.number} of {moment.frames}",
                "seconds": round(moment.seconds, 3),
                **rest,
            }


def clip_answers(judge: ClipJudge, rows: Sequence[Row]) -> list[Row]:
    """Judge each face of each clip by the mean score of its frames.

    Args:
        judge: of clips.
        rows: of faces, those of frames named by `name_frames`.

    Returns:
        A row per clip, of several faces one per face, with `file`, `face` ("1 of 2"), `frames`, `used` and what a
        photo's row has (`score` is the mean), `highest`, the highest score of a frame, and `highest_seconds`; or with
        `problem`, where no frame could be used.
    """
    return [_answer(judge, file, face, frames) for (file, face), frames in frames_by_clip(rows).items()]


def frames_by_clip(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return clip and face ("1 of 2"; "" of the only one) -> its rows, one per frame."""
    clips: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if "frame" in row:
            clips.setdefault((row["file"], row.get("face", "")), []).append(row)
    return clips


def in_place(rows: Sequence[Row], clips: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows of photos, and for the rows of a clip's frames, where they begin, the clip's."""
    answers: dict[str, list[Row]] = {}
    for clip in clips:
        answers.setdefault(clip["file"], []).append(clip)
    for row in rows:
        if "frame" not in row:
            yield row
        else:
            yield from answers.pop(row["file"], ())


def _left_out(row: Row) -> str:
    """Return what the main face's answer says of faces that are not followed."""
    main = row.get("face", "1 of 1").startswith("1 of")
    return f"; left out: {row['left_out']}" if main and "left_out" in row else ""


def _answer(judge: ClipJudge, file: str, face: str, frames: Sequence[Row]) -> Row:
    used = [row for row in frames if "problem" not in row]
    clip: Row = {"file": file, **({"face": face} if face else {}), "frames": len(frames), "used": len(used)}
    if not used:
        reasons = dict.fromkeys(row["problem"] for row in frames)
        return clip | {"problem": f"none of its {len(frames)} frames could be used: {'; '.join(reasons)}"}
    scores = np.array([row["score"] for row in used])
    score, top = float(scores.mean()), used[int(scores.argmax())]
    keys = used[0].get("reencoded", ())  # all frames have them or none
    reencoded = {key: float(np.mean([row["reencoded"][key] for row in used])) for key in keys}
    verdict = judge.answer(used, reencoded)
    left = f", {len(frames) - len(used)} not used" if len(used) < len(frames) else ""
    clip |= {
        "note": f"mean of {len(used)} frame{'s' if len(used) > 1 else ''}{left}; highest {top['score']:.2f} at "
        f"{top['seconds']:.1f} s{_left_out(frames[0])}",
        "score": score,
        "probability": float(judge.calibration.probability(np.array([score]))[0]),
        "verdict": verdict.verdict,
        "called": verdict.called,
        "highest": top["score"],
        "highest_seconds": top["seconds"],
    }
    if unlike := Counter(row["unlike"] for row in used if "unlike" in row).most_common(1):
        clip["unlike"] = f"{unlike[0][0]} ({unlike[0][1]} of {len(used)} frames)"
    clip |= {"reason": verdict.reason} if verdict.reason else {}
    clip |= {} if verdict.p_real is None else {"p_real": verdict.p_real, "p_forged": verdict.p_forged}
    return clip | ({"reencoded": reencoded} if reencoded else {})
