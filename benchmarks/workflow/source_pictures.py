"""Pictures of single images by id, and forgeries made from real faces as rows: faces, conditions, forgeries, masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.translate import Translate
from forge.faces.faceset import FaceSet, Images
from forge.generators.translate import inputs_of
from forge.generators.translation.pictures import visible


def beside_sources(stage: Forger, forged: FaceSet, real: FaceSet, *, count: int) -> Images:
    """Return the first test forgeries below the faces they were made from, uint8 [rows * n, H, W, 3].

    Args:
        stage: that made them.
        forged: its result.
        real: the faces.
        count: forgeries, at most; n of the result.

    Returns:
        Rows one after the other: faces, conditions (of a translator alone), forgeries, masks where there are any.
    """
    shown = forged.view("test").head(count)
    translator = stage.translator(real.resolution) if isinstance(stage, Translate) else None
    photos, seeds = inputs_of(forged, shown.index, real, translator)
    rows = [photos, shown.read()]
    if translator is not None and translator.domains == "none":
        # made again: a condition follows from the face and the seed, and is stored nowhere
        rows.insert(1, visible(translator.conditions(photos, seeds)))
    if forged.has_masks:
        rows.append(np.repeat(shown.read_masks()[..., None], 3, axis=3))
    return np.concatenate(rows)


def finder(sets: Sequence[FaceSet]) -> Callable[[str, str], Images | None]:
    """Return a function (set, id) -> image, or None where it may not be shown."""
    by_name = {faces.card.name: faces for faces in sets}
    # once per set: pages ask for some tens of images among thousands of ids
    positions = {name: {key: i for i, key in enumerate(faces.table["id"])} for name, faces in by_name.items()}

    def find(source: str, sample_id: str) -> Images | None:
        position = positions.get(source, {}).get(sample_id)
        return None if position is None else by_name[source].read([position])[0]

    return find
