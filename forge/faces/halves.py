"""Real faces of a run whose forgeries are made from real faces: halved by identity into the real class and sources.

A real image that a forgery was made from never stands as a real one in train, val or test of the same detector: a
detector could compare the two, and a forgery that is nearly its source would have its own twin in the other class.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.faceset import FaceSet, FaceView
from forge.faces.writer import FaceSetWriter

HALVED = ("train", "val", "test")  # splits that detectors learn from or are tested on; `forge` is neither
_SUFFIX = "-source"
_BATCH = 1024  # images that are copied at a time


def source_split(split: str) -> str:
    """Return the name of the split that holds the sources of a split's forgeries."""
    return f"{split}{_SUFFIX}"


def source_view(faces: FaceSet, split: str) -> FaceView:
    """Return the real faces that forgeries of a split are made from: of halved faces the half that is for this."""
    halved = source_split(split) in faces.card.splits
    return faces.view(source_split(split) if halved else split)


def assign_sources(identities: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Choose the images of one split that are sources: about half of the images, whole identities.

    Identities are ordered by a hash, so that the order of rows does not matter, and the line of their images is cut
    nearest to its middle; each side keeps at least one identity.

    Args:
        identities: of the images, [n].

    Returns:
        Whether each image is a source, [n].

    Raises:
        InputError: fewer than two identities.
    """
    names, group, sizes = np.unique(identities, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise InputError(
            "forgeries from real faces need people of their own, and here are too few; prepare photos of more people"
        )
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(f"source/{names[i]}".encode()).digest())
    before = np.cumsum(sizes[order])  # images up to each identity
    cut = int(np.abs(before[:-1] - before[-1] / 2).argmin()) + 1
    chosen = np.zeros(len(names), bool)
    chosen[order[:cut]] = True
    return chosen[group]


def source_half(faces: FaceSet, split: str) -> FaceView:
    """Return the images of a split that halving makes sources.

    Args:
        faces: real faces that are not halved yet.
        split: one of `HALVED`.

    Raises:
        InputError: the split has faces of one person only.
    """
    view = faces.view(split)
    # an image of nobody known is a person of its own: then its id stands for the identity
    known = view.rows["identity"].fillna("").to_numpy(dtype=object)
    people = np.where(known == "", view.rows["id"].to_numpy(dtype=object), known)
    try:
        return FaceView(faces, view.index[assign_sources(people.astype(str))])
    except InputError as error:
        raise InputError(f"split {quoted(split)}: {error}") from error


def halve(faces: FaceSet, out: Path, on_progress: OnProgress) -> FaceSet:
    """Write the set with the splits train, val and test halved by identity; the other half is "train-source" and so on.

    Args:
        faces: real faces.
        out: directory of the set; must not exist.
        on_progress: called with the progress.

    Raises:
        InputError: the set is forged, halved already, or a split has faces of one person only.
    """
    card, table = faces.card, faces.table
    if card.kind != "real":
        raise InputError(f"{faces.path} holds forged faces; sources are real ones")
    if any(name.endswith(_SUFFIX) for name in card.splits):
        raise InputError(f"{faces.path} is halved already")
    splits = table["split"].to_numpy(dtype=object).copy()
    for split in set(HALVED) & set(card.splits):
        splits[source_half(faces, split).index] = source_split(split)
    rows = table.assign(split=splits)[faces.schema.names]
    writer = FaceSetWriter(
        out,
        name=card.name,
        kind="real",
        resolution=card.resolution,
        licence=card.licence,
        provenance=card.provenance | {"halved": list(HALVED)},
        attributes=faces.label_types,
        citation=card.citation,
    )
    with writer:
        for start in range(0, len(faces), _BATCH):
            part = pa.Table.from_pandas(rows[start : start + _BATCH], faces.schema, preserve_index=False).to_pylist()
            writer.append(faces.read(np.arange(start, start + len(part))), part)
            on_progress(ProgressEvent(start + len(part), len(faces), note="halving by identity"))
    return FaceSet.open(out)
