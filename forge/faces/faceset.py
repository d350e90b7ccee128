"""FaceSet, the one type that flows: images of one size, a table, a card; written once, opened by memory map.

A FaceSet is a directory:

    card.json            what it is: schema, digest, licence, provenance, the digest of every file
    table.parquet        one row an image: id, split, identity, labels, the source file's own properties
    images-00000.npy …   uint8 [n, H, W, 3] shards, lossless, readable with `numpy.load(..., mmap_mode="r")`
    rejected.csv         files that were not used, with the reason (real sets only)
"""

from __future__ import annotations

import csv
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from forge.errors import CorruptError, InputError
from forge.files import canonical_json, digest_file, digest_json, publishing, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd  # takes a second and a half to import, and opening a set needs none of it

SCHEMA_VERSION = 1
SHARD_BYTES = 256 << 20
SPLITS = ("forge", "train", "val", "test")

Images = NDArray[np.uint8]
Indices = NDArray[np.int64]

CORE_COLUMNS = {
    "id": pa.string(),  # unique within the set
    "split": pa.string(),  # forge | train | val | test
    "identity": pa.string(),  # person, or near-duplicate cluster; empty where unknown
    "source_file": pa.string(),  # relative to the source's root
    "source_sha256": pa.string(),
    "source_format": pa.string(),  # JPEG, PNG, ...
    "source_width": pa.int32(),  # pixels, as stored
    "source_height": pa.int32(),
    "source_bytes": pa.int64(),
    "source_jpeg_quality": pa.int16(),  # 1..100 estimated from the quantisation tables; null when not JPEG
}


class FileEntry(BaseModel):
    """Size in bytes and SHA-256 of one file of the set."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bytes: int
    sha256: str


class Card(BaseModel):
    """What a FaceSet is and where it comes from; stored as card.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int = SCHEMA_VERSION
    name: str
    kind: Literal["real", "forged"]
    resolution: int
    count: int
    splits: dict[str, int]
    attributes: list[str]
    licence: str
    citation: str = ""
    provenance: dict[str, Any]  # source and preparation, or generator checkpoint, seed and truncation
    rejected: dict[str, int] = {}  # reason -> number of files not used
    files: dict[str, FileEntry]
    digest: str  # of contents: resolution, pixels and rows; independent of file format versions


@dataclass(frozen=True)
class FaceView:
    """Some images of a FaceSet, by position; reads only what is asked for."""

    faces: FaceSet
    index: Indices

    def __len__(self) -> int:
        return len(self.index)

    def read(self, positions: slice | Indices | None = None) -> Images:
        """Return images as uint8 [n, H, W, 3], in the order asked for (all of the view by default)."""
        return self.faces.read(self.index if positions is None else self.index[positions])

    def batches(self, size: int) -> Iterator[Images]:
        """Yield the view's images in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(slice(start, start + size))

    @property
    def rows(self) -> pd.DataFrame:
        """The table's rows of this view, in its order."""
        return self.faces.table.iloc[self.index]

    def head(self, count: int | None) -> FaceView:
        """The first `count` images (all when None or fewer)."""
        return self if count is None else FaceView(self.faces, self.index[:count])

    def sample(self, count: int, seed: int) -> FaceView:
        """`count` images drawn without replacement, in the set's order (all when fewer).

        Sets may be ordered by person or class, so the first images are no fair sample.
        """
        if count >= len(self):
            return self
        drawn = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return FaceView(self.faces, self.index[np.sort(drawn)])


class FaceSet:
    """A set of face images of one size; see the module docstring for its layout.

    Args:
        path: directory of the set.
        card: its card.
    """

    def __init__(self, path: Path, card: Card) -> None:
        self.path, self.card = path, card

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a set: reads the card alone, images and table are mapped when first used.

        Raises:
            InputError: not a FaceSet, or written by a newer version.
            CorruptError: a file the card names is missing or has another size.
        """
        file = path / "card.json"
        if not file.is_file():
            raise InputError(f"{path} is not a FaceSet: it has no card.json; `bench data prepare` makes one")
        raw = read_json(file)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise InputError(f"{path} has FaceSet schema {version}, this version reads up to {SCHEMA_VERSION}; upgrade")
        try:
            card = Card.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            field_name = ".".join(map(str, first["loc"]))
            raise CorruptError(f"{file} is damaged: field {field_name}: {first['msg']}") from error
        for name, entry in card.files.items():
            part = path / name
            if not part.is_file():
                raise CorruptError(f"{path} is damaged: {name} is missing; prepare or synthesize it again")
            if part.stat().st_size != entry.bytes:
                raise CorruptError(f"{path} is damaged: {name} has {part.stat().st_size} bytes, not {entry.bytes}")
        return cls(path, card)

    def __len__(self) -> int:
        return self.card.count

    def __repr__(self) -> str:
        card = self.card
        return f"FaceSet({card.name!r}, {card.kind}, {card.count} images, {card.resolution} px, {card.digest[:12]})"

    @property
    def resolution(self) -> int:
        """Height and width in pixels."""
        return self.card.resolution

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row an image, in the order of the images."""
        table: pd.DataFrame = pq.read_table(self.path / "table.parquet", memory_map=True).to_pandas()
        return table

    @functools.cached_property
    def _splits(self) -> NDArray[np.str_]:
        column = pq.read_table(self.path / "table.parquet", columns=["split"], memory_map=True)
        return np.asarray(column["split"].to_numpy(), dtype=str)

    @functools.cached_property
    def _shards(self) -> list[Images]:
        names = sorted(name for name in self.card.files if name.startswith("images-"))
        return [np.load(self.path / name, mmap_mode="r") for name in names]

    @functools.cached_property
    def _offsets(self) -> Indices:
        return np.cumsum([0, *(len(shard) for shard in self._shards)], dtype=np.int64)

    def read(self, index: Sequence[int] | Indices) -> Images:
        """Return the images at these positions as uint8 [n, H, W, 3], in the order asked for.

        Raises:
            IndexError: a position is outside 0..len-1.
        """
        wanted = np.asarray(index, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"positions must be 0..{len(self) - 1}")
        out = np.empty((len(wanted), self.resolution, self.resolution, 3), np.uint8)
        shard_of = np.searchsorted(self._offsets, wanted, side="right") - 1
        for shard in np.unique(shard_of):
            here = np.flatnonzero(shard_of == shard)
            out[here] = self._shards[shard][wanted[here] - self._offsets[shard]]
        return out

    def view(self, split: str | None = None) -> FaceView:
        """The images of one split, or all.

        Raises:
            InputError: the split has no images.
        """
        if split is None:
            return FaceView(self, np.arange(len(self), dtype=np.int64))
        index = np.flatnonzero(self._splits == split)
        if not len(index):
            have = ", ".join(f"{name} {count}" for name, count in self.card.splits.items())
            raise InputError(f"{self.path} has no images in split {split!r}; it has: {have}")
        return FaceView(self, index)

    def verify(self) -> list[str]:
        """Recompute every digest; returns what is wrong, one sentence each (empty: the set is what was written)."""
        wrong = [
            f"{name} was changed: its digest is not the card's"
            for name, entry in self.card.files.items()
            if digest_file(self.path / name) != entry.sha256
        ]
        if not wrong and (len(self.table) != len(self) or self._offsets[-1] != len(self)):
            wrong.append(f"the card says {len(self)} images, table {len(self.table)}, shards {self._offsets[-1]}")
        if not wrong and contents_digest(self.resolution, self._pixel_digest(), _row_digest(self.table)) != (
            self.card.digest
        ):
            wrong.append("card.json was changed: its digest is not that of the images and rows")
        return wrong

    def _pixel_digest(self) -> str:
        pixels = hashlib.sha256()
        for shard in self._shards:
            pixels.update(shard.data)
        return pixels.hexdigest()


def contents_digest(resolution: int, pixels: str, rows: str) -> str:
    """Digest of a set's contents: resolution, SHA-256 of all pixels in order, SHA-256 of all rows in order."""
    return digest_json({"resolution": resolution, "pixels": pixels, "rows": rows})


def _row_line(row: Mapping[str, Any]) -> bytes:
    return (canonical_json({key: value for key, value in row.items() if value is not None}) + "\n").encode()


def _row_digest(table: pd.DataFrame) -> str:
    rows = hashlib.sha256()
    for row in pa.Table.from_pandas(table, preserve_index=False).to_pylist():
        rows.update(_row_line({key: _plain(value) for key, value in row.items()}))
    return rows.hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - any cell
    # pandas turns a nullable integer column into floats; the digest is of the value, not of its storage
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
            raise InputError(f"label column {clash[0]!r} has the name of a column every set has; rename it")
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
            self._rows.update(_row_line(row))
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
                csv.writer(file, lineterminator="\n").writerows([("file", "reason", "detail"), *self._rejected])
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
        write_json(self._directory / "card.json", card.model_dump(mode="json"))
