"""A folder of images, with or without labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from forge.core.errors import InputError, quoted
from forge.faces.sources.base import FileSource, Item, existing_folder, find_images, find_unread, printable
from forge.faces.sources.clips import CLIP, FRAMES, can_read_videos, check_frames, expanded, file_of, is_video, item_of
from forge.faces.sources.labels import Labels, canonical, read_labels

LABEL_FILES = ("labels.csv", "labels.parquet")
IDENTITY_COLUMN = "identity"


class FolderSource(FileSource):
    """Any folder of images and its sub-folders.

    `labels.csv` or `labels.parquet` in it may label the files: a column `file` (relative to the folder), perhaps a
    column `identity`, and any others. Files without a row have no labels.

    Args:
        root: the folder.
        identities: "labels" takes persons from the column `identity`; "folders" takes the first sub-folder's name.
        licence: of the images.
        citation: how to cite them.
        frames: frames that are read of each video, evenly spaced in time; those of a clip are one group.

    Raises:
        InputError: the folder is not there, the labels are wrong or name files that are not there, or frames is no
            number from 1 to 1,000.
    """

    name = "folder"

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        identities: Literal["labels", "folders"] = "labels",
        licence: str = "not stated",
        citation: str = "",
        frames: int = FRAMES,
    ) -> None:
        self.root = existing_folder(root, source=self.name, how="name a folder of images")
        if identities not in ("labels", "folders"):
            raise InputError(f"identities {quoted(identities)} is not known; use labels or folders")
        self.identities, self.licence, self.citation = identities, licence, citation
        self.frames = check_frames(frames)
        self._labels = self._read_labels()

    @cached_property
    def files(self) -> Sequence[str]:
        """All images below the folder, sorted; of a video its frames."""
        images = find_images(self.root)
        if not self._videos:
            return images
        return expanded(sorted([*images, *self._videos], key=os.fsencode), self.frames)

    @cached_property
    def unread(self) -> Mapping[str, str]:
        """Pictures and videos below the folder that are not read: relative path -> reason."""
        unread = find_unread(self.root)
        return {file: why for file, why in unread.items() if not (is_video(file) and can_read_videos())}

    @cached_property
    def _videos(self) -> Sequence[str]:
        return [file for file in find_unread(self.root) if is_video(file)] if can_read_videos() else []

    @property
    def has_videos(self) -> bool:  # type: ignore[override]  # a read-only attribute is enough
        """Whether any file is a video that is read."""
        return bool(self._videos)

    @property
    def dedupe(self) -> bool:  # type: ignore[override]  # a read-only attribute is enough
        """Whether images that look the same are copies: not among the frames of a clip."""
        return not self._videos

    def _item(self, file: str) -> Item:
        identity, labels = self.label(file_of(file))
        attributes = {CLIP: printable(file_of(file)), **labels} if is_video(file_of(file)) else labels
        return item_of(file, Item(printable(file), os.fspath(self.root / file_of(file)), identity, attributes))

    def _stored(self) -> Iterable[str]:
        return dict.fromkeys(map(file_of, self.files))

    @cached_property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]  # a read-only attribute is enough
        """The label columns but `file` and `identity`; with videos also `clip`."""
        labels = [name for name in self._labels.columns if name != IDENTITY_COLUMN] if self._labels else []
        return labels + [CLIP] * bool(self._videos and CLIP not in labels)

    def label(self, file: str) -> tuple[str | None, Mapping[str, str]]:
        """Return the identity and attributes of a file."""
        values: dict[str, str] = {}
        # label files may spell paths of another system
        if self._labels and (row := self._labels.rows.get(canonical(printable(file)))):
            values = {name: value for name, value in zip(self._labels.columns, row, strict=True) if value is not None}
        identity = values.pop(IDENTITY_COLUMN, None)
        if self.identities == "folders":
            parts = Path(printable(file)).parts
            identity = parts[0] if len(parts) > 1 else None  # a photo beside the folders is of no known person
        return identity, values

    def label_files(self) -> Sequence[Path]:
        """Return the label file."""
        return [self._labels.path] if self._labels else []

    def settings(self) -> dict[str, Any]:
        """Folder name and where identities come from; where there are videos also how many frames are read of each."""
        frames = {"frames": self.frames} if self._videos else {}
        return {**super().settings(), "identities": self.identities, **frames}

    def _read_labels(self) -> Labels | None:
        present = [self.root / name for name in LABEL_FILES if (self.root / name).is_file()]
        if len(present) > 1:
            raise InputError(f"{self.root} has both {LABEL_FILES[0]} and {LABEL_FILES[1]}; keep one")
        if not present:
            return None
        labels = read_labels(present[0])
        # rows without a file are an error: a typing mistake would else leave photos without labels unnoticed
        there = {canonical(printable(file)) for file in self._stored()}
        absent = [file for file in labels.rows if file not in there]
        if absent:
            raise InputError(
                f"{labels.path} names {len(absent)} of {len(labels.rows)} files that are no images in {self.root}, "
                f"the first is {quoted(absent[0])}; correct the column 'file' or remove these rows"
            )
        return labels
