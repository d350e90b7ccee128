"""Audits of an external pair of folders: names, formats and sizes of files, and exchanged sides.

Cues of handling in the pixels are audited in `handling`, copies in `face_sets.copies`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from benchmarks.evaluation.audits import LEVEL
from benchmarks.evaluation.audits.face_sets import apart
from benchmarks.evaluation.results import Finding
from forge.faces.sources.classes import class_of

TELLING = 0.9  # share of files of one class, against 1 - TELLING of the other, from which a word predicts the class
_COLUMNS = {
    "source_width": "original width",
    "source_height": "original height",
    "source_jpeg_quality": "JPEG quality",
}


def sides(real: str, forged: str) -> Finding:
    """Test whether the names of the two folders say that the sides are exchanged.

    Args:
        real: name of the folder given as real photos.
        forged: name of the folder given as forgeries.
    """
    # only a name that contradicts its side; most folders are called after neither class
    exchanged = class_of(real) == "forged" or class_of(forged) == "real"
    sentence = (
        f"The sides may be exchanged: the real photos are in {real!r}, the forgeries in {forged!r}; "
        "--external wants NAME=REAL,FORGED."
        if exchanged
        else "The names of the folders do not contradict their sides."
    )
    return Finding(audit="sides", passed=not exchanged, sentence=sentence)


def file_names(real: Sequence[str], forged: Sequence[str]) -> Finding:
    """Test whether a word of the file names predicts the class.

    Args:
        real: paths of the real files.
        forged: paths of the forged ones.
    """
    counts = [_words(names) for names in (real, forged)]
    telling = sorted(
        word
        for word in set().union(*counts)
        # in at least 90 % of one class's names and at most 10 % of the other's
        if max(counts[0].get(word, 0.0), counts[1].get(word, 0.0)) >= TELLING
        and min(counts[0].get(word, 0.0), counts[1].get(word, 0.0)) <= 1 - TELLING
    )
    sentence = (
        f"File names tell the class: {', '.join(repr(word) for word in telling[:5])}."
        if telling
        else "No word of the file names gives the class away."
    )
    return Finding(audit="file names", passed=not telling, sentence=sentence)


def _words(names: Sequence[str]) -> Mapping[str, float]:
    """Return word -> share of the names that contain it; numbers are no words."""
    counts: dict[str, int] = {}
    for name in names:
        # a set: a word counts once per name; letters only, since numbers differ from file to file
        for word in set(re.findall(r"[a-z]+", name.lower())):
            counts[word] = counts.get(word, 0) + 1
    return {word: count / len(names) for word, count in counts.items()}


def sources(real: pd.DataFrame, forged: pd.DataFrame) -> Finding:
    """Test whether original format, width, height or JPEG quality gives the class away.

    At equal format and quality the size in bytes is a function of the pixels: it is reported and fails nothing.

    Args:
        real: rows of the real set.
        forged: rows of the forged set, of photos from elsewhere.
    """
    telling = []
    shares = [table["source_format"].value_counts(normalize=True) for table in (real, forged)]
    for file_format in sorted(set(shares[0].index) | set(shares[1].index)):
        a, b = (float(share.get(file_format, 0.0)) for share in shares)
        if max(a, b) >= TELLING and min(a, b) <= 1 - TELLING:
            telling.append(f"{file_format} ({100 * a:.0f} % of real, {100 * b:.0f} % of forged files)")
    for column, what in _COLUMNS.items():
        # missing values are left out: PNG files have no JPEG quality
        shown = apart(*(table[column].dropna().to_numpy(float) for table in (real, forged)), level=LEVEL)
        if shown:
            telling.append(f"{what} ({shown})")
    sentence = (
        f"The files' own properties tell the class: {'; '.join(telling)}."
        if telling
        else "Original format, width, height and JPEG quality do not give the class away."
    )
    if size := apart(*(table["source_bytes"].dropna().to_numpy(float) for table in (real, forged))):
        sentence += (
            f" File sizes differ ({size}): not judged, since of equal format and quality they follow the pixels."
        )
    return Finding(audit="source files", passed=not telling, sentence=sentence)
