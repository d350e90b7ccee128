"""Frames of video files, by PyAV (extra `video`): some, evenly spaced in time, upright."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from forge.faces.imaging.decode import MAX_PIXELS, Unusable

_SEEK_AHEAD = 3.0  # seconds to the next frame from which on a seek is worth its decoding


@dataclass(frozen=True)
class Frame:
    """A frame of a clip.

    Attributes:
        pixels: uint8 [H, W, 3], upright.
        seconds: its time from the first frame of the clip.
    """

    pixels: NDArray[np.uint8]
    seconds: float


def read_frames(path: Path | str, count: int, part: slice = slice(None)) -> list[Frame]:
    """Return the frames that are shown in the middles of `count` equal parts of a clip.

    Frames are chosen by their timestamps, so that clips of variable frame rate are sampled evenly in time. A clip with
    fewer frames gives each of its frames once.

    Args:
        path: of the video file.
        count: frames wanted, at least 1.
        part: which of them are read.

    Returns:
        1 to `count` frames in order; one that is damaged is left out.

    Raises:
        Unusable: the file is missing or no video, has no video stream, is damaged before its first frame, or its frames
            are too large.
    """
    with _opened(path) as (container, stream):
        times = _times(container, stream)
        frames = [
            Frame(_upright(frame), float(time - times[0]))
            for time, frame in _decoded(container, stream, times[0], _chosen(times, count)[part])
        ]
    if not frames:
        raise Unusable("broken video", "no frame of it can be decoded")
    return frames


def frame_times(path: Path | str, count: int) -> list[float]:
    """Return the times of the frames that `read_frames` chooses, in seconds from the first frame; decodes nothing.

    Args:
        path: of the video file.
        count: frames wanted, at least 1.

    Raises:
        Unusable: as of `read_frames`, but for what only decoding shows.
    """
    with _opened(path) as (container, stream):
        times = _times(container, stream)
        return [float(time - times[0]) for time in _chosen(times, count)]


@contextmanager
def _opened(path: Path | str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file with its first video stream; errors of FFmpeg become those of an unusable file."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise Unusable("no video", "the file has no video stream")
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise Unusable("too large", f"its frames have {stream.width} x {stream.height} pixels")
            stream.thread_type = "AUTO"  # the frames are those of one thread
            yield container, stream
    except (av.FFmpegError, OSError) as error:
        raise Unusable("broken video", error.strerror or str(error)) from error


def _times(container: InputContainer, stream: VideoStream) -> list[Fraction]:
    """Return the times of all frames in seconds, in the order in which they are shown; no frame is decoded."""
    base = stream.time_base or Fraction(1, 90_000)
    stamps = sorted({packet.pts for packet in container.demux(stream) if packet.pts is not None and packet.size})
    if not stamps:
        raise Unusable("broken video", "none of its frames has a timestamp")
    container.seek(0)
    return [stamp * base for stamp in stamps]


def _chosen(times: Sequence[Fraction], count: int) -> list[Fraction]:
    """Return the times of the frames that are shown in the middles of equal parts; all times where there are fewer."""
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    if len(times) <= count:
        return list(times)
    # the last frame is shown as long as an average one
    length = (times[-1] - times[0]) * len(times) / (len(times) - 1)
    middles = [times[0] + length * (2 * part + 1) / (2 * count) for part in range(count)]
    numbers = np.searchsorted([float(time) for time in times], [float(middle) for middle in middles], side="right") - 1
    # frames of a slow stretch fill several parts: each is taken once
    return [times[number] for number in dict.fromkeys(numbers.tolist())]


def _decoded(
    container: InputContainer, stream: VideoStream, position: Fraction, chosen: Sequence[Fraction]
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Yield the frames of these rising times, from a position on; one that cannot be decoded is left out."""
    base = stream.time_base or Fraction(1, 90_000)
    decoder = container.decode(stream)
    for wanted in chosen:
        if float(wanted - position) > _SEEK_AHEAD:
            container.seek(int(wanted / base), stream=stream)  # to the key frame before it
            decoder = container.decode(stream)
        try:
            frame = next(frame for frame in decoder if frame.pts is not None and frame.pts * base >= wanted)
        except (StopIteration, av.FFmpegError):  # the end, or a damaged part: what came before it stands
            return
        position = (frame.pts or 0) * base
        if position == wanted:
            yield wanted, frame


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return the pixels of a frame as a player shows them, turned by the rotation flag of its file."""
    pixels = frame.to_ndarray(format="rgb24")
    # FFmpeg's angle is counterclockwise, as NumPy's
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
