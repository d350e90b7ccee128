"""Landmarks of the faces that forgeries are made from: searched once, for all the methods that need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.faceset import FaceSet
from forge.faces.forgeries import SourcePart, Sources
from forge.faces.halves import source_view
from forge.tampering.landmarks import Floats, find_landmarks

Landmarks = Mapping[str, Floats]  # id of a face -> [5, 2] in pixels, NaN where no face was found

BLOCK = 32  # images at once
_SCHEMA = pa.schema([("id", pa.string()), ("points", pa.list_(pa.float64(), 10))])


def search_part(part: SourcePart, *, every: bool, on_progress: OnProgress) -> Floats:
    """Search the faces of one split.

    Args:
        part: the split.
        every: search all faces, since any may be a donor; else those that are taken.
        on_progress: called with the progress.

    Returns:
        [m, 5, 2] in the order in which faces are taken, NaN where no face was found.
    """
    searched = part.order if every else part.taken
    return find_landmarks(
        lambda start: part.faces.read(searched[start : start + BLOCK]),
        len(searched),
        lambda done: on_progress(ProgressEvent(done, len(searched), note="looking for faces")),
    )


def search_sources(
    real: FaceSet, counts: Mapping[str, int], *, seed: int, every: bool, on_progress: OnProgress
) -> Landmarks:
    """Search the faces that `tamper_set` takes with the same counts and seed.

    Args:
        real: the real faces; of a halved set those that are sources.
        counts: forgeries per split.
        seed: of the order in which faces are taken.
        every: search all sources, for methods with donors.
        on_progress: called with the progress of a split.
    """
    origin = Sources({split: source_view(real, split) for split in counts}, counts, seed)
    points: dict[str, Floats] = {}
    for part in origin.parts():
        searched = search_part(part, every=every, on_progress=on_progress)
        points |= {str(row["id"]): place for row, place in zip(part.rows, searched, strict=False)}
    return points


def landmarks_of(landmarks: Landmarks, ids: Sequence[str]) -> Floats:
    """Return the landmarks of faces, [n, 5, 2].

    Raises:
        InputError: a face was not searched.
    """
    if missing := [name for name in ids if name not in landmarks]:
        raise InputError(f"the landmarks are those of other faces: {quoted(missing[0])} was not searched")
    return np.stack([landmarks[name] for name in ids])


def write_landmarks(landmarks: Landmarks, path: Path) -> None:
    """Write landmarks as a Parquet table of ids and ten numbers each."""
    points = [place.ravel().tolist() for place in landmarks.values()]
    pq.write_table(pa.table({"id": list(landmarks), "points": points}, schema=_SCHEMA), path)


def read_landmarks(path: Path) -> Landmarks:
    """Read what `write_landmarks` wrote."""
    table = pq.read_table(path)
    points = np.asarray(table["points"].combine_chunks().flatten().to_numpy(zero_copy_only=False)).reshape(-1, 5, 2)
    return dict(zip(table["id"].to_pylist(), points, strict=True))
