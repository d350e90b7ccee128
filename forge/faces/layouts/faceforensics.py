"""FaceForensics++: videos, frames and masks of original and manipulated sequences, with splits by pairs of ids."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forge.core.errors import InputError
from forge.faces.layouts.base import Entry, Label, Layout, Split, TestSet, without_extracted
from forge.faces.layouts.tree import Tree
from forge.faces.sources.base import printable

_SIDES: dict[str, Label] = {"original_sequences": "real", "manipulated_sequences": "forged"}
_ACTORS, _ACTED = "actors", "DeepFakeDetection"  # Google's videos of actors: originals, and forgeries of them
_LISTS: dict[str, Split] = {"train.json": "train", "val.json": "val", "test.json": "test"}


@dataclass(frozen=True, slots=True)
class _File:
    """An image or video below one of the two folders of sequences."""

    path: str
    label: Label
    group: str  # youtube or actors; the method of a forgery
    compression: str
    masks: bool
    clip: str
    frame: str  # name of the image without its ending; "" of a video


class FaceForensics(Layout):
    """FaceForensics++ (Rössler et al., ICCV 2019), as its script or DeepfakeBench leaves it; a column a method.

    Real `000` and forged `000_003` and `003_000` show one person or another's face on them: they are one group.
    Where several compressions are there, each method has a column per compression, with real clips of the same.
    """

    title = "FaceForensics++"
    tree = "{original,manipulated}_sequences/METHOD/c23/{videos,frames,masks}/000_003"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a folder is called `original_sequences` or `manipulated_sequences`."""
        return any(folder.name in _SIDES for folder in tree)

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return frames and videos; a video whose frames are there too is left out.

        Raises:
            InputError: a list of splits is not a list of pairs.
        """
        files = list(_files(tree))
        masks = {(file.group, file.clip, file.frame): file.path for file in files if file.masks and file.frame}
        used = [file for file in files if not file.masks]
        several = len({file.compression for file in used}) > 1
        splits, missing = _splits(tree, {file.clip for file in used})
        people = _people({file.clip for file in used if file.group not in (_ACTORS, _ACTED)})
        columns: dict[str, set[str]] = defaultdict(set)  # compression -> its columns
        for file in used:
            if file.label == "forged":
                columns[file.compression].add(_column(file, several))
        entries = []
        for file in used:
            forged, acted = file.label == "forged", file.group in (_ACTORS, _ACTED)
            identity = f"actor {file.clip.split('_')[0]}" if acted else people[file.clip]
            video = f"{file.group} {file.clip}" if forged else file.clip
            # a clip beside the lists is none of the test
            split = splits.get(file.clip) or ("train" if splits and not acted else None)
            made_by = file.group if forged else None
            mask = masks.get((file.group, file.clip, file.frame)) if forged else None
            entries += [
                Entry(file.path, file.label, column, identity, video, split, made_by, mask)
                for column in _columns_of(file, columns[file.compression], several)
            ]
        entries, notes = without_extracted(entries)
        if not splits:
            notes.append("no train.json, val.json and test.json are there: all clips are one split")
        return TestSet("faceforensics", tree.root, entries, missing=missing, notes=notes)


def _files(tree: Tree) -> Iterator[_File]:
    """Yield the files below both folders of sequences, with what their paths say."""
    for folder in tree:
        side = next((i for i, part in enumerate(folder.parts) if part in _SIDES), None)
        if side is None or len(folder.parts) < side + 2 or not folder.files:
            continue
        label, group = _SIDES[folder.parts[side]], folder.parts[side + 1]
        rest = folder.parts[side + 2 :]
        # compression/videos, compression/frames/CLIP, compression/masks/CLIP, masks/videos
        types = [part for part in rest if part in ("videos", "frames", "masks", "images")]
        compression = next((part for part in rest if part in ("raw", "c0", "c23", "c40")), "")
        below = rest[-1] if rest and rest[-1] not in (*types, compression) else ""
        for name in folder.files:
            stem = name[: name.rfind(".")]
            yield _File(
                folder.file(name),
                label,
                group,
                compression,
                "masks" in types,
                below or stem,
                stem if below else "",
            )


def _column(file: _File, several: bool) -> str:
    return f"{file.group} {file.compression}" if several and file.compression else file.group


def _columns_of(file: _File, columns: set[str], several: bool) -> list[str] | list[None]:
    """Return the columns of a file: of shared real clips none, of several compressions each of its own."""
    if file.label == "forged":
        return [_column(file, several)]
    acted = {column for column in columns if column.split(" ")[0] == _ACTED}
    if file.group == _ACTORS:
        return sorted(acted) or [None]
    return (sorted(columns - acted) or [None]) if several else [None]


def _splits(tree: Tree, clips: set[str]) -> tuple[dict[str, Split], list[str]]:
    """Return clip -> its split, by the lists of pairs, and the listed clips that are not there."""
    splits: dict[str, Split] = {}
    for file in tree.lists(".json"):
        name = file.rpartition("/")[2]
        if name not in _LISTS:
            continue
        pairs = tree.json(file)
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise InputError(
                f"{printable(str(tree.root / file))} must be a list of pairs of ids, e.g. [['000', '003']]; "
                "it gives the splits of FaceForensics++"
            )
        for first, second in ((str(a), str(b)) for a, b in pairs):
            splits |= dict.fromkeys((first, second, f"{first}_{second}", f"{second}_{first}"), _LISTS[name])
    return splits, sorted(clip for clip in splits if "_" not in clip and clips and clip not in clips)


def _people(clips: set[str]) -> Mapping[str, str]:
    """Return clip -> the person: real clips and the forgeries between two of them are one group."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for clip in sorted(clips):
        # the clip's own first id is the person that is shown, the second one gave the face or its expression
        for first, second in itertools.pairwise(clip.split("_")):
            low, high = sorted((root(first), root(second)))
            parent[high] = low
    return {clip: root(clip.split("_")[0]) for clip in clips}
