"""A FaceSet from another one whose images are changed: rows, ids and labels stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from forge.core.errors import InputError, quoted
from forge.core.progress import OnProgress, ProgressEvent, silent
from forge.faces.faceset import FaceSet, FaceView, Images
from forge.faces.writer import FaceSetWriter

_BATCH = 512


def rewrite(
    faces: FaceSet,
    out: Path,
    change: Callable[[Images], Images],
    *,
    called: str,
    splits: Sequence[str],
    on_progress: OnProgress = silent,
) -> FaceSet:
    """Write some splits of a set with every image changed, in constant memory.

    Args:
        faces: the set.
        out: directory of the new one; must not exist.
        change: uint8 [n, H, W, 3] to the same shape.
        called: what provenance calls the change.
        splits: which to write.
        on_progress: called with each progress event.

    Raises:
        InputError: the set lacks one of the splits.
    """
    card = faces.card
    if missing := [split for split in splits if split not in card.splits]:
        raise InputError(f"{faces.path} has no split {quoted(missing[0])}; it has: {', '.join(card.splits)}")
    writer = FaceSetWriter(
        out,
        name=card.name,
        kind=card.kind,
        resolution=card.resolution,
        licence=card.licence,
        citation=card.citation,
        provenance=card.provenance | {"changed": called, "made_from": {"name": card.name, "digest": card.digest}},
        attributes=faces.label_types,
    )
    schema = faces.schema
    views = [faces.view(split) for split in splits]
    total = sum(map(len, views))
    with writer:
        for view in views:
            for start in range(0, len(view), _BATCH):
                part = FaceView(faces, view.index[start : start + _BATCH])  # in the set's own order within each split
                # through Arrow, whose schema keeps integer columns with nulls integers; pandas makes floats of them
                rows = pa.Table.from_pandas(part.rows[schema.names], schema, preserve_index=False).to_pylist()
                writer.append(change(part.read()), rows)
                on_progress(ProgressEvent(writer.count, total))
    return FaceSet.open(out)
