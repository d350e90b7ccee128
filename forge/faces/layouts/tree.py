"""A folder tree, listed once: images, videos and lists by folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from forge.core.errors import InputError
from forge.core.files import read_json
from forge.faces.imaging.decode import SUFFIXES
from forge.faces.sources.base import VIDEO_SUFFIXES, is_folder, printable, unread

LISTS = frozenset((".json", ".txt", ".csv", ".parquet"))  # of files that name others
_MEDIA = SUFFIXES | VIDEO_SUFFIXES


@dataclass(slots=True)
class Folder:
    """Contents of one folder, names without their path.

    Attributes:
        path: relative to the tree's root, POSIX; "" for the root.
        folders: names of sub-folders, sorted.
        files: names of images and videos, sorted.
        lists: names of files that may list others: JSON, text, CSV, Parquet.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)

    @property
    def parts(self) -> list[str]:
        """Names from below the root down to this folder."""
        return self.path.split("/") if self.path else []

    @property
    def name(self) -> str:
        """Last part of the path, "" for the root."""
        return self.path.rpartition("/")[2]

    def file(self, name: str) -> str:
        """Return the path of a file in this folder, relative to the tree's root."""
        return f"{self.path}/{name}" if self.path else name


class Tree:
    """All folders below a root, parents before children, siblings in the order of their names.

    Listed by `os.scandir` once and without a `stat` of any file, so that 200,000 files take seconds. Hidden files and
    folders are left out; links are followed, each real folder is entered once (`forge.faces.sources.base.find_images`
    has the same rules).

    Attributes:
        root: the folder.
        folders: relative path -> contents.
        unread: files that look like pictures and are not read: relative path -> reason.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: dict[str, Folder] = {}
        self.unread: dict[str, str] = {}
        self._entered: set[tuple[int, int]] = set()
        self._json: dict[str, Any] = {}
        self._scan("", os.fspath(root))

    def __iter__(self) -> Iterator[Folder]:
        """Iterate over the folders."""
        return iter(self.folders.values())

    def _scan(self, path: str, folder: str) -> None:
        waiting = [(path, folder)]  # a stack: a chain of folders may be deeper than Python's recursion
        while waiting:
            path, folder = waiting.pop()
            try:
                status = Path(folder).stat()
                with os.scandir(folder) as listed:
                    entries = sorted(listed, key=lambda entry: entry.name)
            except OSError as error:
                self.unread[path or "."] = f"a folder that cannot be listed ({error.strerror})"
                continue
            if (status.st_dev, status.st_ino) in self._entered:
                continue
            self._entered.add((status.st_dev, status.st_ino))
            contents = self.folders[path] = Folder(path)
            for entry in entries:
                self._sort(entry, contents)
            waiting += [(contents.file(name), f"{folder}/{name}") for name in reversed(contents.folders)]

    def _sort(self, entry: os.DirEntry[str], contents: Folder) -> None:
        name = entry.name
        if name.startswith("."):
            return
        if is_folder(entry):
            contents.folders.append(name)
            return
        dot = name.rfind(".")
        suffix = name[dot:].lower() if dot > 0 else ""
        if suffix in _MEDIA:
            contents.files.append(name)
        elif suffix in LISTS:
            contents.lists.append(name)
        elif reason := unread(name):
            self.unread[contents.file(name)] = reason

    @cached_property
    def media(self) -> frozenset[str]:
        """Relative paths of all images and videos."""
        return frozenset(folder.file(name) for folder in self for name in folder.files)

    def lists(self, suffix: str) -> list[str]:
        """Return relative paths of the lists with a suffix, e.g. ".json"."""
        return [folder.file(name) for folder in self for name in folder.lists if name.lower().endswith(suffix)]

    def text(self, file: str) -> str:
        """Read a text file of the tree, UTF-8 with or without a byte-order mark.

        Raises:
            InputError: not readable, or not UTF-8.
        """
        path = self.root / file
        try:
            return path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise InputError(f"{printable(str(path))} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{printable(str(path))} is not UTF-8 (byte {error.start}); save it as UTF-8") from error

    def json(self, file: str) -> Any:  # noqa: ANN401 - whatever the file holds
        """Read a JSON file of the tree; once, since recognising and reading both ask for it.

        Raises:
            InputError: not readable, or not JSON.
        """
        if file not in self._json:
            self._json[file] = read_json(self.root / file)
        return self._json[file]

    def describe(self) -> str:
        """Return half a sentence on what the tree holds, for errors."""
        top = self.folders.get("", Folder(""))
        folders = ", ".join(printable(name) for name in top.folders[:6]) + (", …" if len(top.folders) > 6 else "")
        counts = f"{len(self.media):,} images and videos in {len(self.folders):,} folders"
        unread = next(iter(self.unread.items()), None)
        more = f"; {len(self.unread):,} files are not read, e.g. {printable(unread[0])}, {unread[1]}" if unread else ""
        return f"{counts}, at the top {f'the folders {folders}' if folders else 'no folder'}{more}"


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}
