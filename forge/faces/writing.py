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

from forge.errors import InputError, quoted
from forge.faces.faceset import CORE_COLUMNS, Card, FileEntry, Images, contents_digest, row_line
from forge.files import csv_cell, digest_file, publishing, write_signed_json

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

    def __post_init__(self) -> None:
        clash = sorted(set(self.attributes) & set(CORE_COLUMNS))
        if clash:
            raise InputError(f"label column {quoted(clash[0])} has the name of a column every set has; rename it")
        columns = CORE_COLUMNS | {name: pa.type_for_alias(kind) for name, kind in self.attributes.items()}
        self._schema = pa.schema(list(columns.items()))
        self._per_shard = max(1, self.shard_bytes // (self.resolution**2 * 3))
        self._shard_counts: list[int] = []
        self._splits: dict[str, int] = {}
        self._rejected: list[tuple[str, str, str]] = []
        self._pixels, self._rows = hashlib.sha256(), hashlib.sha256()
        self._file: Any = None

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._directory = self._stack.enter_context(publishing(self.path))
        self._table = pq.ParquetWriter(self._directory / "table.parquet", self._schema, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._table.close()
            self._close_shard()
            if kind is None:
                self._write_card()
        except BaseException as late:
            self._stack.__exit__(type(late), late, late.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    @property
    def count(self) -> int:
        """Images written so far."""
        return sum(self._shard_counts)

    def append(self, images: Images, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add images and their rows.

        Args:
            images: uint8 [n, resolution, resolution, 3].
            rows: one mapping an image: the core columns that are known and the attributes; missing ones become null.
        """
        shape = (len(rows), self.resolution, self.resolution, 3)
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(f"images must be uint8 {shape}, not {images.dtype} {images.shape}")
        if not rows:
            return
        for start in range(0, len(images), self._per_shard):
            self._append_pixels(np.ascontiguousarray(images[start : start + self._per_shard]))
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

    def _append_pixels(self, images: Images) -> None:
        while len(images):
            if self._file is None or self._shard_counts[-1] == self._per_shard:
                self._close_shard()
                self._file = (self._directory / f"images-{len(self._shard_counts):05d}.npy").open("wb")
                self._write_header(0)
                self._shard_counts.append(0)
            part = images[: self._per_shard - self._shard_counts[-1]]
            self._file.write(part.data)
            self._pixels.update(part.data)
            self._shard_counts[-1] += len(part)
            images = images[len(part) :]

    def _write_header(self, count: int) -> None:
        # numpy leaves room for a 21-digit first axis, so a header rewritten with the final count keeps its length
        shape = (count, self.resolution, self.resolution, 3)
        write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def _close_shard(self) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._write_header(self._shard_counts[-1])
            self._file.close()
            self._file = None

    def _write_card(self) -> None:
        if self._rejected:
            with (self._directory / "rejected.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("file", "reason", "detail"))
                writer.writerows([csv_cell(cell) for cell in row] for row in self._rejected)
        reasons: dict[str, int] = {}
        for _, reason, _ in self._rejected:
            reasons[reason] = reasons.get(reason, 0) + 1
        files = {
            file.name: FileEntry(bytes=file.stat().st_size, sha256=digest_file(file))
            for file in sorted(self._directory.iterdir())
        }
        card = Card(
            name=self.name,
            kind=self.kind,
            resolution=self.resolution,
            count=self.count,
            splits={key: self._splits[key] for key in sorted(self._splits)},
            attributes=list(self.attributes),
            licence=self.licence,
            citation=self.citation,
            provenance=self.provenance,
            rejected=reasons,
            files=files,
            digest=contents_digest(self.resolution, self._pixels.hexdigest(), self._rows.hexdigest()),
        )
        write_signed_json(self._directory / "card.json", card.model_dump(mode="json"))
