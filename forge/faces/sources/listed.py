"""Files of a list, with their persons and masks: one side of a public test set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from forge.core.files import digest_json
from forge.faces.layouts.base import Entry
from forge.faces.sources.base import FileSource, Item, printable
from forge.faces.sources.clips import CLIP, FRAMES, check_frames, expanded, file_of, is_video, item_of


class ListedSource(FileSource):
    """Some files below a folder, in the order of a list.

    Args:
        root: the folder that files are relative to.
        entries: of one class.
        unread: files of the set that are not read: relative path -> reason.
        shared: the images stand in several columns, so that one without a person or clip is a group of its own by name.
        masked: use the masks of the entries, of which each must have one.
        licence: of the images.
        frames: frames that are read of each video, evenly spaced in time.
    """

    name = "listed"
    citation = ""

    def __init__(
        self,
        root: Path,
        entries: Sequence[Entry],
        *,
        unread: Mapping[str, str] | None = None,
        shared: bool = False,
        masked: bool = False,
        licence: str = "not stated",
        frames: int = FRAMES,
    ) -> None:
        self.root, self.licence = root, licence
        self._entries = {entry.file: entry for entry in entries}
        self._unread, self._shared = dict(unread or {}), shared
        self.masked, self.frames = masked, check_frames(frames)

    @cached_property
    def files(self) -> Sequence[str]:
        """Files of the list; of a video its frames."""
        return expanded(self._entries, self.frames)

    @cached_property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]  # a read-only attribute is enough
        """The column `clip`, where files are videos or frames of known ones."""
        return (CLIP,) if any(entry.video or entry.is_video for entry in self._entries.values()) else ()

    @cached_property
    def unread(self) -> Mapping[str, str]:
        """Files that are not read: relative path -> reason."""
        return self._unread

    @cached_property
    def has_videos(self) -> bool:  # type: ignore[override]  # a read-only attribute is enough
        """Whether any file is a video."""
        return any(map(is_video, self._entries))

    def _item(self, file: str) -> Item:
        entry = self._entries[file_of(file)]
        mask = os.fspath(self.root / entry.mask) if self.masked and entry.mask else None
        group = entry.group or (f"image {file}" if self._shared else None)
        clip = entry.video or (entry.file if entry.is_video else None)
        labels = {CLIP: printable(clip)} if clip else {}
        item = Item(printable(file), os.fspath(self.root / entry.file), group and printable(group), labels, mask)
        return item_of(file, item)

    def _stored(self) -> Iterable[str]:
        return self._entries

    def label_files(self) -> Sequence[Path]:
        """Return the masks, whose contents belong to the fingerprint."""
        masks = (entry.mask for entry in self._entries.values() if self.masked)
        return [self.root / mask for mask in masks if mask]

    def settings(self) -> dict[str, Any]:
        """Name of the deepest folder that holds all files, and a digest of persons and clips, as intervals need."""
        parents = os.path.commonpath([file.rpartition("/")[0] for file in self._entries]) if self._entries else ""
        folder = parents.rpartition("/")[2] or self.root.resolve().name
        groups = digest_json([entry.group for entry in self._entries.values()])
        frames = {"frames": self.frames} if self.has_videos else {}
        return {"folder": printable(folder), "groups": groups, "shared": self._shared, **frames}
