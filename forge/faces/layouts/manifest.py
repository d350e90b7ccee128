"""A manifest: a table with a row per file, for sets that have no other known layout."""

from __future__ import annotations

from collections import Counter
from functools import cache, cached_property

from forge.core.errors import InputError, quoted
from forge.faces.layouts.base import SPLITS, Entry, Label, Layout, Split, TestSet
from forge.faces.layouts.table import Rows, read_table
from forge.faces.layouts.tree import Tree
from forge.faces.sources.base import printable, unread
from forge.faces.sources.classes import class_of
from forge.faces.sources.labels import canonical

NAMES = ("manifest.csv", "manifest.parquet")
_NUMBERS: dict[str, Label] = {"0": "real", "1": "forged", "false": "real", "true": "forged"}
_CONTRADICTED = 0.9  # share of files whose folders say the other class from which labels are taken as exchanged


class Manifest(Layout):
    """`manifest.csv` or `manifest.parquet`: path, label, and perhaps subset, generator, identity, video, mask, split.

    Labels are words (real, fake, forged …) or 0 (real) and 1 (forged). Columns are those of `subset`, else of
    `generator`. Paths are relative to the manifest's folder.
    """

    title = "Manifest"
    tree = "manifest.csv with the columns path,label[,subset,generator,identity,video,mask,split]"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a manifest lies at the top."""
        return any(name in tree.folders[""].lists for name in NAMES)

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the listed files.

        Raises:
            InputError: two manifests; no column path or label; a label or split that is none; a path outside the
                folder; a file listed as real and as forged; labels that the folders' names contradict; none is there.
        """
        present = [name for name in NAMES if name in tree.folders[""].lists]
        if len(present) > 1:
            raise InputError(f"{printable(str(tree.root))} has both {NAMES[0]} and {NAMES[1]}; keep one")
        path = tree.root / present[0]
        name, rows = printable(str(path)), read_table(path)
        for column in ("path", "label"):
            if column not in rows.columns:
                given = ", ".join(map(quoted, rows.columns)) or "none"
                raise InputError(f"{name} has no column {column!r}; its columns are: {given}")
        reader = _Reader(tree, name)
        for number, row in enumerate(rows.rows, start=2):
            reader.add(number, row)
        reader.check(rows)
        return TestSet(
            "manifest",
            tree.root,
            list(reader.entries.values()),
            missing=reader.missing,
            duplicates=reader.duplicates,
            notes=reader.notes,
        )


class _Reader:
    """Rows of a manifest as entries.

    Attributes:
        entries: file -> its entry.
        missing, duplicates: files, as the manifest spells them.
    """

    def __init__(self, tree: Tree, name: str) -> None:
        self.tree, self.name = tree, name
        self.entries: dict[str, Entry] = {}
        self.missing: list[str] = []
        self.duplicates: list[str] = []
        self.notes: list[str] = []

    @cached_property
    def _by_spelling(self) -> dict[str, str]:
        """Canonical spelling of a path -> file; asked only for paths that are not spelled as on the disk."""
        return {canonical(file): file for file in self.tree.media}

    def _file(self, given: str, where: str) -> str | None:
        """Return the file that a path means; None: it is not there."""
        plain = given.replace("\\", "/")
        if plain in self.tree.media:
            return plain
        return self._by_spelling.get(self._inside(given, where))

    def add(self, number: int, row: dict[str, str]) -> None:
        """Add a row."""
        where = f"{self.name}, row {number}"
        label = _label(row["label"], where)
        file = self._file(row["path"], where)
        if file is None:
            self.missing.append(row["path"])
            return
        entry = Entry(
            file,
            label,
            row.get("subset") or (row.get("generator") if label == "forged" else None) or None,
            identity=row.get("identity") or None,
            video=row.get("video") or None,
            split=_split(row.get("split", ""), where),
            generator=(row.get("generator") or None) if label == "forged" else None,
            mask=self._mask(row.get("mask", ""), where),
        )
        before = self.entries.setdefault(file, entry)
        if before is not entry:
            if before.label != label:
                raise InputError(f"{where}: {quoted(row['path'])} is {label} here and {before.label} above; keep one")
            self.duplicates.append(row["path"])

    def _inside(self, given: str, where: str) -> str:
        path = canonical(given)
        if not given or path == "." or path.startswith("/") or path.split("/")[0] == ".." or path[1:2] == ":":
            raise InputError(f"{where}: path {quoted(given)} must name a file inside {printable(str(self.tree.root))}")
        return path

    def _mask(self, given: str, where: str) -> str | None:
        if not given:
            return None
        file = self._file(given, where)
        if file is None:
            raise InputError(f"{where}: the mask {quoted(given)} is not there")
        return file

    def check(self, rows: Rows) -> None:
        """Refuse a manifest without any of its files, or whose labels contradict the names of folders.

        Raises:
            InputError: as said.
        """
        if not self.entries:
            first = self.missing[0] if self.missing else ""
            reason = unread(first) or "not there; paths are relative to the manifest's folder, with / or \\"
            raise InputError(
                f"{self.name} lists {len(rows.rows)} files and none is usable: "
                + (f"{quoted(first)} is {reason}" if first else "it has no rows")
            )
        pairs = Counter((_by_folders(entry.file.rpartition("/")[0]), entry.label) for entry in self.entries.values())
        exchanged = pairs["real", "forged"] + pairs["forged", "real"]
        judged = exchanged + pairs["real", "real"] + pairs["forged", "forged"]
        if judged and exchanged >= _CONTRADICTED * judged:
            raise InputError(
                f"{self.name}: labels are the wrong way round, {exchanged} of {judged} files lie in folders whose "
                "names say the other class; 0 is real and 1 is forged here, or write the words real and forged"
            )


def _label(given: str, where: str) -> Label:
    label = _class_of(given.lower())
    if label is None:
        raise InputError(f"{where}: label {quoted(given)} must be real or forged (or fake), or 0 (real) or 1 (forged)")
    return label


@cache
def _class_of(word: str) -> Label | None:
    return _NUMBERS.get(word.removesuffix(".0")) or class_of(word)


def _split(given: str, where: str) -> Split | None:
    if given and given.lower() not in SPLITS:
        raise InputError(f"{where}: split {quoted(given)} must be train, val or test")
    return SPLITS.get(given.lower())


@cache
def _by_folders(folder: str) -> Label | None:
    """Return the class that a folder's name says, or else that of the next one above it, if any does."""
    classes = (class_of(name) for name in reversed(folder.split("/")))
    return next((label for label in classes if label), None)
