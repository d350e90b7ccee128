"""Base class of the sources of faces: an ordered list of items that worker processes can read."""

from __future__ import annotations

import hashlib
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from forge.core.errors import InputError, quoted
from forge.core.files import canonical_json, digest_file, digest_json, visible
from forge.faces.imaging.decode import SUFFIXES, read_bytes


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        file: name relative to the source's root, always printable UTF-8.
        content: the path to read, or the bytes of the image file.
        identity: the person, where known.
        attributes: label column -> value; columns without a value are absent.
        mask: path of the mask of its altered pixels; None: it has none.
    """

    file: str
    content: str | bytes
    identity: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    mask: str | None = None

    def read(self) -> bytes:
        """Return the bytes of the image file.

        Raises:
            Unusable: the file is missing, unreadable or too large.
        """
        return self.content if isinstance(self.content, bytes) else read_bytes(self.content)


FEWEST = 20  # images that a set needs

_HEIC = "a HEIC photo; convert it to PNG or JPEG"
_VIDEO = "a video; pip install 'deepfake-bench[video]', or extract its frames as PNG"
_RAW = "a camera's raw file; convert it to PNG or JPEG"
VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"))
UNREAD = {  # suffix -> why such a picture or video is not read
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIC),
    **dict.fromkeys(VIDEO_SUFFIXES, _VIDEO),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".rw2"), _RAW),
    **dict.fromkeys((".jxl", ".jp2", ".psd", ".svg", ".eps"), "a format that is not read; convert it to PNG"),
}


class Source(ABC):
    """A source of faces: deterministic order, cheap to list, read in parallel.

    Attributes:
        name: registered name.
        licence: of the images.
        citation: how to cite them; empty when there is nothing to cite.
        attributes: label columns.
        dedupe: whether images that look the same are copies; not so for digits.
        mirrors: whether a mirrored image is one of the kind, so that trainings of generators may mirror them; not so
            for digits. Asked of registered sources alone, before any is opened.
        masked: whether each image has a mask of its altered pixels.
        has_videos: whether any of the images is a frame of a video.
        code: digests of the files that its class comes from, if that is a plug-in's; set by `resolve`.
        assigned: split of each image, where the source decides; None: `prepare` draws them.
    """

    name: str
    licence: str
    citation: str
    attributes: Sequence[str]
    dedupe: bool = True
    mirrors: bool = True
    masked: bool = False
    has_videos: bool = False
    code: Mapping[str, str] = MappingProxyType({})
    assigned: Sequence[str] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def chunk(self, positions: Sequence[int]) -> Iterable[Item]:
        """Return the items at these positions: picklable; heavy work happens where it is iterated, in a worker process.

        A plug-in returns a list of `Item`, since a worker process does not know the classes of its file.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a cheap digest of the contents, 64 hexadecimal digits, for cache keys."""

    def settings(self) -> dict[str, Any]:
        """Return the JSON values that identify this source among others of its name, for the card."""
        return {}

    def identity(self) -> str:
        """Return the digest of the contents and of a plug-in's code, which results are stored under."""
        return digest_json([self.fingerprint(), dict(self.code)]) if self.code else self.fingerprint()

    def pick(self, count: int | None, seed: int) -> Sequence[int]:
        """Return positions of `count` images drawn at random without replacement, in order; all when None or fewer."""
        if count is None or count >= len(self):
            return range(len(self))
        # sorted: read in the order of the disk, and chunks then hold neighbours
        return sorted(random.Random(seed).sample(range(len(self)), count))


_WHOLE_BYTES = 2 << 30  # folders up to this size are known by their contents: a second for 12,000 photos


class FileSource(Source):
    """A source that is a folder with image files; the kinds of them differ in how files are found and labelled.

    Args:
        root: the folder.
    """

    root: Path

    @cached_property
    @abstractmethod
    def files(self) -> Sequence[str]:
        """Paths of the images relative to `root`, as the operating system spells them, in the source's order."""

    @cached_property
    def unread(self) -> Mapping[str, str]:
        """Pictures and videos below `root` that are not read: relative path -> reason."""
        return {}

    def label(self, file: str) -> tuple[str | None, Mapping[str, str]]:
        """Return the identity and attributes of a file of `files`."""
        return None, {}

    def label_files(self) -> Sequence[Path]:
        """Files whose contents belong to the fingerprint."""
        return ()

    def __len__(self) -> int:
        return len(self.files)

    def chunk(self, positions: Sequence[int]) -> list[Item]:
        """Return the items at these positions; files are read where `Item.read` is called."""
        return [self._item(self.files[position]) for position in positions]

    def _item(self, file: str) -> Item:
        identity, attributes = self.label(file)
        return Item(printable(file), os.fspath(self.root / file), identity, attributes)

    def _stored(self) -> Iterable[str]:
        """Return the files of the disk that the images are in, relative to `root`."""
        return self.files

    def fingerprint(self) -> str:
        """Return the digest of name and settings, of every file's name and contents, and of the label files.

        Above 2 GB it is every file's size and time of change instead of its contents: then a copy of the folder is
        another source. Below, it is the same wherever and whenever it was copied.
        """
        digest = hashlib.sha256(canonical_json([self.name, self.settings()]).encode())
        # by name: the source's order does not count
        status = {file: _status(self.root / file) for file in sorted(self._stored())}
        whole = sum(stat.st_size for stat in status.values() if stat) <= _WHOLE_BYTES
        for file, stat in status.items():
            seen = "unreadable"
            if stat is not None:
                with suppress(OSError):
                    seen = digest_file(self.root / file) if whole else f"{stat.st_size} {stat.st_mtime_ns}"
            # no name holds \0, so that name and digest cannot be confused
            digest.update(os.fsencode(file) + f"\0{seen}\n".encode())
        for path in self.label_files():
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def settings(self) -> dict[str, Any]:
        """Return the folder's name; not its whole path, which may tell who works where."""
        return {"folder": printable(self.root.resolve().name)}


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def printable(name: str) -> str:
    r"""Spell a file name so that it can be stored and shown: bytes that are no text and controls become `\xNN`."""
    # bytes that are no UTF-8 come as surrogates, which no file could store
    return visible(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def existing_folder(root: Path | str | None, *, source: str, how: str) -> Path:
    """Return a source's folder.

    Args:
        root: what was given.
        source: name of the source, for messages.
        how: half a sentence: what to get from where.

    Raises:
        InputError: nothing was given, or it is not a folder.
    """
    if root is None:
        raise InputError(f"source {quoted(source)} needs a folder: --data {source}:PATH; {how}")
    path = Path(root).expanduser()
    if not path.is_dir():
        state = "is not a folder" if path.exists() else "does not exist"
        raise InputError(f"source {quoted(source)}: {printable(str(path))} {state}; {how}")
    return path


def find_images(root: Path) -> list[str]:
    """List image files below a folder by suffix, sorted by the bytes of their relative paths.

    Hidden files and folders (`._a.jpg`, `.ipynb_checkpoints`) are skipped. Links are followed, each real folder is
    entered once, so loops end. A folder that cannot be listed is returned itself: reading it fails, and it shows among
    the rejected files.
    """
    return sorted((file for file in _walk(root, root, set()) if unread(file) is None), key=os.fsencode)


def find_unread(root: Path) -> dict[str, str]:
    """List pictures and videos below a folder that are not read, with the reason; `find_images` says which are."""
    reasons = ((file, unread(file)) for file in sorted(_walk(root, root, set()), key=os.fsencode))
    return {file: reason for file, reason in reasons if reason}


def unread(file: str) -> str | None:
    """Return why a picture or video is not read, by its name; None for images that are read and for other files."""
    suffix = Path(file).suffix.lower()
    if suffix in SUFFIXES or suffix in UNREAD:
        return UNREAD.get(suffix)
    # .jpg_large, .png!w700
    # what follows a known suffix is no letter or digit
    renamed = any(suffix.startswith(known) and not suffix[len(known)].isalnum() for known in SUFFIXES)
    return f"its name ends in {suffix}; rename it" if renamed else None


def _walk(root: Path, folder: Path, entered: set[tuple[int, int]]) -> Iterator[str]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered:  # device and inode are the same however a folder is reached
            return
        entered.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError:
        yield str(folder.relative_to(root))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if is_folder(entry):
            yield from _walk(root, path, entered)
        elif path.suffix.lower() in SUFFIXES or unread(path.name):
            yield str(path.relative_to(root))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
