"""From items of a source to pixels: what worker processes do. Imports no pandas, and torch only to find faces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forge.faces.clip_faces import face_of
from forge.faces.crop import Face, FaceCrop, align, align_mask, enlarged_box, finder_for, similarity
from forge.faces.dedup import THUMBNAIL, describe
from forge.faces.imaging.crops import crops_of
from forge.faces.imaging.decode import Decoded, Square, Unusable, centre_square, decode, read_bytes, resize
from forge.faces.imaging.masks import Altered, read_mask, resize_mask
from forge.faces.imaging.views import MOST_TILES
from forge.faces.sources.base import Item
from forge.faces.sources.clips import FrameItem

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
        cut: without `crop`, take `resolution` pixels of the photo itself in its middle; nothing is resized.
        view: name of a view other than "resize": cut the square or the face into crops in the photo's own pixels too.
    """

    resolution: int
    min_side: int
    crop: FaceCrop | None = None
    cut: bool = False
    view: str = ""


@dataclass
class Batch:
    """Images and rejections of a chunk.

    Attributes:
        images: uint8 [n, resolution, resolution, 3].
        rows: n table rows: core columns that are known, and attributes.
        positions: n places in the chunk.
        hashes: uint64 [n].
        thumbnails: uint8 [n, 16, 16].
        crops: n arrays uint8 [k, resolution, resolution, 3], where the intake has a view; else empty.
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
    crops: list[NDArray[np.uint8]] = field(default_factory=list)
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
            decoded, cut, faces = result
            images.append(cut.image)
            batch.crops += [] if cut.crops is None else [cut.crops]
            batch.inspected += [] if inspect is None else [inspect(decoded, faces)]
            masks += [] if cut.mask is None else [cut.mask]
            batch.rows.append(_row(item, decoded))
            batch.positions.append(position)
            batch.notes.append(_note(decoded, intake))
    if images:
        batch.images = np.stack(images)  # [n, resolution, resolution, 3]
        batch.masks = np.stack(masks) if masks else None
        batch.hashes, batch.thumbnails = describe(batch.images)
        _drop_blank(batch)
    return batch


class Cut(NamedTuple):
    """What is taken of a photo.

    Attributes:
        image: uint8 [resolution, resolution, 3].
        mask: uint8 [resolution, resolution]; None where the photo has none.
        crops: uint8 [k, resolution, resolution, 3]; None without a view.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None
    crops: NDArray[np.uint8] | None


class Taken(NamedTuple):
    """A photo that can be used, what is taken of it, and its faces, the main one first."""

    decoded: Decoded
    cut: Cut
    faces: Sequence[Face]


Result = Taken | Unusable


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
                part = centre_square(decoded.image, intake.resolution) if intake.cut else None
                small = None if mask is None else resize_mask(mask, intake.resolution, part=part)
                crops = _crops_of(decoded.image, centre_square(decoded.image), intake) if intake.view else None
                cut = Cut(resize(decoded.image, intake.resolution, part=part), small, crops)
                yield position, item, Taken(decoded, cut, ())
                continue
            if isinstance(item, FrameItem):  # the face of a frame is that of its clip's track
                yield from _aligned(waiting, intake, intake.crop)  # in order
                waiting, pixels = [], 0
                face = face_of(item, intake.crop)
                cut = cut_face(decoded.image, face, intake, intake.crop, mask)
                yield position, item, Taken(decoded, cut, [face])
                continue
        except Unusable as verdict:
            yield position, item, verdict
            continue
        waiting.append((position, item, decoded, mask))
        pixels += decoded.width * decoded.height
        if len(waiting) == _DETECTED_AT_ONCE or pixels > _DETECTED_PIXELS:
            yield from _aligned(waiting, intake, intake.crop)
            waiting, pixels = [], 0
    if intake.crop:
        yield from _aligned(waiting, intake, intake.crop)


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


def _aligned(waiting: list[_Waiting], intake: Intake, crop: FaceCrop) -> Iterator[tuple[int, Item, Result]]:
    if not waiting:
        return
    faces_by_image = finder_for(crop).find_all([decoded.image for _, _, decoded, _ in waiting])
    for (position, item, decoded, mask), faces in zip(waiting, faces_by_image, strict=True):
        result: Result
        if not faces:
            result = Unusable("no face", f"none with probability {crop.threshold} or more")
        else:
            try:
                result = Taken(decoded, cut_face(decoded.image, faces[0], intake, crop, mask), faces)
            except Unusable as verdict:
                result = verdict
        yield position, item, result


def cut_face(image: Image.Image, face: Face, intake: Intake, crop: FaceCrop, mask: Altered | None = None) -> Cut:
    """Take a face of a photo: aligned, or as the square around its box.

    Args:
        image: the photo, RGB.
        face: in it.
        intake: resolution and view.
        crop: how the face is cut.
        mask: of the photo.

    Raises:
        Unusable: "too small" or "face cut off".
    """
    landmarks, resolution = face.landmarks, intake.resolution
    if crop.enlarged is None:
        small = None if mask is None else align_mask(mask, landmarks, resolution, crop)
        aligned, crops = align(image, landmarks, resolution, crop), None
        if intake.view:
            # upright at about the photo's own density: as many whole crops as the face's square holds
            many = min(int(abs(similarity(crop.template, landmarks)[0])) // resolution, MOST_TILES)
            crops = crops_of(align(image, landmarks, many * resolution, crop), resolution, intake.view)
        return Cut(aligned, small, crops)
    part = enlarged_box(face.edges, image.size, crop.enlarged)
    if part.side < resolution:
        raise Unusable("too small", f"the face's square is {part.side:.0f} pixels wide, {resolution} are needed")
    small = None if mask is None else resize_mask(mask, resolution, part=part)
    crops = _crops_of(image, part, intake) if intake.view else None
    return Cut(resize(image, resolution, part=part), small, crops)


def _crops_of(image: Image.Image, part: Square, intake: Intake) -> NDArray[np.uint8]:
    """Cut a square of a photo into the crops of the view; of a large one the tiles in the middle."""
    side = intake.resolution
    if part.side < side:
        size = f"{image.width} x {image.height} pixels"
        raise Unusable("too small", f"{size}, one crop of the view {intake.view} has {side} x {side}")
    left, top, right, lower = part.left, part.top, part.left + part.side, part.top + part.side
    pixels = np.asarray(image.crop((int(left), int(top), int(right), int(lower))))
    if intake.view.startswith("tiles") and part.side > MOST_TILES * side:
        edge = (int(part.side) - MOST_TILES * side) // 2
        pixels = pixels[edge : edge + MOST_TILES * side, edge : edge + MOST_TILES * side]
    return crops_of(pixels, side, intake.view)


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
    batch.crops = [batch.crops[i] for i in kept if batch.crops]
    batch.inspected = [batch.inspected[i] for i in kept if batch.inspected]
    batch.rows, batch.positions = [batch.rows[i] for i in kept], [batch.positions[i] for i in kept]
    batch.masks = None if batch.masks is None else batch.masks[kept]
    batch.images, batch.hashes, batch.thumbnails = batch.images[kept], batch.hashes[kept], batch.thumbnails[kept]
