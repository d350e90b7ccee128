"""Forgeries that are image files: those of a public set or of a folder, their splits, and the choice of some of them.

A split of the set itself is kept where a training can be had from it; otherwise people and clips are divided, each into
one split. A person that real faces of the same run have too is in the split of these, so that no detector is tested on
a person that it learned from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from forge.core.compute import derive_seed
from forge.core.errors import InputError, quoted
from forge.faces.layouts import LAYOUTS, Entry, recognise
from forge.faces.layouts.tree import Tree
from forge.faces.prepare import MIN_IMAGES
from forge.faces.sources.base import FileSource, Item, Source
from forge.faces.sources.folder import LABEL_FILES, FolderSource
from forge.faces.sources.listed import ListedSource
from forge.faces.splits import assign

SPLITS = ("train", "val", "test")
LEAST = 10  # images of each split
_SPARE = 0.1  # share of images beside those asked for, since some files cannot be used


@dataclass(frozen=True)
class ForgedFiles:
    """Forgeries of a folder.

    Attributes:
        source: its files.
        entries: what the layout of a public set says of a file; empty for a plain folder.
        summary: what was recognised, for people.
    """

    source: FileSource
    entries: Mapping[str, Entry]
    summary: str

    @classmethod
    def open(cls, root: Path) -> ForgedFiles:
        """List the forgeries of a public set, or of a folder that holds nothing else.

        Raises:
            InputError: there is no such folder, it holds too few forgeries, or real images in no known layout.
        """
        root = root.expanduser()
        if not root.is_dir():
            state = "is not a folder" if root.exists() else "does not exist"
            raise InputError(f"{root} {state}; name a folder of forgeries or of a public set")
        if _has_layout(root):
            found = recognise(root)
            entries = found.side("forged")
            if found.layout == "class-folders" and len(entries) == len(found.entries) and _has_labels(root):
                return cls._of_folder(root)  # the folder's name says forged, its label file says more
            if not entries:
                raise InputError(f"{root} holds no forgeries ({found.summary()}); name a set that has some")
            source: FileSource = ListedSource(root, entries, unread=found.unread)
            return cls(source, {entry.file: entry for entry in entries}, found.summary())._checked()
        return cls._of_folder(root)

    @classmethod
    def _of_folder(cls, root: Path) -> ForgedFiles:
        folder = FolderSource(root)
        return cls(folder, {}, f"a folder of {len(folder):,} images")._checked()

    def _checked(self) -> ForgedFiles:
        if len(self.source) < MIN_IMAGES:
            unread = f"; {len(self.source.unread)} more are not read" if self.source.unread else ""
            raise InputError(
                f"{self.source.root} holds {len(self.source)} forgeries; at least {MIN_IMAGES} are needed{unread}"
            )
        return self

    def _entry(self, file: str) -> Entry | None:
        return self.entries.get(file.partition("#")[0])  # of a frame "clip.mp4#000123" that of its video

    @cached_property
    def groups(self) -> list[str | None]:
        """Person or clip of each file, None where unknown."""
        if not self.entries:
            return [self.source.label(file)[0] for file in self.source.files]
        return [entry.group if (entry := self._entry(file)) else None for file in self.source.files]

    @cached_property
    def splits(self) -> list[str | None]:
        """Split of each file by the set itself, None where it has none."""
        return [entry.split if (entry := self._entry(file)) else None for file in self.source.files]

    @property
    def has_masks(self) -> bool:
        """Whether the layout names a mask of each file; a mask of a video is a video too, of which none is read."""
        return bool(self.entries) and all(entry.mask and not entry.is_video for entry in self.entries.values())

    def with_masks(self) -> ForgedFiles:
        """Return the same forgeries with the masks of their altered pixels; only where there are any."""
        source = ListedSource(self.source.root, list(self.entries.values()), unread=self.source.unread, masked=True)
        return replace(self, source=source, summary=f"{self.summary}, with masks")

    @property
    def names_people(self) -> bool:
        """Whether any file is of a known person or clip."""
        return any(group is not None for group in self.groups)

    def chosen(self, name: str, counts: Mapping[str, int], seed: int, known: Mapping[str, str]) -> ChosenFiles:
        """Choose files of each split at random.

        Args:
            name: of the generator that they stand for.
            counts: images of each of the splits train, val and test.
            seed: of the division and of the choice.
            known: person -> split of the real faces; `forge` counts as train.

        Raises:
            InputError: fewer than ten files in a split, or fewer people than splits.
        """
        split = np.array(divide(self.splits, self._units(), counts, seed=seed, known=known))
        positions: dict[int, str] = {}
        for each in SPLITS:
            pool = np.flatnonzero(split == each)
            refuse_few(name, each, len(pool), str(self.source.root))
            wanted = min(len(pool), counts[each] + LEAST + int(counts[each] * _SPARE))
            drawn = np.random.default_rng(derive_seed(seed, "files", each)).permutation(pool)[:wanted]
            positions |= dict.fromkeys(drawn.tolist(), each)
        return ChosenFiles(name, self.source, dict(sorted(positions.items())))

    def _units(self) -> list[str]:
        return [group or file for group, file in zip(self.groups, self.source.files, strict=True)]


class ChosenFiles(Source):
    """Some files of a source, each with its split.

    Args:
        generator: that they stand for.
        source: all files.
        splits: position in the source -> split, in the order in which they are read.
    """

    name = "forged"

    def __init__(self, generator: str, source: FileSource, splits: Mapping[int, str]) -> None:
        self._generator, self._source, self._positions = generator, source, list(splits)
        self.licence, self.citation, self.attributes = source.licence, source.citation, source.attributes
        self.dedupe, self.masked, self.has_videos = source.dedupe, source.masked, source.has_videos
        self.assigned = list(splits.values())

    def __len__(self) -> int:
        return len(self._positions)

    def chunk(self, positions: Sequence[int]) -> Iterable[Item]:
        """Return the items; one of no known person is a unit of its own, the same in repetitions of a run."""
        items = self._source.chunk([self._positions[position] for position in positions])
        # forgeries of other seeds are otherwise other images, and these are the same files
        return [item if item.identity else replace(item, identity=f"{self._generator}/{item.file}") for item in items]

    def fingerprint(self) -> str:
        """Return that of all files."""
        return self._source.fingerprint()

    def settings(self) -> dict[str, Any]:
        """Return those of the source."""
        return self._source.settings()


def divide(
    own: Sequence[str | None],
    units: Sequence[str],
    counts: Mapping[str, int],
    *,
    seed: int,
    known: Mapping[str, str],
) -> list[str]:
    """Assign files to the splits train, val and test.

    Own splits are kept where there is one to train on; of a set that has no test split its val split is the test, as
    GenImage's is, and a missing val split is taken from train. A set of one split is divided as one of none.

    Args:
        own: split of each file by the set itself; None: it has none.
        units: person or clip of each file, which is in one split.
        counts: images of each split, for the shares of what is divided.
        seed: of the division.
        known: unit -> split of the real faces, which wins; `forge` counts as train.

    Raises:
        InputError: fewer units than splits.
    """
    whole = _divided(units, SPLITS, counts, seed) if _is_divided_anew(own) else None
    split = list(own) if whole is None else list[str | None](whole)
    if whole is None:
        present = {each for each in own if each}
        if "test" not in present:  # train and val: val becomes the test
            split = ["test" if each == "val" else each for each in split]
        if not {"val", "train"} <= {each for each in split if each}:
            # one of both is missing: the other one is divided
            at = [number for number, each in enumerate(split) if each in ("train", "val")]
            for number, each in zip(at, _divided([units[n] for n in at], ("train", "val"), counts, seed), strict=True):
                split[number] = each
        if rest := [number for number, each in enumerate(split) if each is None]:
            for number, each in zip(rest, _divided([units[n] for n in rest], SPLITS, counts, seed), strict=True):
                split[number] = each
    of_reals = {unit: "train" if each == "forge" else each for unit, each in known.items()}
    return [of_reals.get(unit, str(each)) for unit, each in zip(units, split, strict=True)]


def _is_divided_anew(own: Sequence[str | None]) -> bool:
    return len({each for each in own if each}) < 2


def _divided(units: Sequence[str], splits: Sequence[str], counts: Mapping[str, int], seed: int) -> list[str]:
    keys, groups = np.unique(np.array(units, dtype=str), return_inverse=True)
    total = sum(counts[each] for each in splits)
    fractions = {each: counts[each] / total for each in splits}
    return [str(each) for each in assign(groups.astype(np.int64), keys.tolist(), fractions, seed=seed)]


def refuse_few(
    name: str, split: str, images: int, where: str, rejected: Mapping[str, int] = MappingProxyType({})
) -> None:
    """Refuse a split with fewer than ten forgeries.

    Args:
        name: of the generator that they stand for.
        split: its name.
        images: that can be used.
        where: the folder.
        rejected: reason -> files that cannot.

    Raises:
        InputError: it has fewer.
    """
    if images < LEAST:
        why = ", ".join(f"{number} {reason}" for reason, number in rejected.items())
        raise InputError(
            f"forged {quoted(name)}: {images} usable images for split {split} in {where}, at least {LEAST} are needed "
            f"in each of train, val and test{f'; of all that were read are not used: {why}' if why else ''}; give a "
            "larger set"
        )


def _has_layout(root: Path) -> bool:
    tree = Tree(root)
    return any(LAYOUTS.load(name).recognises(tree) for name in LAYOUTS.names())


def _has_labels(root: Path) -> bool:
    return any((root / name).is_file() for name in LABEL_FILES)
