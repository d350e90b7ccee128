"""Forgeries made from real faces as rows of pictures: faces, what a translator was shown of them, forgeries."""

from __future__ import annotations

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
