"""Photos as a detector sees them: files and folders to batches of faces, read as `bench data prepare` reads them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.inference.clip_scores import Moment, moments_of
from forge.core.errors import InputError, quoted
from forge.faces.clip_faces import clip_tracks
from forge.faces.crop import CROPS, check_crop
from forge.faces.imaging.decode import Unusable
from forge.faces.imaging.views import RESIZE, check_view
from forge.faces.ingest import Intake, take
from forge.faces.parallel import ordered
from forge.faces.sources.base import Item, find_images, find_unread
from forge.faces.sources.clips import FrameItem, file_of, is_video, item_of

if TYPE_CHECKING:
    from benchmarks.inference.inspection import Inspection, Inspector
    from forge.faces.faceset import Images
    from forge.faces.ingest import Batch

AT_ONCE = 64  # photos that are read and scored together; bounds the memory
_VIEWED_AT_ONCE = 8  # of up to 64 tiles each
_SPAWNED_FROM = 256  # photos from which other processes are worth their start


@dataclass(frozen=True)
class Listing:
    """Photos that were asked for.

    Attributes:
        files: paths of image files, in order.
        unread: path of a picture or video that is not read -> why.
        moments: of the files that are frames of a clip, "clip.mp4#3of16", which frame each is.
    """

    files: Sequence[Path]
    unread: dict[Path, str]
    moments: Mapping[Path, Moment] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files) + len(self.unread)


@dataclass(frozen=True)
class Faces:
    """Photos that were read together.

    Attributes:
        files: their paths, [n].
        problems: why a photo cannot be used; "" where it can, [n].
        notes: how a photo was read, e.g. "enlarged 4 times, first of 2 frames"; mostly "", [n].
        images: faces of those that can be used, uint8 [m, H, W, 3], in order.
        sources: traits of their files, as a FaceSet's table has them, [m].
        inspections: what the inspector saw in them, [m]; empty without one.
        crops: with a view, of each of them its crops, uint8 [k, H, W, 3]; else empty.
        track: "1 of 2": the photos are frames of a clip, and this is the first of the two faces that are followed in
            it; "" of other photos and of clips with one face.
        left_out: faces of the clip that are not followed, half a sentence; mostly "".
    """

    files: Sequence[Path]
    problems: Sequence[str]
    notes: Sequence[str]
    images: Images
    sources: Sequence[dict[str, Any]] = ()
    inspections: Sequence[Inspection] = ()
    crops: Sequence[Images] = ()
    track: str = ""
    left_out: str = ""


def intake_for(resolution: int, crop: str, view: str = RESIZE) -> Intake:
    """Return the settings by which photos of any size become images of a set, as `prepare` makes them.

    Args:
        resolution: height and width of the faces in pixels.
        crop: name in `CROPS`.
        view: name in `VIEWS`.

    Raises:
        UnknownNameError: another crop.
    """
    check_crop(crop)
    check_view(view)
    # No least size: a person's photo is judged however small it is, and its enlargement is noted.
    return Intake(resolution, min_side=1, crop=CROPS[crop], view="" if view == RESIZE else view)


def list_photos(paths: Sequence[Path], frames: int | None = None) -> Listing:
    """List image files, and those of folders by the rule of `prepare`.

    Hidden files and folders are skipped, links are followed, each folder is entered once.

    Args:
        paths: files and folders.
        frames: frames wanted of each video, evenly spaced in time; None: videos are not read.

    Raises:
        InputError: a path does not exist, or there is no image.
    """
    files: list[Path] = []
    unread: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            others = find_unread(path)
            clips = [file for file in others if frames is not None and is_video(file)]
            # relative paths of `find_images`, as the user named the folder
            files += [path / file for file in sorted([*find_images(path), *clips], key=os.fsencode)]
            unread |= {path / file: why for file, why in others.items() if file not in clips}
        elif path.exists():
            files.append(path)
        else:
            raise InputError(f"image {quoted(str(path))} does not exist")
    if not files and not unread:
        raise InputError(f"there are no images in {', '.join(map(str, paths))}")
    if frames is None:
        return Listing(files, unread)
    moments, refused = moments_of([file for file in files if is_video(file.name)], frames)
    of_clip: dict[Path, list[Path]] = {}
    for name, moment in moments.items():
        of_clip.setdefault(moment.clip, []).append(name)
    # popped: a clip that is named twice is judged once
    listed = [name for file in files for name in (of_clip.pop(file, []) if is_video(file.name) else [file])]
    return Listing(listed, unread | refused, moments)


def read_faces(
    files: Sequence[Path], intake: Intake, *, workers: int = 1, inspector: Inspector | None = None
) -> Iterator[Faces]:
    """Read photos a batch at a time, so that memory does not grow with their number.

    Where faces are searched, the frames of a clip come once for each face that is followed in it (`clip_tracks`).

    Args:
        files: paths of image files.
        intake: how a photo becomes a face.
        workers: processes; few photos are read by this one.
        inspector: looks at each photo while it is decoded.

    Raises:
        BenchError: a process was killed, mostly for memory.
    """
    # Chunks by position, so that results are in the order of the files whatever process read them.
    step = _VIEWED_AT_ONCE if intake.view else AT_ONCE
    # of one clip at a time where its faces are followed
    parts = [list(part) for _, part in groupby(files, _clip_of)] if intake.crop else [files]
    chunks = [part[start : start + step] for part in parts for start in range(0, len(part), step)]
    work = functools.partial(_take, intake=intake, inspector=inspector)
    # starting processes takes longer than a few photos
    results = ordered(work, chunks, workers=workers if len(files) >= _SPAWNED_FROM else 1)
    for chunk, (batches, left_out) in zip(chunks, results, strict=True):
        for number, batch in enumerate(batches, 1):
            track = f"{number} of {len(batches)}" if len(batches) > 1 else ""
            yield replace(_faces(chunk, batch), track=track, left_out=left_out)


def read_face(photo: str | bytes, intake: Intake, inspector: Inspector | None = None) -> Faces:
    """Read one photo, a path or the bytes of its file."""
    return _faces([Path("photo")], take([Item("0", photo)], intake, inspector))  # a stand-in: an upload has no path


class _Read(NamedTuple):
    """A chunk that was read: of frames a batch per face of their clip."""

    batches: list[Batch]
    left_out: str


def _clip_of(file: Path) -> str:
    """Return the clip that a frame is of; "" of a photo."""
    return path if (path := file_of(str(file))) != str(file) else ""


def _take(chunk: Sequence[Path], intake: Intake, inspector: Inspector | None) -> _Read:
    # Numbered within the chunk: the batch names its rejects by these numbers.
    items = [item_of(str(file), Item(str(number), file_of(str(file)))) for number, file in enumerate(chunk)]
    if intake.crop is None or not isinstance(items[0], FrameItem):
        return _Read([take(items, intake, inspector)], "")
    try:
        clip = clip_tracks(items[0], intake.crop)
    except Unusable:  # `take` says why
        return _Read([take(items, intake, inspector)], "")
    of_tracks = [
        [replace(item, track=track) for item in items if isinstance(item, FrameItem)]
        for track in range(max(1, len(clip.tracks)))
    ]
    more = f"{clip.left_out} more face{'s' if clip.left_out > 1 else ''} in fewer than {clip.shortest} frames"
    return _Read([take(frames, intake, inspector) for frames in of_tracks], more if clip.left_out else "")


def _faces(files: Sequence[Path], batch: Batch) -> Faces:
    """Return a batch whose items are named by their numbers."""
    problems, notes = [""] * len(files), [""] * len(files)
    # Usable ones are in `positions`, the others in `rejected`; each photo is in one of them.
    for number, reason, detail in batch.rejected:
        problems[int(number)] = f"{reason}: {detail}" if detail else reason
    for position, note in zip(batch.positions, batch.notes, strict=True):
        notes[position] = note
    return Faces(files, problems, notes, batch.images, batch.rows, batch.inspected, batch.crops)
