"""A Hugging Face dataset on the disk: what `save_to_disk` wrote, or Parquet files; read with Arrow, nothing is run."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forge.core.errors import CorruptError, InputError, UnknownNameError, quoted
from forge.core.files import digest_file, digest_json, parse_json, read_json_object
from forge.faces.sources.base import Item, Source, existing_folder, printable

HOW = "name a folder that Dataset.save_to_disk wrote, or one of Parquet files; nothing is downloaded"
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(-\w+)?\.parquet")  # as the Hub names them: train-00000-of-00004.parquet
_FORGED = {"forged", "fake", "generated", "synthetic", "deepfake", "tampered", "manipulated", "ai"}
# columns of every FaceSet, which no label may be called
_TAKEN = {"id", "split", "identity"}
_WHOLE_BYTES = 2 << 30  # up to this size a dataset is known by its contents, above by sizes and times of its files


@dataclass(frozen=True)
class Shard:
    """A file of a dataset: its path, and the split that it belongs to ("" where none is named)."""

    path: Path
    split: str

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns; files of `save_to_disk` are mapped, not copied.

        Raises:
            CorruptError: the file is missing, cut or no Arrow file.
        """
        try:
            if self.path.suffix == ".parquet":
                return pq.read_table(self.path, columns=columns, partitioning=None)
            table = pa.ipc.open_stream(pa.memory_map(str(self.path))).read_all()
            return table if columns is None else table.select(columns)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise CorruptError(
                f"{printable(str(self.path))} cannot be read ({str(error).splitlines()[0]}); get the dataset again"
            ) from error

    def schema(self) -> pa.Schema:
        """Read the columns' names and types.

        Raises:
            CorruptError: as of `table`.
        """
        try:
            if self.path.suffix == ".parquet":
                return pq.read_schema(self.path)
            return pa.ipc.open_stream(pa.memory_map(str(self.path))).schema
        except (OSError, pa.ArrowException) as error:
            raise CorruptError(
                f"{printable(str(self.path))} cannot be read ({str(error).splitlines()[0]}); get the dataset again"
            ) from error


@dataclass(frozen=True)
class DatasetChunk:
    """Some images of a dataset; their bytes are read where it is iterated."""

    root: Path
    column: str
    rows: Sequence[tuple[Shard, int, Item]]

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order, each with the bytes of its image."""
        for shard, row, item in self.rows:
            cell = _images(shard, self.column)[row].as_py()
            yield Item(item.file, self._content(cell), item.identity, item.attributes)

    def _content(self, value: Any) -> str | bytes:  # noqa: ANN401 - a cell of the image column
        """Return the bytes of an image, or the file below the root that holds them; b"" where there is neither."""
        if isinstance(value, Mapping):
            value, path = value.get("bytes"), value.get("path")
            if value is None and isinstance(path, str) and (self.root / path).resolve().is_relative_to(self.root):
                return str(self.root / path)
        return value if isinstance(value, bytes) else b""


@functools.lru_cache(maxsize=1)  # the chunks of a file come one after the other
def _images(shard: Shard, column: str) -> pa.ChunkedArray:
    return shard.table([column])[column]


class HuggingFaceSource(Source):
    """Images of a Hugging Face dataset on the disk.

    Columns: the image (of the type Image, a struct with `bytes`, or binary), perhaps `identity`, and any others of
    text, class labels, truth values or whole numbers as labels.

    Args:
        root: the folder.
        split: of the dataset; None: all.
        label: value of the column `label` (its class name) to take; None: all, which is refused where forged images
            are among them.
        licence: of the images; None: as the dataset says.
        citation: how to cite them.

    Raises:
        InputError: no dataset, no image column, no such split or label, or real and forged images together.
        CorruptError: a file is missing or damaged.
    """

    name = "huggingface"

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        split: str | None = None,
        label: str | None = None,
        licence: str | None = None,
        citation: str = "",
    ) -> None:
        self.root = existing_folder(root, source=self.name, how=HOW).resolve()
        shards = _shards(self.root)
        if split is not None:
            names = {shard.split for shard in shards}
            if split not in names:
                raise UnknownNameError("split of the dataset", split, names)
            shards = [shard for shard in shards if shard.split == split]
        self.split, self.label, self._shards = split, label, shards
        schema = shards[0].schema()
        features = _features(schema)
        self._image = _image_column(schema, features, self.root)
        self._labels = [name for name in schema.names if name != self._image and _is_label(schema.field(name).type)]
        self._names = {name: _class_names(features.get(name)) for name in self._labels}
        info = shards[0].path.parent / "dataset_info.json"
        stated = read_json_object(info) if info.is_file() else {}
        self.licence = licence or str(stated.get("license") or "not stated")
        self.citation = citation or str(stated.get("citation") or "")
        self._check_classes()

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether a folder has what `save_to_disk` writes, or Parquet files named as on the Hub."""
        if (root / "dataset_dict.json").is_file() or (root / "state.json").is_file():
            return True
        return any(_SHARD.fullmatch(path.name) for folder in (root, root / "data") for path in folder.glob("*.parquet"))

    @cached_property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]  # a read-only attribute is enough
        """The columns that are labels: not `identity`, nor names that every FaceSet has, nor what all images share."""
        values = {name: {cells.get(name) for *_, cells in self._cells} for name in self._labels}
        return [name for name, seen in values.items() if name not in _TAKEN and len(seen) > 1]

    @cached_property
    def _cells(self) -> list[tuple[Shard, int, dict[str, str]]]:
        """Return each image that is taken: its file, its row there, and the values of its label columns."""
        rows: list[tuple[Shard, int, dict[str, str]]] = []
        for shard in self._shards:
            columns = shard.table(self._labels).to_pydict()
            values = {name: [self._spelled(name, cell) for cell in cells] for name, cells in columns.items()}
            count = len(next(iter(values.values()))) if values else shard.table([self._image]).num_rows
            for row in range(count):
                cells = {name: cell for name in self._labels if (cell := values[name][row]) is not None}
                if self.label is None or cells.get("label") == self.label:
                    rows.append((shard, row, cells))
        return rows

    @cached_property
    def _rows(self) -> list[tuple[Shard, int, Item]]:
        """Return each image that is taken: its file, its row there, and all of its item but the image."""
        attributes, rows = self.attributes, list[tuple[Shard, int, Item]]()
        for shard, row, cells in self._cells:
            labels = {name: cells[name] for name in attributes if name in cells}
            # the file in the name: two files of a split each count from 0
            file = printable(f"{shard.split or shard.path.stem}/{shard.path.stem}/{row:07d}")
            rows.append((shard, row, Item(file, b"", cells.get("identity"), labels)))
        return rows

    def _spelled(self, column: str, cell: Any) -> str | None:  # noqa: ANN401 - of any type
        names = self._names[column]
        if names and isinstance(cell, int):
            return names[cell] if 0 <= cell < len(names) else None  # -1 is a missing label
        return None if cell is None else str(cell)

    def _check_classes(self) -> None:
        """Refuse a label that no image has, and real and forged images together."""
        if "label" not in self._labels:
            if self.label is not None:
                raise InputError(f"{self.root} has no column 'label', but label={quoted(self.label)} was chosen")
            return
        cells = {cell for shard in self._shards for cell in shard.table(["label"])["label"].unique().to_pylist()}
        known = sorted({spelled for cell in cells if (spelled := self._spelled("label", cell)) is not None})
        if self.label is not None and self.label not in known:
            raise UnknownNameError("label of the dataset", self.label, known)
        if self.label is None and len(known) > 1 and any(name.lower() in _FORGED for name in known):
            raise InputError(
                f"{self.root} holds images labelled {', '.join(known)}; choose with --set data.options.label=real "
                "(bench data prepare: --set label=real)"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def chunk(self, positions: Sequence[int]) -> DatasetChunk:
        """Return the items at these positions."""
        return DatasetChunk(self.root, self._image, [self._rows[position] for position in positions])

    def fingerprint(self) -> str:
        """Return the digest of settings and of the files: of their contents, above 2 GB of their sizes and times."""
        files = [shard.path for shard in self._shards]
        status = [file.stat() for file in files]
        whole = sum(stat.st_size for stat in status) <= _WHOLE_BYTES
        seen = [
            digest_file(file) if whole else f"{stat.st_size} {stat.st_mtime_ns}"
            for file, stat in zip(files, status, strict=True)
        ]
        return digest_json([self.name, self.settings(), seen])

    def settings(self) -> dict[str, Any]:
        """Return the folder's name, split and label."""
        return {"folder": printable(self.root.name), "split": self.split, "label": self.label}


def _shards(root: Path) -> list[Shard]:
    """List the files of a dataset with their splits."""
    if (root / "dataset_dict.json").is_file():
        splits = read_json_object(root / "dataset_dict.json").get("splits")
        if not (isinstance(splits, list) and splits and all(isinstance(name, str) for name in splits)):
            raise CorruptError(f"{root / 'dataset_dict.json'} lists no splits; save the dataset again")
        shards = [shard for name in splits for shard in _saved(root, root / name, name)]
    elif (root / "state.json").is_file():
        shards = _saved(root, root, "")
    else:
        folders = (root, root / "data")
        files = [path for folder in folders for path in sorted(folder.glob("*.parquet"))]
        shards = [Shard(path, match[1] if (match := _SHARD.fullmatch(path.name)) else path.stem) for path in files]
    if not shards:
        raise InputError(f"source 'huggingface': {printable(str(root))} holds no dataset; {HOW}")
    return shards


def _saved(root: Path, folder: Path, split: str) -> list[Shard]:
    """List the files of a split as its state.json does; none outside of the dataset, whatever it says."""
    files = read_json_object(folder / "state.json").get("_data_files")
    names = [part.get("filename") for part in files if isinstance(part, dict)] if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise CorruptError(f"{folder / 'state.json'} lists no files; save the dataset again")
    paths = [folder / str(name) for name in names]
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise CorruptError(f"{folder / 'state.json'} names a file outside of the dataset: {quoted(path.name)}")
        if not path.is_file():
            raise CorruptError(f"{printable(str(path))} is missing, which state.json names; get the dataset again")
    return [Shard(path, split) for path in paths]


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return what the library wrote of the columns into the file; {} where another program wrote it."""
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    stored = parse_json(raw.decode("utf-8", "replace"), "the dataset's own description of its columns")
    info = stored.get("info") if isinstance(stored, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}


def _image_column(schema: pa.Schema, features: Mapping[str, Any], root: Path) -> str:
    marked: list[str] = [name for name in schema.names if _type_of(features.get(name)) == "Image"]
    usable: list[str] = [
        name
        for name in schema.names
        if (pa.types.is_struct(kind := schema.field(name).type) and kind.get_field_index("bytes") >= 0)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ]
    if not marked and not usable:
        raise InputError(f"{root} has no column of images; its columns are: {', '.join(schema.names)}")
    return (marked or usable)[0]


def _is_label(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind) or types.is_integer(kind)
    )


def _type_of(feature: Any) -> str:  # noqa: ANN401 - as the file says
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _class_names(feature: Any) -> list[str]:  # noqa: ANN401 - as the file says
    names = feature.get("names") if _type_of(feature) == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else []
