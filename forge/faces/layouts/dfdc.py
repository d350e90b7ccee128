"""DFDC: videos in parts, each with a `metadata.json` that labels them; its preview and its test set too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.core.errors import InputError, quoted
from forge.faces.layouts.base import SPLITS, Entry, Label, Layout, TestSet, without_extracted
from forge.faces.layouts.table import read_table
from forge.faces.layouts.tree import Folder, Tree, mapping_of
from forge.faces.sources.base import printable

_LISTS = ("metadata.json", "dataset.json")  # of a part, and of the whole preview
_TEST = "labels.csv"  # of the test set: filename, label
_LABELS: dict[str, Label] = {"REAL": "real", "FAKE": "forged", "0": "real", "1": "forged"}


class DFDC(Layout):
    """Deepfake Detection Challenge (Dolhansky et al., 2020): `metadata.json` as {file: {label, split, original}}.

    A forgery and the real video that it was made from are one group. Frames may lie in a folder called like their
    video without its ending, beside it or in `frames`. The preview has one `dataset.json`, the test a `labels.csv`.
    """

    title = "DFDC"
    tree = "dfdc_train_part_0/*.mp4, dfdc_train_part_0/metadata.json"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a list labels videos."""
        return any(True for _ in _lists(tree))

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the labelled videos, or their frames.

        Raises:
            InputError: a label is neither REAL nor FAKE.
        """
        entries: list[Entry] = []
        missing: list[str] = []
        for file, videos in _lists(tree):
            base = file.rpartition("/")[0]
            for video, facts in videos.items():
                path = f"{base}/{video}" if base else video
                files = _files(tree, path)
                if not files:
                    missing.append(path)
                entries += _entries(files, video, mapping_of(facts), str(tree.root / file))
        entries, notes = without_extracted(entries)
        return TestSet("dfdc", tree.root, entries, missing=missing, notes=notes)


def _lists(tree: Tree) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each list of videos: its file, and video -> what it says of it."""
    for folder in tree:
        for name in folder.lists:
            file = folder.file(name)
            if name in _LISTS:
                try:
                    videos = mapping_of(tree.json(file))
                except InputError:
                    continue  # some other program's
                first = next(iter(videos.values()), None)
                if "label" in mapping_of(first):
                    yield file, videos
            elif name == _TEST:
                table = read_table(tree.root / file)
                if {"filename", "label"} <= set(table.columns):
                    yield file, {row["filename"]: {"label": row["label"], "split": "test"} for row in table.rows}


def _files(tree: Tree, path: str) -> list[str]:
    """Return the video of a path, if it is there, and its frames."""
    base, _, name = path.rpartition("/")
    part = path.partition("/")[0]
    files = [path] if path in tree.media else []
    # beside the video, in `frames` beside it, and in `frames` of the preview's part
    for above in dict.fromkeys((base, f"{base}/frames".lstrip("/"), f"{part}/frames")):
        frames = tree.folders.get(f"{above}/{_stem(name)}".lstrip("/"), Folder(""))
        files += [frames.file(frame) for frame in frames.files]
    return files


def _entries(files: list[str], video: str, facts: Mapping[str, Any], where: str) -> list[Entry]:
    label = _LABELS.get(str(facts.get("label", "")).upper())
    if label is None:
        raise InputError(
            f"{printable(where)}: the label of {quoted(video)} is {quoted(facts.get('label'))}; it must be REAL or FAKE"
        )
    clip = _stem(video)
    original = facts.get("original")
    split = SPLITS.get(str(facts.get("split") or facts.get("set") or "").lower())
    made_by = "DFDC" if label == "forged" else None
    identity = f"original {_stem(str(original)) if original else clip}"
    return [Entry(file, label, identity=identity, video=clip, split=split, generator=made_by) for file in files]


def _stem(video: str) -> str:
    return video.rpartition(".")[0] or video
