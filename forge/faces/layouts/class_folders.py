"""Folders called after the classes: ForenSynths, AIGIBench, Chameleon and any like them."""

from __future__ import annotations

from forge.faces.layouts.base import SPLITS, Entry, Label, Layout, Split, TestSet
from forge.faces.layouts.tree import Folder, Tree
from forge.faces.sources.classes import class_of


class ClassFolders(Layout):
    """`SET[/CLASS]/{0_real,1_fake}/*`, as CNNDetection's ForenSynths (Wang et al., CVPR 2020) lie; a column a SET.

    Also folders called real and fake, or by other words for the classes (`forge.faces.sources.classes`). A folder
    `train`, `val` or `test` above them is the split. Folders above all the sets, which unpacking makes, do not count.
    A root with one class alone, perhaps said by the root's own name, is a set of that class.
    """

    title = "Folders real and fake"
    tree = "SET[/CLASS]/{0_real,1_fake}/*"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a folder with images below it is called after a class, or the root is."""
        return class_of(tree.root.resolve().name) is not None or any(_sides(tree))

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the images below folders called after a class."""
        sides = list(_sides(tree)) or [([], None, class_of(tree.root.resolve().name), list(tree.folders))]
        wrapping = _shared([above for above, *_ in sides])
        entries = []
        for above, split, label, folders in sides:
            subset = above[wrapping] if len(above) > wrapping else None
            for path in folders:
                folder = tree.folders[path]
                entries += [
                    Entry(
                        folder.file(name),
                        label or "real",
                        subset,
                        split=split,
                        generator=subset if label == "forged" else None,
                        video=_clip(folder),
                    )
                    for name in folder.files
                ]
        return TestSet("class-folders", tree.root, entries)


def _sides(tree: Tree) -> list[tuple[list[str], Split | None, Label | None, list[str]]]:
    """Return for each folder with images below a class's: folders above the class without the split, split, class."""
    sides = []
    for folder in tree:
        if not folder.files:
            continue
        parts = folder.parts
        # the deepest word counts: deepfakes/real holds real images
        at = next((i for i in range(len(parts) - 1, -1, -1) if class_of(parts[i])), None)
        if at is None:
            continue
        above = parts[:at]
        split = next((SPLITS[part.lower()] for part in above if part.lower() in SPLITS), None)
        words = [word for word in parts[at].lower().split("_") if word in SPLITS]
        split = split or (SPLITS[words[0]] if words else None)
        names = [part for part in above if part.lower() not in SPLITS]
        sides.append((names, split, class_of(parts[at]), [folder.path]))
    return sides


def _clip(folder: Folder) -> str | None:
    """Return the clip of the images in a folder: its name below `frames` (UADFV), else None."""
    return folder.path if folder.parts[-2:-1] == ["frames"] else None


def _shared(paths: list[list[str]]) -> int:
    """Return how many folders all paths begin with alike."""
    count = 0
    while all(len(path) > count and path[count] == paths[0][count] for path in paths):
        count += 1
    return count
