"""FaceSets as WebDataset shards: tar files whose members of one key are a sample; the same sets give the same bytes.

    train-000000.tar        00-0000012.json  00-0000012.png  00-0000013.json  00-0000013.png  …
    README.md               contents, licences, citations

The key is the number of the set and the position of the image in it; it holds no dot, since a key ends at the first one
(https://github.com/webdataset/webdataset). Of a set with masks each sample has a member `mask.png` too.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forge.core import provenance
from forge.core.errors import InputError, UnknownNameError
from forge.core.files import canonical_json, publishing
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.export import source_of
from forge.faces.faceset import FaceSet, FaceView
from forge.faces.labelled import COLUMNS, dataset_card, label_types, labelled, views_by_split

IMAGES = ("png", "webp")
SHARD_BYTES = 256 << 20
_LEAST_SHARD = 1 << 20
_BLOCK = 512  # of a tar file: a header, or a part of a member
_MOST_SETS = 100  # the number of a set has two digits


def export_webdataset(
    sets: Sequence[FaceSet],
    out: Path,
    *,
    split: str | None = None,
    images: str = "png",
    shard_bytes: int = SHARD_BYTES,
    on_progress: OnProgress = silent,
) -> int:
    """Write FaceSets as WebDataset shards, `SPLIT-NUMBER.tar`.

    The labels of a sample, member `json`, are `label` (real or forged), `identity`, `id`, `source` (name of the set),
    `generator`, `split` and the set's own labels; those without a value are absent. Images carry the mark of
    `forge.core.provenance`.

    Args:
        sets: opened FaceSets, e.g. real faces and forgeries.
        out: directory to be made; appears when everything is written.
        split: this one alone; None: all.
        images: format of the image files, "png" or "webp", both lossless.
        shard_bytes: a shard is closed before it would grow beyond this; one sample always fits.
        on_progress: called with each progress event.

    Returns:
        Number of images.

    Raises:
        InputError: no set or more than 100, a set without images of the split, a label column of two types or with the
            name of another column, shards below 1 MiB, an unknown format, or `out` exists already.
    """
    if images not in IMAGES:
        raise UnknownNameError("format of images", images, IMAGES)
    if shard_bytes < _LEAST_SHARD:
        raise InputError(f"shards of {shard_bytes} bytes are too small; give at least {_LEAST_SHARD} (1 MiB)")
    if len(sets) > _MOST_SETS:
        raise InputError(f"{len(sets)} FaceSets are too many for one dataset; at most {_MOST_SETS} fit")
    if out.exists():
        raise InputError(f"{out} exists already; choose another place or remove it first")
    label_types(sets, ("label", *COLUMNS))
    views = views_by_split(sets, split)
    if len({faces.path.resolve() for faces in sets}) < len(sets):
        raise InputError("one FaceSet is named twice; each image would be in the dataset twice")
    numbers = {faces.path: number for number, faces in enumerate(sets)}
    total, done = sum(len(view) for parts in views.values() for view in parts), 0
    with publishing(out) as folder:
        for name, parts in views.items():
            with _Shards(folder, name, shard_bytes) as shards:
                for view in parts:
                    for key, members in _samples(view, numbers[view.faces.path], images):
                        shards.add(key, members)
                        done += 1
                        if done % 256 == 0 or done == total:
                            on_progress(ProgressEvent(done, total))
        (folder / "README.md").write_text(dataset_card(sets), encoding="utf-8")
    return total


def _samples(view: FaceView, number: int, images: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield key and members, extension -> bytes, of each image of a view."""
    save = _options(images, source_of(view.faces))
    start = 0
    for pixels, rows in labelled(view):
        part = slice(start, start + len(rows))
        masks = view.read_masks(part) if view.faces.has_masks else None
        for i, (position, image, row) in enumerate(zip(view.index[part], pixels, rows, strict=True)):
            labels = {name: value for name, value in row.items() if value is not None}
            members = {"json": (canonical_json(labels) + "\n").encode(), images: _encoded(image, save)}
            if masks is not None:
                members["mask.png"] = _encoded(masks[i], _options("png", ""))
            yield f"{number:02d}-{position:07d}", members
        start += len(rows)


def _options(images: str, source: str) -> dict[str, Any]:
    """Return the options of `Image.save`."""
    if images == "webp":
        return {"format": "WEBP", "lossless": True, "method": 0, **provenance.options("WEBP", source)}
    mark = provenance.options("PNG", source) if source else {}
    return {"format": "PNG", "compress_level": 1, **mark}


def _encoded(pixels: NDArray[np.uint8], options: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, **options)
    return stream.getvalue()


class _Shards:
    """The tar files of a split, one after the other."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self._folder, self._name, self._limit = folder, name, limit
        self._count, self._tar = 0, self._opened(0)

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *error: object) -> None:
        self._tar.close()

    def _opened(self, number: int) -> tarfile.TarFile:
        # ustar: pax headers would hold times
        return tarfile.open(self._folder / f"{self._name}-{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT)

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Write a sample, whose members always lie in one shard, in the order of their extensions."""
        size = sum(_BLOCK + -(-len(content) // _BLOCK) * _BLOCK for content in members.values())
        if self._tar.offset and self._tar.offset + size + 2 * _BLOCK > self._limit:  # a tar ends with two empty blocks
            self._tar.close()
            self._count += 1
            self._tar = self._opened(self._count)
        for extension, content in sorted(members.items()):
            # mtime, uid and gid are 0 and names of users empty by default
            member = tarfile.TarInfo(f"{key}.{extension}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))
        # the library keeps the header of each member, which only reading needs
        self._tar.members.clear()  # type: ignore[attr-defined]
