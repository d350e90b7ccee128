"""Face tracks: the faces of the sampled frames of a clip, linked over time by the overlap of their boxes, and smoothed.

A track takes in each frame the box that overlaps its last one most (intersection over union), as SORT does (Bewley et
al.: Simple Online and Realtime Tracking. ICIP 2016), and ends after some frames without one. Sampled frames lie up to
seconds apart, so that boxes are enlarged before they are compared, which keeps a moving face in its track: first by a
little, then by more for the tracks and faces that are left (Yang et al.: Hard to Track Objects with Irregular Motions
and Similar Appearances? Make It Easier by Buffering the Matching Space. WACV 2023). The longest track stands for the
clip, as in the preparation of FTCN (Zheng et al.: Exploring Temporal Coherence for More General Video Face Forgery
Detection. ICCV 2021, `find_longest`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forge.faces.crop import Face

VERSION = 1  # raise it when other boxes or tracks come out
BUFFERS = (0.25, 0.75)  # of a box's width and height, added on each side before boxes are compared: two rounds
MIN_OVERLAP = 0.3  # of the enlarged boxes, SORT's minimum
GAP = 2  # sampled frames in a row that a track may miss
WINDOW = 5  # frames of a track whose median is its box
JITTER = 0.1  # of the face's side: what lies further from the median is motion, and the detected box stays
SHORT = 8  # tracks of less than this fraction (1 / SHORT) of the longest are left out: mostly false detections


@dataclass(frozen=True)
class Track:
    """One face over time.

    Attributes:
        faces: number of a frame, from 0 -> the face in it; frames where it is absent are missing.
    """

    faces: Mapping[int, Face]

    @property
    def side(self) -> float:
        """Median side of its boxes, in pixels."""
        return float(np.median([_side(face.edges) for face in self.faces.values()]))


@dataclass(frozen=True)
class ClipTracks:
    """The faces of a clip.

    Attributes:
        tracks: the longest one first, among equally long ones that of the larger face; smoothed.
        left_out: number of shorter tracks that are not used.
        frames: how many frames were searched.
    """

    tracks: Sequence[Track]
    left_out: int
    frames: int

    @property
    def shortest(self) -> int:
        """Frames below which a track is left out."""
        return math.ceil(len(self.tracks[0].faces) / SHORT) if self.tracks else 0


def tracks_of(frames: Sequence[Sequence[Face]]) -> ClipTracks:
    """Link the faces of a clip's frames to tracks, sort and smooth them.

    Args:
        frames: faces of each frame, in the order of time.
    """
    linked = sorted(linked_faces(frames), key=lambda track: (len(track.faces), track.side), reverse=True)
    shortest = math.ceil(len(linked[0].faces) / SHORT) if linked else 0
    kept = [track for track in linked if len(track.faces) >= shortest]
    return ClipTracks([smoothed(track) for track in kept], len(linked) - len(kept), len(frames))


def linked_faces(frames: Sequence[Sequence[Face]]) -> list[Track]:
    """Link faces by the overlap of their boxes: the best pair of a track and a face first.

    Args:
        frames: faces of each frame, in the order of time.

    Returns:
        Tracks in the order in which they begin; each face is in one.
    """
    tracks: list[dict[int, Face]] = []
    for number, faces in enumerate(frames):
        alive = [track for track in tracks if number - max(track) <= GAP + 1]
        last = [track[max(track)] for track in alive]
        partner: dict[int, int] = {}  # face -> track
        for buffer in BUFFERS:
            pairs = [
                (overlap(before.edges, face.edges, buffer), i, k)
                for i, before in enumerate(last)
                for k, face in enumerate(faces)
                if i not in partner.values() and k not in partner
            ]
            # by overlap; of equal ones the earlier track and the more prominent face
            for shared, i, k in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
                if shared >= MIN_OVERLAP and i not in partner.values() and k not in partner:
                    partner[k] = i
        for k, face in enumerate(faces):
            if k in partner:
                alive[partner[k]][number] = face
            else:
                tracks.append({number: face})
    return [Track(track) for track in tracks]


def overlap(a: NDArray[np.float64], b: NDArray[np.float64], buffer: float) -> float:
    """Return the intersection over union of two boxes, 0..1, each first enlarged.

    Args:
        a: left, top, right and lower edge, float64 [4].
        b: likewise.
        buffer: of width and height, added on each side.
    """
    a, b = _buffered(a, buffer), _buffered(b, buffer)
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    return shared / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared)


def smoothed(track: Track) -> Track:
    """Return a track whose boxes and landmarks are medians over neighbouring frames.

    The detector's boxes tremble by some hundredths of their side also where a face keeps still. A median removes that
    without lagging behind a steady motion. Where a face moved to and fro between frames that lie far apart, the median
    would miss it: boxes further than `JITTER` from it stay as they were detected.

    Args:
        track: as linked.
    """
    numbers = sorted(track.faces)
    values = np.stack([_values(track.faces[number]) for number in numbers])  # [n, 14]
    faces = {}
    for i, number in enumerate(numbers):
        face = track.faces[number]
        reach = min(i, len(numbers) - 1 - i, WINDOW // 2)  # the window is symmetric, shorter at both ends
        median = np.median(values[i - reach : i + reach + 1], axis=0)
        still = np.abs(median - values[i]).max() <= JITTER * _side(face.edges)
        faces[number] = _face(median) if still else face
    return Track(faces)


def _values(face: Face) -> NDArray[np.float64]:
    return np.concatenate([face.edges, face.landmarks.ravel()])


def _face(values: NDArray[np.float64]) -> Face:
    left, top, right, lower = (int(edge) for edge in np.rint(values[:4]))
    return Face((left, top, right, lower), values[4:].reshape(5, 2), values[:4])


def _buffered(box: NDArray[np.float64], buffer: float) -> NDArray[np.float64]:
    more = buffer * (box[2:] - box[:2])
    return np.concatenate([box[:2] - more, box[2:] + more])


def _side(box: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.prod(box[2:] - box[:2])))
