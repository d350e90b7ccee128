"""CelebA: 202,599 photos of 10,177 celebrities with 40 attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from forge.core.errors import InputError, quoted
from forge.faces.sources.base import FileSource, existing_folder, find_images

IMAGES, IDENTITIES, ATTRIBUTES = "img_align_celeba", "identity_CelebA.txt", "list_attr_celeba.txt"
HOW = (
    f"get {IMAGES}.zip (unpacked), {IDENTITIES} and {ATTRIBUTES} from "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html into one folder, or where there is a network run: "
    "python -c 'from torchvision.datasets import CelebA; CelebA(\"FOLDER\", download=True)'"
)


class CelebASource(FileSource):
    """CelebA, aligned and cropped, in the layout of `torchvision.datasets.CelebA`, with identities and attributes.

    Nothing is downloaded.

    Args:
        root: the folder with `img_align_celeba/`, or the one above it.

    Raises:
        InputError: a part of CelebA is not there or is not what it should be. Identities are needed: without them a
            person could be in several splits.
    """

    name = "celeba"
    licence = "non-commercial research only; the images are not the property of the data set's authors"
    citation = (
        "Liu, Z., Luo, P., Wang, X. and Tang, X.: Deep Learning Face Attributes in the Wild. ICCV 2015, 3730-3738."
    )

    def __init__(self, root: Path | str | None = None) -> None:
        given = existing_folder(root, source=self.name, how=HOW)
        self.root = given / "celeba" if (given / "celeba" / IMAGES).is_dir() else given
        for part in (IMAGES, IDENTITIES, ATTRIBUTES):
            if not (self.root / part).exists():
                raise InputError(f"source 'celeba': {self.root} has no {part}; {HOW}")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        return any((folder / IMAGES).is_dir() and (folder / IDENTITIES).is_file() for folder in (root, root / "celeba"))

    @cached_property
    def files(self) -> Sequence[str]:
        """The photos on the disk, sorted."""
        return [f"{IMAGES}/{file}" for file in find_images(self.root / IMAGES)]

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]  # a read-only attribute is enough
        """The 40 attributes."""
        return self._values[0]

    def label(self, file: str) -> tuple[str | None, Mapping[str, str]]:
        """Return the person, and "yes" or "no" for each attribute."""
        names, values = self._values
        key = Path(file).name  # label files name photos without their folder
        # a photo without a row has no attributes
        answers = ("yes" if sign > 0 else "no" for sign in values.get(key, b""))
        return self._people.get(key), dict(zip(names, answers, strict=False))

    def label_files(self) -> Sequence[Path]:
        """Return identities and attributes."""
        return [self.root / IDENTITIES, self.root / ATTRIBUTES]

    @cached_property
    def _people(self) -> dict[str, str]:
        path = self.root / IDENTITIES
        people = {}
        for number, line in enumerate(_lines(path), start=1):
            cells = line.split()
            if len(cells) != 2:
                raise InputError(f"{path}, line {number}: {quoted(line[:60])} is not a file and a person")
            people[cells[0]] = cells[1]
        return people

    @cached_property
    def _values(self) -> tuple[list[str], dict[str, bytes]]:
        """Names, and 1 or 0 for each of them, a byte each: 200,000 photos have 8 million values."""
        path = self.root / ATTRIBUTES
        lines = _lines(path)
        names = lines[1].split() if len(lines) > 1 else []  # line 1 is the number of photos, line 2 the names
        values = {}
        for number, line in enumerate(lines[2:], start=3):
            file, *cells = line.split() or [""]  # an empty line fails the next check instead of this one
            if len(cells) != len(names) or not set(cells) <= {"1", "-1"}:
                raise InputError(f"{path}, line {number}: not a file and {len(names)} values of 1 or -1")
            values[file] = bytes(cell == "1" for cell in cells)
        return names, values


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error
