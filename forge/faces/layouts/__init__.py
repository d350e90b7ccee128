"""Public test sets, recognised by how their folders and lists look."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

from forge.core.errors import InputError
from forge.core.registry import Registry
from forge.faces.layouts.base import Entry, Layout, TestSet
from forge.faces.layouts.tree import Tree
from forge.faces.sources.base import printable

__all__ = ["LAYOUTS", "Entry", "Layout", "TestSet", "recognise"]

# in the order in which they are asked: a layout before those that it could be taken for
_SHIPPED = {
    "manifest": "forge.faces.layouts.manifest:Manifest",
    "faceforensics": "forge.faces.layouts.faceforensics:FaceForensics",
    "celebdf": "forge.faces.layouts.celebdf:CelebDF",
    "dfdc": "forge.faces.layouts.dfdc:DFDC",
    "deepfakebench": "forge.faces.layouts.deepfakebench:DeepfakeBench",
    "genimage": "forge.faces.layouts.genimage:GenImage",
    "kaggle": "forge.faces.layouts.kaggle:Kaggle",
    "class-folders": "forge.faces.layouts.class_folders:ClassFolders",
}
LAYOUTS = Registry("layout", "forge.layouts", dict(_SHIPPED))


def recognise(root: Path) -> TestSet:
    """Recognise the layout of a test set and list its images and videos.

    Args:
        root: its folder.

    Returns:
        The set with its entries sorted by file.

    Raises:
        InputError: there is no such folder, it has no known layout, or a list in it cannot be read.
    """
    root = root.expanduser()
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"test set {printable(str(root))} {state}; give the folder of a test set")
    tree = Tree(root)
    for name in _order():
        layout: type[Layout] = LAYOUTS.load(name)
        if layout.recognises(tree):
            test_set = layout.read(tree)
            entries = sorted(test_set.entries, key=lambda entry: entry.file)
            return replace(test_set, layout=name, title=layout.title, entries=entries, unread=tree.unread)
    raise InputError(
        f"{printable(str(root))} has the layout of no known test set (`bench list layouts`); it holds "
        f"{tree.describe()}. Give two folders as NAME=REAL_DIR,FORGED_DIR, or put manifest.csv with the columns "
        "path,label into it"
    )


def _order() -> list[str]:
    """Return the names of layouts, those of plug-ins first: they know more of their set than a shipped one."""
    return [*sorted(point.name for point in entry_points(group=LAYOUTS.group)), *_SHIPPED]
