"""A folder of altered photos with a mask of each: a folder of masks, or a column of the label file that names them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from forge.core.errors import MOST_QUOTED, InputError, UnknownNameError, quoted
from forge.faces.imaging.decode import Unusable, read_bytes, upright_size
from forge.faces.imaging.masks import read_mask
from forge.faces.sources.base import Item, existing_folder, find_images, printable
from forge.faces.sources.folder import FolderSource
from forge.faces.sources.labels import canonical

COLUMN = "column:"  # prefix of a column of the label file, in place of a folder of masks
SUFFIXES = ("_mask", "_gt")  # that the name of a mask may have behind that of its photo


class MaskedFolder(FolderSource):
    """A folder of photos, each with a mask of its altered pixels.

    Args:
        root: the folder of photos.
        masks: folder of the masks, each called like its photo but for the ending and `_mask` or `_gt` before it; or
            `column:NAME`, a column of the photos' label file with paths relative to the folder of photos.

    Raises:
        InputError: a folder is not there; masks among the photos; a photo without a mask, or with two; a mask without
            a photo.
    """

    masked = True

    def __init__(self, root: Path | str, masks: Path | str) -> None:
        super().__init__(root)
        self._given = str(masks)
        self.masks: Mapping[str, Path] = self._by_column() if self._given.startswith(COLUMN) else self._by_name()

    def _item(self, file: str) -> Item:
        return replace(super()._item(file), mask=os.fspath(self.masks[file]))

    def label_files(self) -> Sequence[Path]:
        """Return the label file and the masks, whose contents belong to the fingerprint."""
        return [*super().label_files(), *(self.masks[file] for file in self.files)]

    def check(self, positions: Sequence[int]) -> None:
        """Read the masks of some photos.

        Raises:
            InputError: a mask of another size than its photo, grey, in colour, transparent, or no image.
        """
        refused = []
        for item in self.chunk(positions):
            try:
                size = upright_size(item.read())
            except Unusable:
                continue  # a photo that cannot be read drops its mask
            if size is not None and (why := self._problem(item, size)):
                refused.append((str(item.mask), why))
        refuse_masks(refused)

    @staticmethod
    def _problem(item: Item, size: tuple[int, int]) -> str:
        try:
            read_mask(read_bytes(str(item.mask)), size)
        except Unusable as verdict:
            return verdict.detail or verdict.reason
        return ""

    @cached_property
    def _stems(self) -> dict[str, str]:
        """Name of a photo without its ending -> its file."""
        stems: dict[str, str] = {}
        for file in self.files:
            stem = _stem(file)
            if stem in stems:
                raise InputError(
                    f"{self.root} holds {printable(stems[stem])} and {printable(file)}, which would have one mask; "
                    "rename one"
                )
            stems[stem] = file
        return stems

    def _by_name(self) -> dict[str, Path]:
        folder = existing_folder(self._given, source="masks", how="name a folder of masks")
        inside, outside = folder.resolve(), self.root.resolve()
        if inside == outside or outside in inside.parents:
            raise InputError(
                f"masks {folder} lie inside {self.root}, where they would be taken for photos; move them beside it"
            )
        images = find_images(folder)
        files = {_stem(file): file for file in images}
        if len(files) < len(images):
            raise InputError(f"{folder} holds two masks of one name with different endings; keep one")
        matched: dict[str, Path] = {}
        # equal names first, so that the mask of a photo called a_mask is not taken for one of a photo called a
        taken = {stem for stem in self._stems if stem in files}
        for stem, file in self._stems.items():
            fitting = [stem] if stem in files else [f"{stem}{end}" for end in SUFFIXES if f"{stem}{end}" in files]
            fitting = [name for name in fitting if name == stem or name not in taken]
            if len(fitting) != 1:
                raise InputError(_unmatched(printable(file), stem, folder, fitting, files))
            matched[file] = folder / files[fitting[0]]
        if rest := sorted(set(files.values()) - {str(path.relative_to(folder)) for path in matched.values()}):
            raise InputError(
                f"{folder} holds {len(rest)} masks of no photo in {self.root}, the first is {printable(rest[0])}; "
                "remove them, or add their photos"
            )
        return matched

    def _by_column(self) -> dict[str, Path]:
        column = self._given.removeprefix(COLUMN)
        if self._labels is None:
            raise InputError(f"{self._given} needs labels.csv in {self.root}, with the columns file and {column}")
        if column not in self._labels.columns:
            raise UnknownNameError(f"column of {self._labels.path}", column, self._labels.columns)
        at = self._labels.columns.index(column)
        matched = {}
        for file in self.files:
            row = self._labels.rows.get(canonical(printable(file)))
            if row is None or row[at] is None:
                raise InputError(f"{self._labels.path}: {printable(file)} has no mask in column {quoted(column)}")
            matched[file] = self.root / str(row[at])
            if Path(str(row[at])).is_absolute():
                raise InputError(f"{self._labels.path}: mask {quoted(str(row[at]))} must be relative to {self.root}")
            if not matched[file].is_file():
                raise InputError(f"{self._labels.path}: the mask of {printable(file)}, {matched[file]}, is not there")
        among = {self.root / file for file in self.files} & set(matched.values())
        if among:
            raise InputError(
                f"{self._labels.path}: mask {sorted(among)[0]} is among the photos; move masks beside them"
            )
        return matched


def _stem(file: str) -> str:
    path = PurePosixPath(canonical(printable(file)))
    return str(path.with_name(path.stem))


def _unmatched(photo: str, stem: str, folder: Path, fitting: Sequence[str], files: Mapping[str, str]) -> str:
    """Return the sentence on a photo that has no mask, or two."""
    if fitting:
        both = " and ".join(printable(files[name]) for name in fitting)
        return f"photo {photo} has two masks in {folder}: {both}; keep one"
    expected = ", ".join(f"{stem}{end}.png" for end in ("", *SUFFIXES))
    near = difflib.get_close_matches(stem, list(files), 1)
    nearest = f"; the nearest name there is {printable(files[near[0]])}" if near else ""
    return f"photo {photo} has no mask in {folder}: expected {expected} (or another ending){nearest}; rename the mask"


def refuse_masks(refused: Sequence[tuple[str, str]]) -> None:
    """Raise an error on masks that cannot be used.

    Args:
        refused: path of a mask, and why.

    Raises:
        InputError: there are any.
    """
    if refused:
        file, why = refused[0]
        more = f"; {len(refused) - 1} more masks are refused" if len(refused) > 1 else ""
        # of a long path its end: the name of the file
        shown = file if len(file) <= MOST_QUOTED else f"…{file[-MOST_QUOTED:]}"
        raise InputError(f"mask {printable(shown)}: {why}{more}")
