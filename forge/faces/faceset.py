"""FaceSet, the one type that flows: images of one size, a table, a card; opened by memory map.

A FaceSet is a directory:

    card.json            what it is: schema, digest, licence, provenance, the digest of every file
    table.parquet        one row an image: id, split, identity, labels, the source file's own properties
    images-00000.npy …   uint8 [n, H, W, 3] shards, lossless, readable with `numpy.load(..., mmap_mode="r")`
    rejected.csv         files that were not used, with the reason (real sets only)
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from forge.errors import CorruptError, InputError, quoted, short
from forge.files import canonical_json, digest_file, digest_json, read_signed_json

if TYPE_CHECKING:
    import pandas as pd  # takes a second and a half to import, and opening a set needs none of it

SCHEMA_VERSION = 1
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
        try:
            raw = read_signed_json(file)
        except CorruptError:
            raise
        except InputError as error:
            raise CorruptError(f"{path} is damaged: {error}") from error
        version = raw.get("schema_version")
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
                raise CorruptError(f"{path} is damaged: {short(name)} is missing; prepare or synthesize it again")
            if part.stat().st_size != entry.bytes:
                raise CorruptError(
                    f"{path} is damaged: {short(name)} has {part.stat().st_size} bytes, not {entry.bytes}"
                )
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
            raise InputError(f"{self.path} has no images in split {quoted(split)}; it has: {have}")
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


def row_line(row: Mapping[str, Any]) -> bytes:
    """A table row as a line of canonical JSON without its nulls, of which the set's digest is made."""
    return (canonical_json({key: value for key, value in row.items() if value is not None}) + "\n").encode()


def _row_digest(table: pd.DataFrame) -> str:
    rows = hashlib.sha256()
    for row in pa.Table.from_pandas(table, preserve_index=False).to_pylist():
        rows.update(row_line({key: _plain(value) for key, value in row.items()}))
    return rows.hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - any cell
    # pandas turns a nullable integer column into floats; the digest is of the value, not of its storage
    return int(value) if isinstance(value, float) and value.is_integer() else value
