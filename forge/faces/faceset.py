"""FaceSet, the one type that flows: images of one size, a table, a card; opened by memory map.

A FaceSet is a directory:

    card.json            what it is: schema, digest, licence, provenance, the digest of every file
    table.parquet        one row per image: id, split, identity, labels, the source file's own properties
    images-00000.npy …   uint8 [n, H, W, 3] shards, lossless, readable with `numpy.load(..., mmap_mode="r")`
    masks-00000.npy …    uint8 [n, H, W], where images were altered; a shard per shard of images (sets with masks only)
    rejected.csv         files that were not used, with the reason (real sets only)
"""

from __future__ import annotations

import csv
import functools
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from forge.core.errors import CorruptError, InputError, quoted, short
from forge.core.files import canonical_json, digest_file, digest_json, read_signed_json

if TYPE_CHECKING:
    import pandas as pd  # takes a second and a half to import, and opening a set needs none of it

SCHEMA_VERSION = 2  # 2: sets with masks; a set without is written as version 1, so that its bytes are as they were
SPLITS = ("forge", "train", "val", "test")
REJECTED = "rejected.csv"
_ROWS = 4096  # of a table that are Python values at a time

Images = NDArray[np.uint8]
Masks = NDArray[np.uint8]  # [n, H, W], in 255ths: 0 is a pixel of the real image, 255 one that was replaced altogether
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
    """Contents and origin of a FaceSet; stored as card.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int = 1
    name: str
    kind: Literal["real", "forged"]
    resolution: int
    count: int
    splits: dict[str, int]
    attributes: list[str]
    licence: str
    citation: str = ""
    provenance: dict[str, Any]  # source and preparation, or generator checkpoint, seed and truncation
    masks: bool = False  # whether there is a mask beside each image
    rejected: dict[str, int] = {}  # reason -> number of files not used
    files: dict[str, FileEntry]
    digest: str  # of contents: resolution, pixels, rows and masks; independent of file format versions

    def to_json(self) -> dict[str, Any]:
        """Return JSON values for card.json; a set without masks says nothing of them, as before there were any."""
        return self.model_dump(mode="json", exclude=None if self.masks else {"masks"})


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

    def read_masks(self, positions: slice | Indices | None = None) -> Masks:
        """Return masks as uint8 [n, H, W], in the order asked for (all of the view by default).

        Raises:
            InputError: the set has no masks.
        """
        return self.faces.read_masks(self.index if positions is None else self.index[positions])

    def batches(self, size: int) -> Iterator[Images]:
        """Yield the view's images in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(slice(start, start + size))

    @property
    def rows(self) -> pd.DataFrame:
        """The table's rows of this view, in its order."""
        return self.faces.table.iloc[self.index]

    def columns(self, names: Sequence[str]) -> pd.DataFrame:
        """Return these columns of the view's rows, in its order; reads no other, and keeps nothing in memory."""
        table = pq.read_table(self.faces.path / "table.parquet", columns=list(names), memory_map=True)
        # chosen afterwards: whole numbers are floats where any row of the set has none, as in `rows`
        frame: pd.DataFrame = table.to_pandas().iloc[self.index]
        return frame

    @property
    def splits(self) -> NDArray[np.str_]:
        """The split of each image, in the view's order."""
        return np.asarray(self.faces._splits[self.index])

    def head(self, count: int | None) -> FaceView:
        """Return the first `count` images (all when None or fewer)."""
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
            # an unreadable card is damage here: the file is the set's own
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
        # sizes alone, which cost nothing: truncated copies show at once, changed bytes in `verify`
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process maps the files itself: a copy of what is mapped here would hold all images."""
        return type(self), (self.path, self.card)

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
        # in memory once: tables are small beside pixels
        table: pd.DataFrame = pq.read_table(self.path / "table.parquet", memory_map=True).to_pandas()
        return table

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Columns of the table with their Arrow types."""
        return pq.read_schema(self.path / "table.parquet")

    @property
    def label_types(self) -> dict[str, str]:
        """Label columns and their Arrow types, as `FaceSetWriter` takes them."""
        return {name: str(self.schema.field(name).type) for name in self.card.attributes}

    @functools.cached_property
    def _splits(self) -> NDArray[np.str_]:
        column = pq.read_table(self.path / "table.parquet", columns=["split"], memory_map=True)
        return np.asarray(column["split"].to_numpy(), dtype=str)

    @functools.cached_property
    def _shards(self) -> list[Images]:
        names = sorted(name for name in self.card.files if name.startswith("images-"))
        # mapped: pages are read as images are asked for
        return [np.load(self.path / name, mmap_mode="r") for name in names]

    @functools.cached_property
    def _offsets(self) -> Indices:
        # first position of each shard, and the total
        return np.cumsum([0, *(len(shard) for shard in self._shards)], dtype=np.int64)

    def read(self, index: Sequence[int] | Indices) -> Images:
        """Return the images at these positions as uint8 [n, H, W, 3], in the order asked for.

        Raises:
            IndexError: a position is outside 0..len-1.
        """
        return self._gather(self._shards, index, (self.resolution, self.resolution, 3))

    def rejected_files(self, count: int) -> list[str]:
        """Return the names of the first files that were not used.

        Args:
            count: names at most.
        """
        file = self.path / REJECTED
        if not file.is_file():  # none was rejected, or they are forgeries of a generator
            return []
        with file.open(newline="", encoding="utf-8") as lines:
            return [row["file"] for row in itertools.islice(csv.DictReader(lines), count)]

    @property
    def has_masks(self) -> bool:
        """Whether there is a mask beside each image."""
        return self.card.masks

    def read_masks(self, index: Sequence[int] | Indices) -> Masks:
        """Return the masks of the images at these positions as uint8 [n, H, W], in the order asked for.

        Raises:
            InputError: the set has no masks.
            CorruptError: a shard of masks is missing or has another shape than its shard of images.
            IndexError: a position is outside 0..len-1.
        """
        if not self.has_masks:
            raise InputError(f"{self.path} has no masks; synthesize it again with masks")
        return self._gather(self._mask_shards, index, (self.resolution, self.resolution))

    @functools.cached_property
    def _mask_shards(self) -> list[Masks]:
        shards: list[Masks] = []
        for number, images in enumerate(self._shards):
            name = mask_file(number)
            if name not in self.card.files:
                raise CorruptError(f"{self.path} is damaged: {name} is missing; prepare or synthesize it again")
            try:
                shard = np.load(self.path / name, mmap_mode="r")
            except (ValueError, OSError) as error:
                raise CorruptError(f"{self.path} is damaged: {name} cannot be read ({error})") from error
            if shard.dtype != np.uint8 or shard.shape != images.shape[:3]:
                raise CorruptError(
                    f"{self.path} is damaged: {name} holds {shard.dtype} {shard.shape}, not uint8 {images.shape[:3]}"
                )
            shards.append(shard)
        return shards

    def _gather(
        self, shards: Sequence[NDArray[np.uint8]], index: Sequence[int] | Indices, shape: tuple[int, ...]
    ) -> NDArray[np.uint8]:
        """Return entries of shards, each of this shape, at positions of the whole set."""
        wanted = np.asarray(index, dtype=np.int64)
        # negative positions would silently read from the end
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"positions must be 0..{len(self) - 1}")
        out = np.empty((len(wanted), *shape), np.uint8)
        shard_of = np.searchsorted(self._offsets, wanted, side="right") - 1  # shard of each position
        # one gather a shard: fancy indexing of a memory map reads only the rows asked for
        for shard in np.unique(shard_of):
            here = np.flatnonzero(shard_of == shard)
            out[here] = shards[shard][wanted[here] - self._offsets[shard]]
        return out

    def view(self, split: str | None = None) -> FaceView:
        """Return the images of one split, or all.

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
        # only when all files are as written: counts and digests of damaged ones would say less
        rows = 0 if wrong else pq.read_metadata(self.path / "table.parquet").num_rows
        if not wrong and (rows != len(self) or self._offsets[-1] != len(self)):
            wrong.append(f"the card says {len(self)} images, table {rows}, shards {self._offsets[-1]}")
        if not wrong and self.has_masks:
            try:
                masks = _digest_of(self._mask_shards)
            except CorruptError as error:
                return [str(error)]
        else:
            masks = None
        if not wrong:
            # the set's digest is of contents: computed anew from pixels, rows and masks as they are now; rows as they
            # are stored, since pandas would turn whole numbers beside nulls into floats
            digest = _row_digest(self.path / "table.parquet")
            if contents_digest(self.resolution, _digest_of(self._shards), digest, masks) != self.card.digest:
                wrong.append("card.json was changed: its digest is not that of the images and rows")
        return wrong


def mask_file(number: int) -> str:
    """Return the file of the masks that belong to a shard of images."""
    return f"masks-{number:05d}.npy"


def _digest_of(shards: Sequence[NDArray[np.uint8]]) -> str:
    contents = hashlib.sha256()
    for shard in shards:
        contents.update(shard.data)  # a view of the mapped bytes, no copy
    return contents.hexdigest()


def contents_digest(resolution: int, pixels: str, rows: str, masks: str | None = None) -> str:
    """Digest of a set's contents: resolution, and SHA-256 of all pixels, rows and masks (if any), each in order."""
    contents = {"resolution": resolution, "pixels": pixels, "rows": rows}
    return digest_json(contents if masks is None else contents | {"masks": masks})


def row_line(row: Mapping[str, Any]) -> bytes:
    """Return a table row as a line of canonical JSON without its nulls, of which the set's digest is made."""
    # null and absent are one: a column added later leaves the digest of older rows as it was
    return (canonical_json({key: value for key, value in row.items() if value is not None}) + "\n").encode()


def _row_digest(file: Path) -> str:
    rows = hashlib.sha256()
    for batch in pq.ParquetFile(file).iter_batches(_ROWS):
        for row in batch.to_pylist():
            rows.update(row_line(row))
    return rows.hexdigest()
