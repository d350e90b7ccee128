"""From items of a source to pixels: what worker processes do. Imports no pandas, and torch only to find faces."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.faces.crop import Face, FaceCrop, FaceFinder, align, align_mask
from forge.faces.dedup import THUMBNAIL, describe
from forge.faces.imaging.decode import Decoded, Unusable, decode, read_bytes, resize
from forge.faces.imaging.masks import Altered, read_mask, resize_mask
from forge.faces.sources.base import Item

_DETECTED_AT_ONCE = 8  # photos; also bounds the memory of decoded ones
_DETECTED_PIXELS = 32_000_000  # decoded pixels that wait, 96 MB as RGB
_LEAST_CONTRAST = 1.0  # standard deviation of the thumbnail in grey levels


@dataclass(frozen=True)
class Intake:
    """Settings that turn items into images.

    Attributes:
        resolution: height and width of the results.
        min_side: reject photos whose shorter side is less, in pixels.
        crop: find and align the face; None takes the largest square in the middle.
    """

    resolution: int
    min_side: int
    crop: FaceCrop | None = None


@dataclass
class Batch:
    """Images and rejections of a chunk.

    Attributes:
        images: uint8 [n, resolution, resolution, 3].
        rows: n table rows: core columns that are known, and attributes.
        positions: n places in the chunk.
        hashes: uint64 [n].
        thumbnails: uint8 [n, 16, 16].
        notes: n texts on how an image was read, e.g. "first of 2 frames"; mostly empty.
        masks: uint8 [n, resolution, resolution], 0 and 255, where the source has masks; else None.
        refused: path of a mask that cannot be used, and why.
        rejected: (file, reason, detail) of the others.
        seen: items in the chunk.
        inspected: n results of `inspect`, where `take` was given one.
    """

    images: NDArray[np.uint8]
    rows: list[dict[str, Any]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    thumbnails: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, THUMBNAIL, THUMBNAIL), np.uint8))
    notes: list[str] = field(default_factory=list)
    masks: NDArray[np.uint8] | None = None
    refused: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[tuple[str, str, str]] = field(default_factory=list)
    seen: int = 0
    inspected: list[Any] = field(default_factory=list)


# what else is wanted of a photo while it is decoded; the faces are those of the search, none where nothing is searched
Inspect = Callable[[Decoded, Sequence[Face]], Any]


def take(chunk: Iterable[Item], intake: Intake, inspect: Inspect | None = None) -> Batch:
    """Read, decode, crop and resize the items of a chunk; what cannot be used is listed with its reason.

    Args:
        chunk: the items.
        intake: how a photo becomes an image.
        inspect: called with every photo that can be used; its results are in `Batch.inspected`.
    """
    images: list[NDArray[np.uint8]] = []
    masks: list[NDArray[np.uint8]] = []
    batch = Batch(np.empty((0, intake.resolution, intake.resolution, 3), np.uint8))
    for position, item, result in _results(chunk, intake, batch):
        if isinstance(result, Unusable):
            batch.rejected.append((item.file, result.reason, result.detail))
        else:
            decoded, image, mask, faces = result
            images.append(image)
            batch.inspected += [] if inspect is None else [inspect(decoded, faces)]
            masks += [] if mask is None else [mask]
            batch.rows.append(_row(item, decoded))
            batch.positions.append(position)
            batch.notes.append(_note(decoded, intake))
    if images:
        batch.images = np.stack(images)  # [n, resolution, resolution, 3]
        batch.masks = np.stack(masks) if masks else None
        batch.hashes, batch.thumbnails = describe(batch.images)
        _drop_blank(batch)
    return batch


Result = tuple[Decoded, NDArray[np.uint8], NDArray[np.uint8] | None, Sequence[Face]] | Unusable


_Waiting = tuple[int, Item, Decoded, Altered | None]


def _results(chunk: Iterable[Item], intake: Intake, batch: Batch) -> Iterator[tuple[int, Item, Result]]:
    """Each item and its image, or why there is none; counts items in `batch.seen`."""
    waiting: list[_Waiting] = []
    pixels = 0
    for position, item in enumerate(chunk):
        batch.seen += 1
        try:
            # decoded one at a time where no face is searched, so that memory holds one photo; the detector works on
            # some at once
            decoded = decode(item.read())
            _check_size(decoded, intake)
            mask = _mask_of(item, decoded, batch)
            if intake.crop is None:
                small = None if mask is None else resize_mask(mask, intake.resolution)
                yield position, item, (decoded, resize(decoded.image, intake.resolution), small, ())
                continue
        except Unusable as verdict:
            yield position, item, verdict
            continue
        waiting.append((position, item, decoded, mask))
        pixels += decoded.width * decoded.height
        if len(waiting) == _DETECTED_AT_ONCE or pixels > _DETECTED_PIXELS:
            yield from _aligned(waiting, intake.resolution, intake.crop)
            waiting, pixels = [], 0
    if waiting and intake.crop:
        yield from _aligned(waiting, intake.resolution, intake.crop)


def _mask_of(item: Item, decoded: Decoded, batch: Batch) -> Altered | None:
    """Read the mask of a photo, in the photo's size; what is no mask is listed in `batch.refused`."""
    if item.mask is None:
        return None
    try:
        return read_mask(read_bytes(item.mask), decoded.image.size)
    except Unusable as verdict:
        batch.refused.append((item.mask, verdict.detail or verdict.reason))
        raise


def _check_size(decoded: Decoded, intake: Intake) -> None:
    if min(decoded.width, decoded.height) < intake.min_side:
        size = f"{decoded.width} x {decoded.height} pixels"
        raise Unusable("too small", f"{size}, the shorter side must have {intake.min_side}")


def _aligned(waiting: list[_Waiting], resolution: int, crop: FaceCrop) -> Iterator[tuple[int, Item, Result]]:
    faces_by_image = finder_for(crop).find_all([decoded.image for _, _, decoded, _ in waiting])
    for (position, item, decoded, mask), faces in zip(waiting, faces_by_image, strict=True):
        result: Result
        if not faces:
            result = Unusable("no face", f"none with probability {crop.threshold} or more")
        else:
            try:
                landmarks = faces[0].landmarks
                small = None if mask is None else align_mask(mask, landmarks, resolution, crop)
                result = decoded, align(decoded.image, landmarks, resolution, crop), small, faces
            except Unusable as verdict:
                result = verdict
        yield position, item, result


# once a process: the detector's weights are loaded for its first chunk alone
@functools.cache
def finder_for(crop: FaceCrop) -> FaceFinder:
    """Return the face finder of these settings."""
    return FaceFinder(crop)


def _note(decoded: Decoded, intake: Intake) -> str:
    """Return notes on how the image was read."""
    side = min(decoded.width, decoded.height)
    # a resolution above the photo's side, where min_side allows it
    notes = [f"enlarged {intake.resolution / side:.3g} times"] if side < intake.resolution else []
    notes += [f"first of {decoded.frames} frames"] if decoded.frames > 1 else []
    return ", ".join(notes)


def _row(item: Item, decoded: Decoded) -> dict[str, Any]:
    return {
        **item.attributes,
        "identity": item.identity,
        "source_file": item.file,
        "source_sha256": decoded.sha256,
        "source_format": decoded.format,
        "source_width": decoded.width,
        "source_height": decoded.height,
        "source_bytes": decoded.bytes,
        "source_jpeg_quality": decoded.jpeg_quality,
    }


def _drop_blank(batch: Batch) -> None:
    # blank pictures have equal hashes and no correlation: duplicates among them could not be told
    contrast = batch.thumbnails.std(axis=(1, 2))
    for row, value in zip(batch.rows, contrast, strict=True):
        if value < _LEAST_CONTRAST:
            batch.rejected.append((row["source_file"], "blank", "all of the picture has nearly one brightness"))
    kept = np.flatnonzero(contrast >= _LEAST_CONTRAST)
    batch.notes = [batch.notes[i] for i in kept]
    batch.inspected = [batch.inspected[i] for i in kept if batch.inspected]
    batch.rows, batch.positions = [batch.rows[i] for i in kept], [batch.positions[i] for i in kept]
    batch.masks = None if batch.masks is None else batch.masks[kept]
    batch.images, batch.hashes, batch.thumbnails = batch.images[kept], batch.hashes[kept], batch.thumbnails[kept]
