"""The faces of a video's frames as tracks: searched once per clip and process, however its frames are asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from forge.core.files import digest_json
from forge.faces.crop import CROPS, Face, FaceCrop, finder_for
from forge.faces.imaging.decode import Unusable, decode
from forge.faces.sources.base import Source
from forge.faces.sources.clips import FrameItem, file_version, frame_times
from forge.faces.tracks import BUFFERS, GAP, JITTER, MIN_OVERLAP, SHORT, VERSION, WINDOW, ClipTracks, tracks_of

SEARCH_SIDE = 320  # pixels of the longest side in which faces are searched, twice those of photos: faces are smaller
_AT_ONCE = 8  # frames; bounds the memory


def clip_tracks(item: FrameItem, crop: FaceCrop) -> ClipTracks:
    """Return the tracks of the clip that a frame is of, in all of the frames that are read of it.

    Args:
        item: any of these frames.
        crop: settings of the search.

    Raises:
        Unusable: the video is missing or broken.
    """
    return _tracks(str(item.content), item.frames, file_version(str(item.content)), crop)


def face_of(item: FrameItem, crop: FaceCrop) -> Face:
    """Return the face of a frame's track.

    Args:
        item: the frame; `item.track` says which track.
        crop: settings of the search.

    Raises:
        Unusable: "no face" in any frame, or "face absent" in this one.
    """
    clip = clip_tracks(item, crop)
    if item.track >= len(clip.tracks):
        raise Unusable("no face", f"none with probability {crop.threshold} or more in {clip.frames} frames of the clip")
    faces = clip.tracks[item.track].faces
    if item.number not in faces:
        raise Unusable("face absent", f"the clip's face is in {len(faces)} of {clip.frames} frames, not in this one")
    return faces[item.number]


def digest_of(source: Source, crop: str) -> str:
    """Return the digest that the faces of a source follow from: its contents, and of videos how tracks are made.

    Args:
        source: of photos and videos.
        crop: name in `CROPS`; without a search there are no tracks.
    """
    tracked = source.has_videos and CROPS[crop] is not None
    return digest_json([source.identity(), describe_tracks()]) if tracked else source.identity()


def describe_tracks() -> dict[str, Any]:
    """Return JSON values for the card of a set with videos."""
    return {
        "version": VERSION,
        "detector_side": SEARCH_SIDE,
        "buffers": list(BUFFERS),
        "overlap": MIN_OVERLAP,
        "gap": GAP,
        "window": WINDOW,
        "jitter": JITTER,
        "short": SHORT,
    }


@lru_cache(maxsize=2)  # neighbours in a chunk are of one clip
def _tracks(path: str, count: int, version: int, crop: FaceCrop) -> ClipTracks:
    finder = finder_for(replace(crop, detector_side=SEARCH_SIDE))
    frames: list[list[Face]] = [[] for _ in frame_times(path, count)]
    for start in range(0, len(frames), _AT_ONCE):
        images = {}
        for number in range(start, min(start + _AT_ONCE, len(frames))):
            try:
                images[number] = decode(FrameItem(path, path, number=number, frames=count).read()).image
            except Unusable:  # a frame that cannot be decoded has no face
                continue
        for number, faces in zip(images, finder.find_all(list(images.values())) if images else [], strict=True):
            frames[number] = faces
    return tracks_of(frames)
