"""First pass of a preparation: decode in worker processes, into scratch files beside the output.

Pixels, rows and thumbnails go into files; memory holds some sixty bytes per image (a digest, a hash and two numbers)
and the name of each person once.
"""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from forge.core.files import canonical_json, parse_json
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.dedup import THUMBNAIL
from forge.faces.faceset import Images, Masks
from forge.faces.ingest import Batch, Intake, take
from forge.faces.parallel import ordered
from forge.faces.sources.base import Source
from forge.faces.sources.masked import refuse_masks

CHUNK = 64
ALONE = 12  # chunks up to which other processes would still start when this one is done


@dataclass
class Taken:
    """Results of the first pass: scratch files, and the data for finding duplicates and assigning splits."""

    folder: Path
    resolution: int
    masked: bool
    seen: int = 0
    hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    digested: bytearray = field(default_factory=bytearray)  # SHA-256 of the source files, 32 bytes each
    people: dict[str, int] = field(default_factory=dict)  # identity -> number
    person: array[int] = field(default_factory=lambda: array("q"))  # number of each image's identity, -1 unknown
    positions: array[int] = field(default_factory=lambda: array("q"))  # of each image in the source
    rejected: list[tuple[str, str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def digests(self) -> NDArray[np.uint8]:
        """SHA-256 of the source files, uint8 [n, 32]."""
        return np.frombuffer(self.digested, np.uint8).reshape(-1, 32)

    @property
    def thumbnails(self) -> NDArray[np.uint8]:
        """Thumbnails of the images, uint8 [n, 16, 16], mapped."""
        return np.memmap(self.folder / "thumbnails", np.uint8, "r", shape=(len(self), THUMBNAIL, THUMBNAIL))

    def add(
        self, batch: Batch, positions: Sequence[int], pixels: IO[bytes], rows: IO[str], thumbnails: IO[bytes]
    ) -> None:
        """Keep a batch, each image's mask behind it; `positions` are those of its chunk in the source."""
        refuse_masks(batch.refused)
        pixels.write(batch.images.data)
        if batch.masks is not None:
            pixels.write(batch.masks.data)
        for row, index in zip(batch.rows, batch.positions, strict=True):
            self.positions.append(positions[index])
            row["id"] = f"{positions[index]:07d}"  # the place in the source: stays the same with other settings
            self.digested += bytes.fromhex(row["source_sha256"])
            name = row["identity"]
            # people are numbered as they come: memory holds each name once
            self.person.append(-1 if name is None else self.people.setdefault(name, len(self.people)))
        if batch.rows:
            rows.write(canonical_json(batch.rows) + "\n")  # a line a batch, beside the batch's pixels
        self.hashes.append(batch.hashes)
        thumbnails.write(batch.thumbnails.data)
        self.rejected += batch.rejected
        self.seen += batch.seen

    def batches(self) -> Iterator[tuple[Images, Masks | None, list[dict[str, Any]]]]:
        """Read the scratch files again, in order: images, their masks if there are any, and rows."""
        shape = (self.resolution, self.resolution)
        with (self.folder / "pixels").open("rb") as pixels, (self.folder / "rows").open(encoding="utf-8") as lines:
            for line in lines:
                rows = parse_json(line, lines.name)
                # n * H * W * 3 bytes, then n * H * W
                sizes = [len(rows) * math.prod(shape) * channels for channels in ((3, 1) if self.masked else (3,))]
                images, *masks = (np.frombuffer(pixels.read(size), np.uint8) for size in sizes)
                mask = masks[0].reshape(len(rows), *shape) if masks else None
                yield images.reshape(len(rows), *shape, 3), mask, rows


def first_pass(
    source: Source, folder: Path, intake: Intake, positions: Sequence[int], *, workers: int, on_progress: OnProgress
) -> Taken:
    """Decode the images at these positions of a source, in worker processes where there are many.

    Args:
        source: of the photos.
        folder: for scratch files, which `Taken` reads.
        intake: how a photo becomes an image.
        positions: in the source.
        workers: processes.
        on_progress: called with each progress event.
    """
    taken = Taken(folder, intake.resolution, source.masked)
    parts = [positions[start : start + CHUNK] for start in range(0, len(positions), CHUNK)]
    alone = 1 if source.has_videos else ALONE  # frames take as long as ten photos
    batches = ordered(
        functools.partial(take, intake=intake),
        map(source.chunk, parts),
        workers=workers if len(parts) > alone else 1,
    )
    with (
        (folder / "pixels").open("wb") as pixels,
        (folder / "rows").open("w", encoding="utf-8") as rows,
        (folder / "thumbnails").open("wb") as thumbnails,
    ):
        for part, batch in zip(parts, batches, strict=True):
            taken.add(batch, part, pixels, rows, thumbnails)
            on_progress(ProgressEvent(taken.seen, len(positions)))
    return taken
