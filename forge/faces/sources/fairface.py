"""FairFace: 108,501 faces with age, gender and race labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from forge.core.errors import InputError
from forge.faces.sources.base import FileSource, existing_folder
from forge.faces.sources.labels import Labels, read_labels

HOW = (
    "get fairface-img-margin025-trainval.zip and the two label files from https://github.com/joojs/fairface and put "
    "train/, val/, fairface_label_train.csv and fairface_label_val.csv into one folder"
)


class FairFaceSource(FileSource):
    """FairFace as its authors publish it: `train/N.jpg`, `val/N.jpg`, `fairface_label_train.csv`, `..._val.csv`.

    Photos of the label files that are present, in their order. There are no identities.

    Source: https://github.com/joojs/fairface, licence CC BY 4.0.

    Args:
        root: the folder.

    Raises:
        InputError: the folder or its label files are not there.
    """

    name = "fairface"
    licence = "CC BY 4.0"
    citation = (
        "Karkkainen, K. and Joo, J.: FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age for Bias "
        "Measurement and Mitigation. WACV 2021, 1548-1558."
    )

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = existing_folder(root, source=self.name, how=HOW)
        if not self.label_files():
            raise InputError(f"source 'fairface': {self.root} has no fairface_label_train.csv; {HOW}")
        self._parts = [read_labels(path) for path in self.label_files()]
        if len({part.columns for part in self._parts}) > 1:
            raise InputError(f"the two label files in {self.root} have different columns")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        return any((root / part).is_dir() and _label_file(root, part).is_file() for part in ("train", "val"))

    @cached_property
    def files(self) -> Sequence[str]:
        """The files of the label files, in their order; those not on the disk are rejected when read."""
        return [file for part in self._parts for file in part.rows]

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]  # a read-only attribute is enough
        """age, gender, race, service_test."""
        return self._parts[0].columns

    def label(self, file: str) -> tuple[str | None, Mapping[str, str]]:
        """No identity, and the labels of a file."""
        part: Labels = next(part for part in self._parts if file in part.rows)
        pairs = zip(part.columns, part.rows[file], strict=True)
        return None, {name: value for name, value in pairs if value is not None}

    def label_files(self) -> Sequence[Path]:
        """Return the label files that are present."""
        return [path for part in ("train", "val") if (path := _label_file(self.root, part)).is_file()]


def _label_file(root: Path, part: str) -> Path:
    return root / f"fairface_label_{part}.csv"
