"""GenImage: a folder per generator, with `nature` and `ai` in each split."""

from __future__ import annotations

import re

from forge.faces.layouts.base import SPLITS, Entry, Label, Layout, TestSet
from forge.faces.layouts.tree import Folder, Tree

# by name and never by order: in the order of the alphabet the forged class comes first
_CLASSES: dict[str, Label] = {"nature": "real", "ai": "forged"}
_PREFIX = re.compile(r"imagenet_(?:ai_)?(?:\d+_)?")


class GenImage(Layout):
    """GenImage (Zhu et al., NeurIPS 2023): `imagenet_ai_NNNN_NAME/{train,val}/{ai,nature}`, a column a generator."""

    title = "GenImage"
    tree = "imagenet_ai_0419_biggan/val/{nature,ai}/*.png"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a split holds a folder `ai` or `nature`."""
        return any(_class_at(folder) is not None for folder in tree)

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the images; the generator is the folder above the split."""
        entries = []
        for folder in tree:
            if not folder.files or (at := _class_at(folder)) is None:
                continue
            parts = folder.parts
            label = _CLASSES[parts[at].lower()]
            subset = _PREFIX.sub("", parts[at - 2], count=1) if at > 1 else None
            split, made_by = SPLITS[parts[at - 1].lower()], subset if label == "forged" else None
            entries += [
                Entry(folder.file(name), label, subset, split=split, generator=made_by) for name in folder.files
            ]
        return TestSet("genimage", tree.root, entries)


def _class_at(folder: Folder) -> int | None:
    """Return which part of a folder's path is its class, below that of a split; None: it has none."""
    parts = [part.lower() for part in folder.parts]
    return next((i for i in range(1, len(parts)) if parts[i] in _CLASSES and parts[i - 1] in SPLITS), None)
