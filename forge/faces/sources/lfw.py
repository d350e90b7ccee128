"""Labeled Faces in the Wild: 13,233 photos of 5,749 people."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from forge.core.errors import InputError
from forge.faces.sources.base import FileSource, existing_folder, find_images, is_folder, printable

HOW = (
    "download https://ndownloader.figshare.com/files/5976015 (lfw-funneled.tgz, 233 MB) and unpack it there, or where "
    "there is a network run: python -c 'from sklearn.datasets import fetch_lfw_people as f; f()'"
)
_FOLDERS = ("", "lfw_home", "lfw_funneled", "lfw-funneled", "lfw-deepfunneled", "lfw")
_MOST_FOLDERS_TRIED = 50


class LFWSource(FileSource):
    """LFW in colour at 250 x 250, `Name_Name/Name_Name_0001.jpg`, with identities.

    By default where scikit-learn's `fetch_lfw_people` puts it. Its files are read as they are: what that function
    returns is cropped, resampled and no longer JPEG. Nothing is downloaded.

    Args:
        root: the folder with the people's folders, or one above it.

    Raises:
        InputError: LFW is not there.
    """

    name = "lfw"
    licence = "for research; the photos are from news sites and their rights remain with their owners"
    citation = (
        "Huang, G. B., Ramesh, M., Berg, T. and Learned-Miller, E.: Labeled Faces in the Wild: A Database for Studying "
        "Face Recognition in Unconstrained Environments. University of Massachusetts, Amherst, TR 07-49, 2007."
    )
    attributes: Sequence[str] = ()

    def __init__(self, root: Path | str | None = None) -> None:
        above = existing_folder(_default_root() if root is None else root, source=self.name, how=HOW)
        people_folder = _people_folder(above)
        if people_folder is None:
            raise InputError(f"source 'lfw': {above} has no folders Name_Name/Name_Name_0001.jpg; {HOW}")
        self.root = people_folder

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether a folder, or the one below it that unpacking makes, has this layout."""
        return _people_folder(root) is not None

    @cached_property
    def files(self) -> Sequence[str]:
        """All photos, sorted by person."""
        return find_images(self.root)

    def label(self, file: str) -> tuple[str | None, Mapping[str, str]]:
        """Return the person, who is the folder."""
        parts = Path(printable(file)).parts
        return (parts[0] if len(parts) > 1 else None), {}


def _default_root() -> Path:
    # scikit-learn's rule (sklearn.datasets.get_data_home) without its three seconds of import
    return Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser() / "lfw_home"


# the given folder and lfw_home below it, then the names that archives unpack to
def _people_folder(root: Path) -> Path | None:
    for outer in _FOLDERS[:2]:
        for inner in _FOLDERS:
            if _holds_people(root / outer / inner):
                return root / outer / inner
    return None


def _holds_people(root: Path) -> bool:
    """Return whether the first folders hold only photos that are named after them."""
    if not root.is_dir():
        return False
    try:
        with os.scandir(root) as entries:
            folders = sorted(entry.name for entry in entries if is_folder(entry) and not entry.name.startswith("."))
        named = all(_named_after(root / name) for name in folders[:_MOST_FOLDERS_TRIED])
    except OSError:  # a folder that cannot be listed is not LFW's
        return False
    # folders named after people: without an underscore in any, another data set has this pattern
    return named and any("_" in name for name in folders)


def _named_after(folder: Path) -> bool:
    pattern = re.compile(re.escape(folder.name) + r"_\d{4}\.jpe?g", re.IGNORECASE)
    files = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    return bool(files) and all(pattern.fullmatch(name) for name in files)
