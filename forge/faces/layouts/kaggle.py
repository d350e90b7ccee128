"""Sets of Kaggle: folders of real and fake images in splits, perhaps with CSV files that list them."""

from __future__ import annotations

from forge.core.errors import InputError, quoted
from forge.faces.layouts.base import SPLITS, Entry, Label, Layout, Split, TestSet
from forge.faces.layouts.table import Rows, read_table
from forge.faces.layouts.tree import Folder, Tree
from forge.faces.sources.base import printable
from forge.faces.sources.classes import class_of

_CLASSES: dict[str, Label] = {"real": "real", "fake": "forged"}
_LABELS: dict[str, Label] = {"1": "real", "0": "forged"}  # of the CSV files: not as in a manifest


class Kaggle(Layout):
    """The set "140k real and fake faces" and its kin: `{train,valid,test}/{real,fake}/*`, or `training_{real,fake}/*`.

    CSV files (`train.csv`, `valid.csv`, `test.csv` with the columns path, label and perhaps label_str and split) label
    files whose folders do not; a label of 1 is real there.
    """

    title = "Kaggle real and fake faces"
    tree = "real_vs_fake/real-vs-fake/{train,valid,test}/{real,fake}/*.jpg"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a split holds `real` or `fake`, or CSV files called like splits list files."""
        return any(_class_of(folder) for folder in tree) or any(True for _ in _tables(tree))

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the images of both classes.

        Raises:
            InputError: a CSV file contradicts the folders, or has a label that is none.
        """
        entries: dict[str, Entry] = {}
        for folder in tree:
            if place := _class_of(folder):
                label, split = place
                for name in folder.files:
                    entries[folder.file(name)] = Entry(folder.file(name), label, split=split)
        missing: list[str] = []
        for file, rows in _tables(tree):
            base, _, name = file.rpartition("/")
            of_table: Split | None = SPLITS.get(name.rpartition(".")[0].lower())
            for number, row in enumerate(rows.rows, start=2):
                label = _label(row, f"{printable(str(tree.root / file))}, row {number}")
                path = _there(tree, base, row["path"])
                if path is None:
                    missing.append(row["path"])
                    continue
                if path in entries and entries[path].label != label:
                    raise InputError(
                        f"{printable(str(tree.root / file))}, row {number}: {printable(path)} is {label} and lies in a "
                        f"folder of {entries[path].label} images; a label of 1 is real in such files"
                    )
                named = SPLITS.get(row.get("split", "").lower()) or of_table
                entries.setdefault(path, Entry(path, label, split=named))
        return TestSet("kaggle", tree.root, list(entries.values()), missing=missing)


def _class_of(folder: Folder) -> tuple[Label, Split] | None:
    """Return class and split of the images in a folder, by its name and that of the one above."""
    if not folder.files:
        return None
    above, name = ["", "", *(part.lower() for part in folder.parts)][-2:]
    first, _, rest = name.partition("_")
    if name in _CLASSES and above in SPLITS:
        return _CLASSES[name], SPLITS[above]
    if first in SPLITS and rest in _CLASSES:
        return _CLASSES[rest], SPLITS[first]
    return None


def _tables(tree: Tree) -> list[tuple[str, Rows]]:
    """Return the CSV files called like splits that have the columns path and label."""
    tables = []
    for file in tree.lists(".csv"):
        if file.rpartition("/")[2].rpartition(".")[0].lower() in SPLITS:
            rows = read_table(tree.root / file)
            if {"path", "label"} <= set(rows.columns):
                tables.append((file, rows))
    return tables


def _label(row: dict[str, str], where: str) -> Label:
    word = class_of(row.get("label_str", "")) or class_of(row["label"])
    label = word or _LABELS.get(row["label"].removesuffix(".0"))
    if label is None:
        raise InputError(f"{where}: label {quoted(row['label'])} must be 1 or real, 0 or fake")
    return label


def _there(tree: Tree, base: str, listed: str) -> str | None:
    """Return the file that a path of a CSV file means: below the file's folder, or below a folder beside it."""
    path = listed.strip().replace("\\", "/").removeprefix("./")
    inner = [f"{base}/{name}" if base else name for name in tree.folders[base].folders]
    inner += [f"{outer}/{name}" for outer in inner for name in tree.folders.get(outer, Folder("")).folders]
    candidates = (f"{folder}/{path}" if folder else path for folder in (base, *inner))
    return next((file for file in candidates if file in tree.media), None)
