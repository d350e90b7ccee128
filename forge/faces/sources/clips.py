"""Videos among the files of a source: each stands for some of its frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from forge.core.errors import InputError
from forge.faces.imaging.decode import Unusable
from forge.faces.sources.base import VIDEO_SUFFIXES, Item

_READER = "forge.faces.imaging.video"  # imported only where a video is read
CLIP = "clip"  # label column of frames: the video that each is of
FRAMES = 16  # per clip, where nothing else is said

_NAME = re.compile(
    rf"(.*(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))#(\d+)of(\d+)", re.IGNORECASE | re.DOTALL
)
_AT_ONCE = 16  # frames that a process reads and keeps together; bounds the memory


def can_read_videos() -> bool:
    """Return whether the extra `video` is installed."""
    return find_spec("av") is not None


def check_frames(frames: object) -> int:
    """Return a number of frames per clip.

    Raises:
        InputError: it is no whole number from 1 to 1,000.
    """
    if isinstance(frames, bool) or not str(frames).isdecimal() or not 1 <= int(str(frames)) <= 1000:
        raise InputError(f"frames is {frames}; it must be a whole number from 1 to 1000")
    return int(str(frames))


def is_video(file: str) -> bool:
    """Return whether a file is a video, by its name."""
    return file[file.rfind(".") :].lower() in VIDEO_SUFFIXES


def expanded(files: Iterable[str], frames: int = FRAMES) -> list[str]:
    """Return file names with each video replaced by its frames, `clip.mp4#1of16` to `clip.mp4#16of16`.

    No file is opened. A clip with fewer frames has none of the later numbers, which a preparation rejects by name.
    """
    return [
        name
        for file in files
        for name in ([f"{file}#{number + 1}of{frames}" for number in range(frames)] if is_video(file) else [file])
    ]


def file_of(name: str) -> str:
    """Return the file of an image's name: of a frame its video.

    >>> file_of("a/clip.mp4#3of16")
    'a/clip.mp4'
    """
    match = _NAME.fullmatch(name)
    return match[1] if match else name


@dataclass(frozen=True)
class FrameItem(Item):
    """One frame of a video; `content` is the path of the video.

    Attributes:
        number: of the frame among those that are read, from 0.
        frames: how many are read, evenly spaced in time.
        track: which of the clip's faces is meant, from 0, where faces are searched; the clip's face is the first.
    """

    number: int = 0
    frames: int = FRAMES
    track: int = 0

    def read(self) -> bytes:
        """Return the frame as a PPM file, to the pixel.

        Raises:
            Unusable: the video is missing or broken, or has fewer frames.
        """
        path = str(self.content)
        times = frame_times(path, self.frames)
        if self.number >= len(times):
            raise Unusable("short clip", f"it has {len(times)} different frames at {self.frames} times")
        pictures = _frames(path, self.frames, self.number // _AT_ONCE, file_version(path))
        if times[self.number] not in pictures:
            raise Unusable("broken frame", f"the one at {times[self.number]:.2f} s cannot be decoded")
        return pictures[times[self.number]]


def item_of(name: str, item: Item) -> Item:
    """Return the item of a name of `expanded`: of an image as it is, of a frame one that reads it from its video.

    Args:
        name: in the list of files.
        item: of the file; a frame without a person gets its clip as its group.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return item
    identity = item.identity or f"clip {item.file.rpartition('#')[0]}"
    return FrameItem(item.file, item.content, identity, item.attributes, item.mask, int(match[2]) - 1, int(match[3]))


def frame_times(path: str, count: int) -> Sequence[float]:
    """Return the times of the frames that are read of a video, in seconds from its first frame, at most `count`.

    Raises:
        Unusable: the file is missing, no video, or broken.
    """
    return _times(path, count, file_version(path))


def file_version(path: str) -> int:
    """Return when a file was changed, in nanoseconds: what a process keeps of a clip ends with it; 0 without a file."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=2)
def _times(path: str, count: int, version: int) -> Sequence[float]:
    times: Sequence[float] = import_module(_READER).frame_times(path, count)
    return times


@lru_cache(maxsize=2)  # neighbours in a chunk are of one clip
def _frames(path: str, count: int, part: int, version: int) -> Mapping[float, bytes]:
    """Return some of the frames, by their times: the `part`th `_AT_ONCE` of them."""
    wanted = slice(part * _AT_ONCE, (part + 1) * _AT_ONCE)
    frames = import_module(_READER).read_frames(path, count, wanted)
    return {frame.seconds: _ppm(Image.fromarray(frame.pixels)) for frame in frames}


def _ppm(picture: Image.Image) -> bytes:
    return b"P6 %d %d 255\n" % picture.size + picture.tobytes()
