"""WebDataset shards on the disk as a source: tar files whose members of one key are a sample; nothing is unpacked.

As the library reads them (https://github.com/webdataset/webdataset): the key of a member is its path up to the first
dot of its name, the rest is its extension, and the members of a sample lie one after the other. Of a sample the image
is used, the object in its `json` and the text in its `cls` are labels; others (captions, masks) are not read.
"""

from __future__ import annotations

import os
import re
import tarfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from forge.core.errors import BenchError, CorruptError, InputError, UnknownNameError, quoted
from forge.core.files import digest_file, digest_json, parse_json
from forge.faces.imaging.decode import MAX_BYTES, SUFFIXES
from forge.faces.sources.base import Item, Source, existing_folder, printable
from forge.faces.sources.classes import class_of

HOW = "name a folder of WebDataset shards, tar files; nothing is downloaded"
_SHARD = re.compile(r"(?:(.+)-)?\d{4,}\.tar")  # train-000000.tar, 00000.tar
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_TAKEN = {"id", "split", "identity", "__key__"}  # no label: columns of every FaceSet, and what the library adds
_LABEL_BYTES = 1 << 20
_WHOLE_BYTES = 2 << 30  # up to this size a dataset is known by its contents, above by sizes and times of its files

Span = tuple[int, int]  # offset and size in a shard


@dataclass(frozen=True)
class TarChunk:
    """Some samples of a dataset; images and labels are read where it is iterated.

    Attributes:
        attributes: label columns.
        rows: path and name of the shard, the key of the sample, and where image, `json` and `cls` lie; size 0: nowhere.
    """

    attributes: tuple[str, ...]
    rows: Sequence[tuple[Path, str, str, Span, Span, Span]]

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order, each with the bytes of its image; b"" where a sample has none."""
        opened: tuple[Path, Any] | None = None
        try:
            for path, name, key, image, labels, cls in self.rows:
                if opened is None or opened[0] != path:  # the samples of a shard come one after the other
                    if opened is not None:
                        opened[1].close()
                    opened = path, path.open("rb")
                file = opened[1]
                values = labels_of(path, key, _read(file, labels), _read(file, cls))
                given = {column: values[column] for column in self.attributes if column in values}
                # beyond the limit the image is refused by its size: reading one byte more is enough
                content = _read(file, (image[0], min(image[1], MAX_BYTES + 1)))
                yield Item(printable(f"{name}/{key}"), content, values.get("identity"), given)
        finally:
            if opened is not None:
                opened[1].close()


def _read(file: Any, span: Span) -> bytes:  # noqa: ANN401 - a binary file
    if not span[1]:
        return b""
    file.seek(span[0])
    content: bytes = file.read(span[1])
    return content


def labels_of(path: Path, key: str, labels: bytes, cls: bytes) -> dict[str, str]:
    """Return the labels of a sample: what its `json` says, and its `cls`; nested values and nulls are left out.

    Args:
        path: of the shard, for messages.
        key: of the sample.
        labels: bytes of its `json`; b"" where it has none.
        cls: bytes of its `cls`, likewise.

    Raises:
        CorruptError: the bytes are no JSON object, or no text.
    """
    where = f"{printable(str(path))}: {printable(key)}"
    try:
        stated = parse_json(labels.decode(), f"{where}.json") if labels else {}
        text = cls.decode().strip()
    except UnicodeDecodeError as error:
        raise CorruptError(f"{where} has labels that are no UTF-8 text; write the shard again") from error
    except BenchError as error:
        raise CorruptError(f"{error}; write the shard again") from error
    if not isinstance(stated, dict):
        raise CorruptError(f"{where}.json holds no object of labels; write the shard again")
    # truth values as JSON spells them
    spelled = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in stated.items()
        if isinstance(value, str | int | float)
    }
    return ({"cls": text} if text else {}) | spelled


@dataclass
class _Index:
    """Where samples lie: 64 bytes and a key each, whatever their labels hold."""

    shard: array[int] = field(default_factory=lambda: array("q"))
    keys: bytearray = field(default_factory=bytearray)  # one after the other
    ends: array[int] = field(default_factory=lambda: array("q"))  # of each key in them
    spans: array[int] = field(default_factory=lambda: array("q"))  # offset and size of image, json, cls
    first: dict[str, str] = field(default_factory=dict)  # label column -> its first value
    varied: dict[str, bool] = field(default_factory=dict)  # whether there is another one, or none somewhere
    classes: set[str] = field(default_factory=set)  # of all samples, also those that are not taken
    samples: int = 0  # that are taken

    def add(self, shard: int, key: str, spans: Sequence[Span]) -> None:
        """Add a sample."""
        self.shard.append(shard)
        self.keys += key.encode("utf-8", "surrogateescape")
        self.ends.append(len(self.keys))
        self.spans.extend(number for span in spans for number in span)

    def note(self, values: Mapping[str, str]) -> None:
        """Take in the labels of a sample."""
        for name, value in values.items():
            before = self.first.setdefault(name, value)
            late = name not in self.varied and self.samples > 0  # earlier samples lack it
            self.varied[name] = self.varied.get(name, False) or late or value != before
        for name in self.first.keys() - values.keys():
            self.varied[name] = True
        self.samples += 1


class WebDatasetSource(Source):
    """Images of WebDataset shards, `*.tar` files in a folder.

    Args:
        root: the folder.
        split: shards that are called SPLIT-NUMBER.tar; None: all.
        label: class to take, the value of the label `label` or else of `cls`; None: all, which is refused where forged
            images are among them.
        image: extension of the image, where samples have several, e.g. "jpg".
        licence: of the images.
        citation: how to cite them.

    Raises:
        InputError: no shards, no such split or label, two images in a sample, samples whose members do not lie
            together, or real and forged images together.
        CorruptError: a file is no tar file, is cut, or has labels that cannot be read.
    """

    name = "webdataset"

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        split: str | None = None,
        label: str | None = None,
        image: str | None = None,
        licence: str = "not stated",
        citation: str = "",
    ) -> None:
        self.root = existing_folder(root, source=self.name, how=HOW).resolve()
        self.split, self.label, self.image = split, label, image
        self.licence, self.citation = licence, citation
        self._shards = _shards(self.root, split)
        self._index = _Index()
        for number, path in enumerate(self._shards):
            self._scan(number, path)
        self._check_classes()

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether a folder holds tar files with the names of shards."""
        return any(_SHARD.fullmatch(path.name) for path in root.glob("*.tar"))

    @cached_property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]  # a read-only attribute is enough
        """Labels that are not the same for all images, nor called like what every FaceSet has."""
        return [name for name, varied in self._index.varied.items() if varied and name not in _TAKEN]

    def _scan(self, number: int, path: Path) -> None:
        """Take in the samples of a shard."""
        with path.open("rb") as file:
            for key, members in samples(path):
                spans = [self._image_of(path, key, members), members.get("json", (0, 0)), members.get("cls", (0, 0))]
                if max(spans[1][1], spans[2][1]) > _LABEL_BYTES:
                    raise InputError(f"{printable(str(path))}: the labels of {quoted(key)} are larger than 1 MiB")
                values = labels_of(path, key, _read(file, spans[1]), _read(file, spans[2]))
                named = values.get("label", values.get("cls"))
                self._index.classes |= set() if named is None else {named}
                if self.label is None or named == self.label:
                    self._index.note(values)
                    self._index.add(number, key, spans)

    def _image_of(self, path: Path, key: str, members: Mapping[str, Span]) -> Span:
        """Return where the image of a sample lies; size 0: it has none."""
        if self.image is not None:
            return members.get(self.image.lower().lstrip("."), (0, 0))
        images = [extension for extension in members if f".{extension}" in SUFFIXES]
        if len(images) > 1:
            raise InputError(
                f"{printable(str(path))}: sample {quoted(key)} has the images {', '.join(images)}; choose with "
                f"--set data.options.image={images[0]} (bench data prepare: --set image={images[0]})"
            )
        dotted = [extension for extension in members if Path(extension).suffix in SUFFIXES and extension not in images]
        if not images and len(dotted) > 1:
            raise InputError(
                f"{printable(str(path))}: a key ends at the first dot, so that {key}.{dotted[0]} and {key}.{dotted[1]} "
                f"are one sample; rename them without that dot, or choose one with --set data.options.image={dotted[0]}"
            )
        return members[images[0]] if images else (0, 0)

    def _check_classes(self) -> None:
        """Refuse a label that no image has, and real and forged images together."""
        known = sorted(self._index.classes)
        if self.label is not None and not known:
            raise InputError(f"{self.root} has neither a label nor a cls, but label={quoted(self.label)} was chosen")
        if self.label is not None and self.label not in known:
            raise UnknownNameError("label of the dataset", self.label, known)
        if self.label is None and len(known) > 1 and any(class_of(name) == "forged" for name in known):
            raise InputError(
                f"{self.root} holds images labelled {', '.join(known)}; choose with --set data.options.label=real "
                "(bench data prepare: --set label=real)"
            )

    def __len__(self) -> int:
        return len(self._index.shard)

    def chunk(self, positions: Sequence[int]) -> TarChunk:
        """Return the items at these positions."""
        return TarChunk(tuple(self.attributes), [self._row(position) for position in positions])

    def _row(self, position: int) -> tuple[Path, str, str, Span, Span, Span]:
        index = self._index
        at = index.spans[position * 6 : position * 6 + 6]
        begin = index.ends[position - 1] if position else 0
        key = index.keys[begin : index.ends[position]].decode("utf-8", "surrogateescape")
        path = self._shards[index.shard[position]]
        return path, path.stem, key, (at[0], at[1]), (at[2], at[3]), (at[4], at[5])

    def fingerprint(self) -> str:
        """Return the digest of settings and of the files: of their contents, above 2 GB of their sizes and times."""
        status = [path.stat() for path in self._shards]
        whole = sum(stat.st_size for stat in status) <= _WHOLE_BYTES
        seen = [
            digest_file(path) if whole else f"{stat.st_size} {stat.st_mtime_ns}"
            for path, stat in zip(self._shards, status, strict=True)
        ]
        return digest_json([self.name, self.settings(), seen])

    def settings(self) -> dict[str, Any]:
        """Return the folder's name and what is chosen."""
        return {"folder": printable(self.root.name), "split": self.split, "label": self.label, "image": self.image}


def _shards(root: Path, split: str | None) -> list[Path]:
    """List the shards of a folder by name."""
    paths = sorted(root.glob("*.tar"), key=lambda path: os.fsencode(path.name))
    if not paths:
        packed = sorted(path.name for path in root.iterdir() if path.name.lower().endswith(_COMPRESSED))
        if packed:
            raise InputError(f"{printable(str(root / packed[0]))} is compressed; unpack it to a .tar file first")
        raise InputError(f"source 'webdataset': {printable(str(root))} holds no tar files; {HOW}")
    if split is None:
        return paths
    names = {path: match[1] for path in paths if (match := _SHARD.fullmatch(path.name)) and match[1]}
    if split not in names.values():
        raise UnknownNameError("split of the dataset", split, set(names.values()))
    return [path for path in paths if names.get(path) == split]


def samples(path: Path) -> Iterator[tuple[str, dict[str, Span]]]:
    """Yield key and members of each sample of a shard: lower-case extension -> where its contents lie.

    Directories, links and the library's own members (`__index__`) are passed over.

    Raises:
        InputError: two members of one name, or members of a sample that do not lie together.
        CorruptError: the file is no tar file, or is cut.
    """
    where, seen = printable(str(path)), set[str]()
    current, members = "", dict[str, Span]()
    for name, span in _members(path):
        folder, slash, base = name.rpartition("/")
        stem, dot, extension = base.partition(".")
        if not dot or not stem or base.startswith("__"):
            continue
        key, extension = f"{folder}{slash}{stem}", extension.lower()
        if key != current:
            if members:
                yield current, members
            if key in seen:
                raise InputError(
                    f"{where}: the members of sample {quoted(key)} do not lie together; write the shard again, sorted "
                    "by name"
                )
            seen.add(key)
            current, members = key, {}
        if extension in members:
            raise InputError(f"{where} holds {quoted(name)} twice; write the shard again, each key once")
        members[extension] = span
    if members:
        yield current, members


def _members(path: Path) -> Iterator[tuple[str, Span]]:
    """Yield name, offset and size of the files in a tar file."""
    size, damaged = path.stat().st_size, f"{printable(str(path))} is no tar file, or is damaged"
    try:
        with tarfile.open(path, "r:", errorlevel=2) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # the library keeps each header for later look-ups
                if not member.isreg():
                    continue
                if member.offset_data + member.size > size:
                    raise CorruptError(f"{printable(str(path))} is cut in {quoted(member.name)}; get the shard again")
                yield member.name, (member.offset_data, member.size)
            if size < tar.offset + tarfile.BLOCKSIZE:  # one empty block at least
                raise CorruptError(f"{printable(str(path))} has no end, it was cut; get the shard again")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise CorruptError(
            f"{damaged} ({' '.join(str(error).split()) or type(error).__name__}); get it again"
        ) from error
