"""DeepfakeBench and DF40: JSON files that list the frames of every clip, by set, class and split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from forge.core.errors import InputError, quoted
from forge.faces.layouts.base import SPLITS, Entry, Label, Layout, TestSet
from forge.faces.layouts.tree import Tree, mapping_of
from forge.faces.sources.base import printable
from forge.faces.sources.classes import class_of

_DEPTH = 7  # of objects between the file and a clip, above all that exist


class DeepfakeBench(Layout):
    """DeepfakeBench (Yan et al., NeurIPS 2023) and DF40: {SET: {CLASS: {split: {[COMPRESSION:] {clip: {label, frames}}}}}}.

    A column a class that is not real, of the JSON file's set. Paths may have backslashes and begin with folders of
    another machine: the longest end that is there counts. Files that are not there, and files listed twice, are counted.
    """  # noqa: E501

    title = "DeepfakeBench"
    tree = "dataset_json/NAME.json, and the frames that it names"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a JSON file lists frames of clips."""
        return any(_first_clip(tree, file) is not None for file in tree.lists(".json"))

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the listed frames.

        Raises:
            InputError: no listed frame is there, or a frame is listed as real and as forged.
        """
        listing = _Listing(tree)
        for file in tree.lists(".json"):
            if _first_clip(tree, file) is not None:
                for path, clip in _clips((), tree.json(file)):
                    listing.add(file, path, clip)
        entries = list(listing.entries.values())
        if not entries:
            raise InputError(
                f"{printable(str(tree.root))} has JSON files in the layout of DeepfakeBench and none of the "
                f"{len(listing.missing):,} files that they name, e.g. {quoted(next(iter(listing.missing), ''))}; give "
                "a folder that holds both"
            )
        return TestSet(
            "deepfakebench", tree.root, entries, missing=list(listing.missing), duplicates=list(listing.duplicates)
        )


@dataclass
class _Listing:
    """The frames of all JSON files of a tree, each once."""

    tree: Tree
    entries: dict[str, Entry] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    duplicates: dict[str, None] = field(default_factory=dict)
    listed: set[tuple[str, str | None, str]] = field(default_factory=set)  # JSON file, split, frame
    skipped: int = 0  # leading folders of listed paths that are not there, as last seen

    def add(self, source: str, path: tuple[str, ...], clip: Mapping[str, Any]) -> None:
        """Add the frames of a clip of a JSON file; `path` holds the keys above it, the last one the clip's id."""
        name = str(clip.get("label", path[1] if len(path) > 1 else ""))
        label: Label = "real" if class_of(name) == "real" else "forged"
        split = next((SPLITS[key.lower()] for key in path[:-1] if key.lower() in SPLITS), None)
        subset = re.sub(r"[_-]fake$", "", name, flags=re.IGNORECASE) if label == "forged" else None
        masks = {_stem(mask): mask for mask in map(str, clip.get("masks") or [])}
        for listed in map(str, clip["frames"]):
            file = self._resolve(listed)
            if file is None:
                self.missing[listed] = None
                continue
            mask = self._resolve(masks[_stem(listed)]) if _stem(listed) in masks else None
            entry = Entry(
                file,
                label,
                subset,
                video=f"{name} {path[-1]}",
                split=split,
                generator=subset,
                mask=mask if label == "forged" else None,
            )
            # real clips stand in the JSON files of all forgeries, and some in every split: once each is no mistake
            if (source, split, file) in self.listed:
                self.duplicates[file] = None
            self.listed.add((source, split, file))
            self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        before = self.entries.setdefault(entry.file, entry)
        if before is entry:
            return
        if before.label != entry.label:
            raise InputError(
                f"{printable(str(self.tree.root / entry.file))} is listed as real and as forged; correct the JSON files"
            )
        # of a clip that stands in several splits that of the test is used
        if entry.split == "test" and before.split != "test":
            self.entries[entry.file] = entry

    def _resolve(self, listed: str) -> str | None:
        """Return the file that a listed path means: its longest end that is there."""
        parts = [part for part in listed.replace("\\", "/").split("/") if part not in ("", ".")]
        # paths of one file begin alike: what was left out last is tried first
        for skipped in (self.skipped, *range(len(parts))):
            file = "/".join(parts[skipped:])
            if file in self.tree.media:
                self.skipped = skipped
                return file
        return None


def _clips(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield the keys above each clip, and the clip."""
    contents = mapping_of(value)
    if isinstance(contents.get("frames"), list):
        yield path, contents
    elif len(path) < _DEPTH:
        for key, inner in contents.items():
            yield from _clips((*path, str(key)), inner)


def _first_clip(tree: Tree, file: str) -> Mapping[str, Any] | None:
    try:
        return next((clip for path, clip in _clips((), tree.json(file)) if len(path) > 2), None)
    except InputError:
        return None  # some other program's JSON


def _stem(path: str) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name
