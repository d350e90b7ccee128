"""Folder names that say which class their images are of, real or forged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Literal

from forge.core.errors import InputError

Class = Literal["real", "forged"]

_REAL = {"real", "reals", "genuine", "authentic", "pristine", "original", "originals", "nature", "natural"}
_FORGED = {
    *("fake", "fakes", "forged", "forgery", "forgeries", "deepfake", "deepfakes", "manipulated", "manipulation"),
    *("manipulations", "synthesis", "synthesized", "synthetic", "generated", "tampered"),
}
_ALONE = {"ai"}  # says forged as the whole name only: LFW has a folder Ai_Sugiyama
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def class_of(name: str) -> Class | None:
    """Return the class that a folder's name says, None where it says none or both.

    Known are the words of common data sets, alone or among others, in any case: `0_real` and `1_fake` (ForenSynths),
    `nature` and `ai` (GenImage), `original_sequences` and `manipulated_sequences` (FaceForensics++), `Celeb-real` and
    `Celeb-synthesis` (Celeb-DF), `training_real` and `training_fake` (Kaggle).

    Args:
        name: of one folder, without its path.
    """
    # whole words: "surreal" is not "real"
    words = {word for word in re.split(r"[^a-z]+", name.lower()) if word} - _SPLITS
    classes: set[Class] = set()
    if words & _REAL:
        classes.add("real")
    if words & _FORGED or (len(words) == 1 and words <= _ALONE):
        classes.add("forged")
    return classes.pop() if len(classes) == 1 else None  # names that say both say nothing


def refuse_mixed(root: Path, files: Iterable[str], *, given_as: Class) -> None:
    """Refuse a folder given as one class whose sub-folders say that the other class is in it.

    Args:
        root: the folder.
        files: of its images, relative to it.
        given_as: class that all of them are taken for.

    Raises:
        InputError: a sub-folder's name says the other class; for forgeries only where another says forged.
    """
    # every folder above an image, but not the root
    folders = {parent for file in files for parent in PurePath(file).parents if parent.name}
    by_class: dict[Class | None, list[PurePath]] = {"real": [], "forged": []}
    for folder in sorted(folders):
        by_class.setdefault(class_of(folder.name), []).append(folder)
    real, forged = by_class["real"], by_class["forged"]
    if not forged or (given_as == "forged" and not real):
        return
    # the folder beside the forged one, as in 0_real and 1_fake, else any that says real
    first = root / forged[0]
    partner = next((root / folder for folder in real if folder.parent == forged[0].parent), None)
    partner = partner or (root / real[0] if real else None)
    if given_as == "forged":
        raise InputError(
            f"{root} is given as forgeries and holds {partner}, whose name says real, beside {first}; name the folder "
            "of the forgeries alone"
        )
    pair = f"NAME={partner or 'REAL'},{first}"
    beside = f" beside {partner}" if partner else ""
    alone = f"name {partner} alone" if partner else "move it elsewhere"
    raise InputError(
        f"{root} is given as real faces and holds {first}, whose name says forged{beside}; {alone}, or test on both "
        f"classes with --external {pair}"
    )
