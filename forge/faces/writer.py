"""Writing a FaceSet: a stream of images and rows in constant memory, published whole or not at all."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import write_array_header_1_0

from forge.core.errors import InputError, quoted
from forge.core.files import csv_cell, digest_file, publishing, write_signed_json
from forge.faces.faceset import (
    CORE_COLUMNS,
    REJECTED,
    SCHEMA_VERSION,
    Card,
    FileEntry,
    Images,
    Masks,
    contents_digest,
    mask_file,
    row_line,
)

SHARD_BYTES = 256 << 20


@dataclass
class FaceSetWriter:
    """Writes a FaceSet in a stream: constant memory, published by one rename when the block ends without an error.

        with FaceSetWriter(path, name="faces", kind="real", resolution=64, licence="CC0", provenance={}) as writer:
            writer.append(images, rows)

    Args:
        path: the directory to be made; must not exist.
        name: what people call the set.
        kind: "real" or "forged".
        resolution: height and width of every image in pixels.
        licence: of the images.
        provenance: where they come from, JSON values.
        attributes: label columns and their Arrow types ("string", "int64", "float64").
        citation: how to cite the source.
        masks: whether each image comes with a mask of where it was altered.
    """

    path: Path
    name: str
    kind: Literal["real", "forged"]
    resolution: int
    licence: str
    provenance: dict[str, Any]
    attributes: Mapping[str, str] = field(default_factory=dict)
    citation: str = ""
    shard_bytes: int = SHARD_BYTES
    masks: bool = False

    def __post_init__(self) -> None:
        clash = sorted(set(self.attributes) & set(CORE_COLUMNS))
        if clash:
            raise InputError(f"label column {quoted(clash[0])} has the name of a column every set has; rename it")
        columns = CORE_COLUMNS | {name: pa.type_for_alias(type_name) for name, type_name in self.attributes.items()}
        self._schema = pa.schema(list(columns.items()))
        self._per_shard = max(1, self.shard_bytes // (self.resolution**2 * 3))
        self._shard_counts: list[int] = []
        self._splits: dict[str, int] = {}
        self._rejected: list[tuple[str, str, str]] = []
        # of the contents, while they pass by: nothing is read again
        self._pixels, self._rows = hashlib.sha256(), hashlib.sha256()
        self._mask_digest = hashlib.sha256()
        self._file: Any = None
        self._mask_file: Any = None

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._directory = self._stack.enter_context(publishing(self.path))
        self._table = pq.ParquetWriter(self._directory / "table.parquet", self._schema, compression="zstd")
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # in this order, and before the rename: the card holds sizes and digests of closed files
            self._table.close()
            self._close_shard()
            if error_class is None:
                self._write_card()
        except BaseException as late:
            # an error in closing goes to `publishing` as well, which then removes the directory
            self._stack.__exit__(type(late), late, late.__traceback__)
            raise
        self._stack.__exit__(error_class, error, trace)

    @property
    def count(self) -> int:
        """Images written so far."""
        return sum(self._shard_counts)

    def append(self, images: Images, rows: Sequence[Mapping[str, Any]], masks: Masks | None = None) -> None:
        """Add images and their rows.

        Args:
            images: uint8 [n, resolution, resolution, 3].
            rows: one mapping an image: the core columns that are known and the attributes; missing ones become null.
            masks: uint8 [n, resolution, resolution], where the set has masks.

        Raises:
            ValueError: images or masks of another type or shape, masks that are missing or not wanted.
        """
        shape = (len(rows), self.resolution, self.resolution, 3)
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(f"images must be uint8 {shape}, not {images.dtype} {images.shape}")
        if (masks is not None) != self.masks:
            raise ValueError("masks are missing" if self.masks else "the set was begun without masks")
        if masks is not None and (masks.dtype != np.uint8 or masks.shape != shape[:3]):
            raise ValueError(f"masks must be uint8 {shape[:3]}, not {masks.dtype} {masks.shape}")
        if not rows:
            return
        for start in range(0, len(images), self._per_shard):
            part = slice(start, start + self._per_shard)
            self._append_pixels(
                np.ascontiguousarray(images[part]), None if masks is None else np.ascontiguousarray(masks[part])
            )
        # through Arrow: the digest is of the rows as the table has them, not as they were given
        table = pa.Table.from_pylist(
            [{name: row.get(name) for name in self._schema.names} for row in rows], schema=self._schema
        )
        self._table.write_table(table)
        for row in table.to_pylist():
            self._rows.update(row_line(row))
            self._splits[row["split"]] = self._splits.get(row["split"], 0) + 1

    def reject(self, file: str, reason: str, detail: str = "") -> None:
        """Record a file that is not used: a short reason that is counted, and what exactly was seen."""
        self._rejected.append((file, reason, detail))

    def _append_pixels(self, images: Images, masks: Masks | None) -> None:
        while len(images):
            # shards are full but for the last, whatever the sizes of batches: equal images give equal files
            if self._file is None or self._shard_counts[-1] == self._per_shard:
                self._close_shard()
                self._open_shard(len(self._shard_counts))
                self._shard_counts.append(0)
            part = images[: self._per_shard - self._shard_counts[-1]]
            self._file.write(part.data)
            self._pixels.update(part.data)
            if masks is not None:
                self._mask_file.write(masks[: len(part)].data)
                self._mask_digest.update(masks[: len(part)].data)
                masks = masks[len(part) :]
            self._shard_counts[-1] += len(part)
            images = images[len(part) :]

    def _open_shard(self, number: int) -> None:
        self._file = (self._directory / f"images-{number:05d}.npy").open("wb")
        if self.masks:
            self._mask_file = (self._directory / mask_file(number)).open("wb")
        self._write_headers(0)  # the count is not known before the shard is full

    def _write_headers(self, count: int) -> None:
        # numpy leaves room for a 21-digit first axis, so a header rewritten with the final count keeps its length
        shape = (count, self.resolution, self.resolution)
        write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": (*shape, 3)})
        if self._mask_file is not None:
            write_array_header_1_0(self._mask_file, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def _close_shard(self) -> None:
        opened = [file for file in (self._file, self._mask_file) if file is not None]
        for file in opened:
            file.seek(0)
        if opened:
            self._write_headers(self._shard_counts[-1])
        for file in opened:
            file.close()
        self._file = self._mask_file = None

    def _write_card(self) -> None:
        # no file where nothing was rejected, so that sets without rejections have no empty one
        if self._rejected:
            with (self._directory / REJECTED).open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("file", "reason", "detail"))
                writer.writerows([csv_cell(cell) for cell in row] for row in self._rejected)
        reasons: dict[str, int] = {}
        for _, reason, _ in self._rejected:
            reasons[reason] = reasons.get(reason, 0) + 1
        files = {
            file.name: FileEntry(bytes=file.stat().st_size, sha256=digest_file(file))
            for file in sorted(self._directory.iterdir())  # without card.json, which is written last and signs itself
        }
        card = Card(
            schema_version=SCHEMA_VERSION if self.masks else 1,  # a set without masks stays readable for older versions
            name=self.name,
            kind=self.kind,
            resolution=self.resolution,
            count=self.count,
            splits={key: self._splits[key] for key in sorted(self._splits)},
            attributes=list(self.attributes),
            licence=self.licence,
            citation=self.citation,
            provenance=self.provenance,
            masks=self.masks,
            rejected=reasons,
            files=files,
            digest=contents_digest(
                self.resolution,
                self._pixels.hexdigest(),
                self._rows.hexdigest(),
                self._mask_digest.hexdigest() if self.masks else None,
            ),
        )
        write_signed_json(self._directory / "card.json", card.to_json())
