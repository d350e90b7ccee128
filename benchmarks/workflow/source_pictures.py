"""Forgeries made from real faces as rows of pictures: faces, what a translator was shown of them, forgeries."""

from __future__ import annotations

import numpy as np

from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.translate import Translate
from forge.faces.faceset import FaceSet, Images
from forge.generators.translate import seeds_of
from forge.generators.translation.pictures import visible


def beside_sources(stage: Forger, forged: FaceSet, real: FaceSet, *, count: int) -> Images:
    """Return the first test forgeries below the faces they were made from, uint8 [rows * n, H, W, 3].

    Args:
        stage: that made them.
        forged: its result.
        real: the faces.
        count: forgeries, at most; n of the result.

    Returns:
        Rows one after the other: faces, conditions (of a translator alone), forgeries.
    """
    shown = forged.view("test").head(count)
    at = {key: number for number, key in enumerate(real.table["id"])}
    photos = real.read([at[key] for key in shown.rows["made_from"]])
    rows = [photos, shown.read()]
    if isinstance(stage, Translate):
        # made again: a condition follows from the face and the seed, and is stored nowhere
        conditions = stage.translator(real.resolution).conditions(photos, seeds_of(forged, shown.index))
        rows.insert(1, visible(conditions))
    return np.concatenate(rows)
