"""Test sets as layouts describe them: entries with class, subset, person, clip and split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from forge.faces.layouts.tree import Tree
from forge.faces.sources.base import VIDEO_SUFFIXES

Label = Literal["real", "forged"]
Split = Literal["train", "val", "test"]

SPLITS: Mapping[str, Split] = {  # names of folders and of values in lists
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One image or video of a test set.

    Attributes:
        file: relative to the root, POSIX.
        label: its class.
        subset: test column that it belongs to; None: of a real image all columns that have no real images of their
            own (the originals of FaceForensics++), else the only column.
        identity: the person, a unit of the bootstrap.
        video: id of the clip, the second choice of a unit: of a frame the clip it is of, of a video itself.
        split: part of the set that it belongs to.
        generator: what made it.
        mask: image of its altered pixels, relative to the root.
    """

    file: str
    label: Label
    subset: str | None = None
    identity: str | None = None
    video: str | None = None
    split: Split | None = None
    generator: str | None = None
    mask: str | None = None

    @property
    def group(self) -> str | None:
        """Unit of the bootstrap: the person, else the clip; None: the image counts singly."""
        return self.identity or (f"clip {self.video}" if self.video else None)

    @property
    def is_video(self) -> bool:
        """Whether the file is a video."""
        return self.file[self.file.rfind(".") :].lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class TestSet:
    """A recognised test set.

    Attributes:
        layout: registered name.
        title: name for people.
        root: the folder that files are relative to.
        entries: its images and videos, sorted by file.
        missing: files that its lists name and that are not there.
        duplicates: files that its lists name more than once.
        unread: files that look like pictures and are not read: relative path -> reason.
        notes: sentences on what was decided while it was read.
    """

    __test__ = False  # no test case of pytest

    layout: str
    root: Path
    entries: Sequence[Entry]
    title: str = ""
    missing: Sequence[str] = ()
    duplicates: Sequence[str] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def subsets(self) -> list[str]:
        """Return the names of its columns, sorted; none where it is one column."""
        return sorted({entry.subset for entry in self.entries if entry.subset is not None})

    def splits(self) -> list[Split]:
        """Return its splits in the order train, val, test."""
        present = {entry.split for entry in self.entries}
        return [split for split in dict.fromkeys(SPLITS.values()) if split in present]

    @cached_property
    def tested_split(self) -> Split | None:
        """The split that a test uses: test, else val, else train; None: the set has no splits."""
        present = self.splits()
        return next((split for split in ("test", "val", "train") if split in present), None)

    def of_split(self, split: str | None) -> TestSet:
        """Return the entries of one split; entries without a split belong to all. All entries where split is None."""
        if split is None:
            return self
        return replace(self, entries=[entry for entry in self.entries if entry.split in (split, None)])

    def side(self, label: Label, subset: str | None = None) -> list[Entry]:
        """Return the entries of one class in one column, of all splits.

        Args:
            label: the class.
            subset: name of a column; None: all of the class.
        """
        of_class = [entry for entry in self.entries if entry.label == label]
        if subset is None:
            return of_class
        own_reals = [entry for entry in of_class if entry.subset == subset]
        # shared real images, as FaceForensics++ has them, serve the columns that have no others
        return own_reals or [entry for entry in of_class if entry.subset is None and label == "real"]

    def summary(self) -> str:
        """Return what was recognised, of the split that is tested: "GenImage: 2 subsets, 400 real and 400 forged"."""
        tested = self.of_split(self.tested_split)
        # a real clip may stand in several columns
        counts = Counter(label for _, label in {(entry.file, entry.label) for entry in tested.entries})
        names = self.subsets()
        parts = [f"{len(names)} subset{'s' if len(names) != 1 else ''}"] if names else []
        parts.append(f"{counts['real']:,} real and {counts['forged']:,} forged")
        if self.tested_split:
            parts.append(f"split {self.tested_split}")
        return f"{self.title or self.layout}: {', '.join(parts)}"


def without_extracted(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Leave out videos whose frames are there too.

    Args:
        entries: with the clip of each.

    Returns:
        The entries left, and a sentence where videos were left out.
    """
    extracted = {entry.video for entry in entries if not entry.is_video}
    kept = [entry for entry in entries if not (entry.is_video and entry.video in extracted)]
    if dropped := len(entries) - len(kept):
        return kept, [f"{dropped} videos have extracted frames beside them, which are used in their place"]
    return kept, []


class Layout(ABC):
    """A way in which a test set lies on a disk.

    Attributes:
        title: name for people.
        tree: sketch of its folders, for `bench list layouts`.
    """

    title: ClassVar[str]
    tree: ClassVar[str]

    @classmethod
    @abstractmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a tree has this layout; cheap, since all layouts are asked."""

    @classmethod
    @abstractmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the entries of a tree that has this layout.

        Raises:
            InputError: a list of it cannot be read.
        """
