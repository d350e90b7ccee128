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
        return any(_class_of(folder) for folder in tree)

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the images; the generator is the folder above the split."""
        entries = []
        for folder in tree:
            if not folder.files or not (label := _class_of(folder)):
                continue
            *above, split, _ = folder.parts
            subset = _PREFIX.sub("", above[-1], count=1) if above else None
            made_by = subset if label == "forged" else None
            entries += [
                Entry(folder.file(name), label, subset, split=SPLITS[split.lower()], generator=made_by)
                for name in folder.files
            ]
        return TestSet("genimage", tree.root, entries)


def _class_of(folder: Folder) -> Label | None:
    parts = folder.parts
    if len(parts) < 2 or parts[-2].lower() not in SPLITS:
        return None
    return _CLASSES.get(parts[-1].lower())
